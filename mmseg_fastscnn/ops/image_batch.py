"""A normalised batch for a GPU, in a handful of operators.

What counts there is how many operators are started, so the batch is built on the host,
copied once, and changed as a whole. `SegDataPreProcessor` has the form for CPUs, with
the same numbers.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement, PixelData
from torch import Tensor


class Normalisation(NamedTuple):
    """What is done to the values of images.

    Attributes:
        order: Which channel of an image comes first, second, ...
        mean: (C, 1, 1) or, one for all, (1, 1, 1): subtracted; None: nothing is.
        std: What is then divided by, given like `mean`.
        pad_val: Value of padded pixels, afterwards.
        dtype: Type of the result.
        colours: Changes the colours of images (C, H, W) or (N, C, H, W), in their new
            order and before all else; None: they stay.
        seeds: One per image, which `colours` gets with the images; None: there are
            none.
    """

    order: tuple[int, ...]
    mean: Tensor | None
    std: Tensor | None
    pad_val: float
    dtype: torch.dtype
    colours: Callable[[Tensor, Sequence[int] | None], Tensor] | None = None
    seeds: Sequence[int] | None = None


def batch_at_once(
    images: Sequence[Tensor],
    size: tuple[int, int],
    how: Normalisation,
    device: torch.device,
) -> Tensor:
    """Normalise images and pad them to one size.

    The number of operators does not depend on the number of images; those that change
    colours come on top.

    Args:
        images: Each (C, h, w), on the host, or all on the device.
        size: (H, W) of the result; padding is at the right and at the bottom.
        how: What is done to the values.
        device: Where the result is to be.

    Returns:
        (N, C, H, W), channels_last.
    """
    same = len({image.shape for image in images}) == 1
    batch = stacked(images, device) if same else filled(images, size, 0, device)
    if batch.dtype != torch.uint8:  # few operators know other unsigned integers
        batch = batch.float()
    batch = batch.index_select(1, indices(how.order, batch.device))
    if how.colours is not None:
        batch = how.colours(batch, how.seeds)
    batch = batch.to(torch.float32, memory_format=torch.channels_last)
    if how.mean is not None:
        batch = batch.sub_(how.mean).div_(how.std)
    batch = padded(batch, size, how.pad_val)
    if not same:
        batch = batch.masked_fill_(outside(images, size, device), how.pad_val)
    return batch.to(how.dtype)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # so that training can use what is kept
def indices(values: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)


def with_padded_labels(
    samples: Sequence[BaseDataElement],
    size: tuple[int, int],
    value: int,
    device: torch.device,
) -> list[BaseDataElement]:
    """Return samples whose labels are padded to `size` (h, w), and on a device.

    Other fields come to the device as they are.

    Args:
        samples: Each with `gt_sem_seg`, (1, h, w).
        size: (H, W) of the result; padding is at the right and at the bottom.
        value: Label of padded pixels.
        device: Where the labels are to be.
    """
    batch = batch_of([s.gt_sem_seg.data for s in samples], size, value, device)
    result = []
    for sample, label in zip(samples, batch.unbind(), strict=True):
        others = sample.new()
        del others.gt_sem_seg
        result.append(moved(others, device))
        result[-1].gt_sem_seg = PixelData(data=label)
    return result


def batch_of(
    tensors: Sequence[Tensor], size: tuple[int, int], value: int, device: torch.device
) -> Tensor:
    """Stack tensors (C, h, w), padded with a value to `size` (H, W), on a device."""
    if len({tensor.shape for tensor in tensors}) == 1:
        return padded(stacked(tensors, device), size, value)
    return filled(tensors, size, value, device)


def moved(sample: BaseDataElement, device: torch.device) -> BaseDataElement:
    """Return a copy of a sample with its tensors on a device; nothing waits for it."""
    result = sample.new()
    for name, part in sample.items():
        if isinstance(part, PixelData):
            part = PixelData(
                **{
                    key: without_waiting(v, device) if isinstance(v, Tensor) else v
                    for key, v in part.items()
                }
            )
        elif hasattr(part, 'to'):
            part = part.to(device)
        result.set_field(part, name)
    return result


def stacked(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    """Stack tensors of one shape on a device, with one copy that nothing waits for."""
    tensors = list(tensors)
    if tensors[0].device.type != 'cpu' or device.type != 'cuda':
        return torch.stack(tensors).to(device)
    shape = (len(tensors), *tensors[0].shape)
    host = torch.empty(shape, dtype=tensors[0].dtype, pin_memory=True)
    torch.stack(tensors, out=host)
    return host.to(device, non_blocking=True)


def filled(
    tensors: Sequence[Tensor], size: tuple[int, int], value: int, device: torch.device
) -> Tensor:
    """Stack tensors (C, h, w) of several sizes, filled up with a value to `size`."""
    shape = (len(tensors), len(tensors[0]), *size)
    host = torch.full(shape, value, dtype=tensors[0].dtype)
    # a copy by NumPy starts no operator
    for place, tensor in zip(host.numpy(), tensors, strict=True):
        place[:, : tensor.shape[1], : tensor.shape[2]] = tensor.cpu().numpy()
    return without_waiting(host, device)


def outside(
    images: Sequence[Tensor], size: tuple[int, int], device: torch.device
) -> Tensor:
    """Return (N, 1, H, W), True where an image does not reach."""
    host = np.ones((len(images), 1, *size), dtype=bool)
    for place, image in zip(host, images, strict=True):
        place[:, : image.shape[1], : image.shape[2]] = False
    return without_waiting(torch.from_numpy(host), device)


def without_waiting(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device, while Python goes on where that is CUDA."""
    if tensor.device.type == 'cpu' and device.type == 'cuda':
        tensor = tensor.pin_memory()  # from other memory the copy is waited for
    return tensor.to(device, non_blocking=device.type == 'cuda')


def padded(image: Tensor, size: tuple[int, int], value: float) -> Tensor:
    """Pad (..., H, W) at the right and the bottom to `size` (h, w)."""
    bottom, right = size[0] - image.shape[-2], size[1] - image.shape[-1]
    if bottom or right:
        image = F.pad(image, (0, right, 0, bottom), value=value)
    return image
