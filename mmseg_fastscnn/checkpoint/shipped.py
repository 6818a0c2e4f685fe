"""Weights that come with the package, known by a name."""

from pathlib import Path

from torch import Tensor

FOLDER = Path(__file__).parent
# `configs/fastscnn/fast_scnn_many_streets.py` says how they were made.
SHIPPED_WEIGHTS = {'streets': FOLDER / 'fast_scnn_streets-cb74eb30.safetensors'}


def to_ship(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what a start needs, in half the bytes.

    Auxiliary heads are left out, and kernels are in half precision. Normalisation keeps
    its precision: it is small, and variances need the range.
    """
    return {
        name: value.half() if value.dim() > 1 else value
        for name, value in state.items()
        if not name.startswith('auxiliary_head.')
    }
