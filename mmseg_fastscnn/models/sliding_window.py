"""How to predict: the whole image at once, or window by window."""

from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TestCfg(TypedDict, total=False):
    """How to predict; sizes are (h, w). The config check reads the keys here."""

    mode: str
    crop_size: tuple[int, int]
    stride: tuple[int, int]


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


def mean_of_windows(model: nn.Module, inputs: Tensor, test_cfg: TestCfg) -> Tensor:
    """Average a segmentor's logits of overlapping windows, (N, out_channels, H, W).

    Args:
        model: The segmentor, an `EncoderDecoder`.
        inputs: (N, C, H, W).
        test_cfg: Has the windows' `crop_size` and `stride`.
    """
    size, crop, stride = inputs.shape[2:], test_cfg['crop_size'], test_cfg['stride']
    shape = (len(inputs), model.out_channels, *size)
    total = torch.zeros(shape, device=inputs.device)
    count = torch.zeros(size, device=inputs.device)
    for rows in windows(size[0], crop[0], stride[0]):
        for columns in windows(size[1], crop[1], stride[1]):
            window = inputs[..., rows, columns]
            total[..., rows, columns] += F.interpolate(
                model(window, mode='tensor').float(),
                window.shape[2:],
                mode='bilinear',
                align_corners=model.align_corners,
            )
            count[rows, columns] += 1
    return total / count
