"""How to predict: the whole image at once, or window by window."""

from collections.abc import Callable

import torch
from torch import Tensor


def windows(length: int, window: int, stride: int) -> list[slice]:
    """Cover `length` pixels; the last window is moved back to end at the edge."""
    count = max(length - window + stride - 1, 0) // stride + 1
    stops = [min(k * stride + window, length) for k in range(count)]
    return [slice(max(stop - window, 0), stop) for stop in stops]


def checked_test_cfg(test_cfg: dict) -> dict:
    """Return `test_cfg`; raise ValueError if it is not a way to predict."""
    mode = test_cfg.get('mode')
    if mode not in ('whole', 'slide'):
        raise ValueError(f"test_cfg.mode is {mode!r}; it must be 'whole' or 'slide'.")
    if mode == 'slide':
        crop, stride = test_cfg.get('crop_size'), test_cfg.get('stride')
        if not crop or not stride or stride[0] > crop[0] or stride[1] > crop[1]:
            raise ValueError(
                f"test_cfg.mode='slide' needs crop_size (h, w) and a stride (h, w) "
                f'that is not larger; found crop_size={crop}, stride={stride}.'
            )
    return test_cfg


def mean_of_windows(
    predict: Callable[[Tensor], Tensor],
    inputs: Tensor,
    crop_size: tuple[int, int],
    stride: tuple[int, int],
) -> Tensor:
    """Average the logits of overlapping windows: (N, C, H, W).

    Args:
        predict: Returns the logits of a window at its size.
        inputs: (N, channels, H, W).
        crop_size: (h, w) of a window.
        stride: (h, w) from one window to the next.
    """
    size, total = inputs.shape[2:], None
    count = torch.zeros(size, device=inputs.device)
    for rows in windows(size[0], crop_size[0], stride[0]):
        for columns in windows(size[1], crop_size[1], stride[1]):
            logits = predict(inputs[..., rows, columns])
            if total is None:
                total = logits.new_zeros((*logits.shape[:2], *size))
            total[..., rows, columns] += logits
            count[rows, columns] += 1
    return total / count
