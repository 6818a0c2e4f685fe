"""Whether the kernels of `upsample_triton.py` can do the work."""

import warnings
from functools import cache

import torch


@cache
def triton_works(device: torch.device) -> bool:
    """Whether Triton's kernels run on a CUDA device.

    Triton comes with PyTorch's CUDA builds for Linux. It also needs a C compiler, and a
    GPU of compute capability 7.0; so a first kernel is tried, and a warning says what
    fails if it does.
    """
    try:
        from mmseg_fastscnn.ops.upsample_triton import argmax

        argmax(torch.zeros(1, 2, 2, 2, device=device), (4, 4), align_corners=False)
    except Exception as error:  # whatever compiler, driver or import say
        warnings.warn(
            f'Triton does not work on {device}, so losses and label maps are computed '
            f'by PyTorch alone, with more memory ({error}).',
            stacklevel=2,
        )
        return False
    return True
