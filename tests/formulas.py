"""The shipped network; weights, images and labels as closed formulas of their index.

The golden answers in `data/` were computed on exactly these, so no weight file is
needed: see `data/README.md`.
"""

import zlib
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.structures import PixelData

from mmseg_fastscnn.structures import SegDataSample

NETWORK = Path(__file__).parents[1] / 'configs/_base_/models/fast_scnn.py'


def wave(count: int, phase: float) -> np.ndarray:
    """`count` float64 values in [-1, 1], the sine of a growing angle."""
    index = np.arange(count, dtype=np.float64)
    return np.sin((0.7 * index * index / 1.3 + phase) % (2 * np.pi))


def formula_tensor(name: str, like: torch.Tensor) -> torch.Tensor:
    """The value of parameter or buffer `name`, of the shape and dtype of `like`."""
    if name.endswith('num_batches_tracked'):
        return like
    value = wave(like.numel(), zlib.crc32(name.encode()) % 100_000 * 2e-5 * np.pi)
    if name.endswith('running_var'):
        value = 1 + 0.5 * value
    elif name.endswith('running_mean'):
        value = 0.2 * value
    elif name.endswith('bias'):
        value = 0.1 * value
    elif like.ndim == 1:  # scale of a normalisation layer
        value = 1 + 0.3 * value
    else:  # convolution: keep the variance of its input
        value = 1.5 * value / np.sqrt(like.numel() / like.shape[0])
    return torch.from_numpy(value).reshape(like.shape).to(like.dtype)


def fill(module: torch.nn.Module) -> torch.nn.Module:
    """Give every parameter and buffer its formula's value."""
    state = module.state_dict()
    module.load_state_dict({k: formula_tensor(k, v) for k, v in state.items()})
    return module


def image_batch(n: int, h: int, w: int) -> torch.Tensor:
    """(n, 3, h, w) float32 in [-2, 2], as if already normalised."""
    return torch.from_numpy(2 * wave(n * 3 * h * w, 0.5)).reshape(n, 3, h, w).float()


def uint8_image(h: int, w: int) -> np.ndarray:
    """(h, w, 3) uint8 BGR, smooth, so that resizing it is well defined."""
    y, x, c = np.mgrid[0:h, 0:w, 0:3].astype(np.float64)
    waves = 80 * np.sin(x / 17 + c) * np.cos(y / 13 - c) + 40 * np.sin((x + 2 * y) / 29)
    return np.rint(127.5 + waves).clip(0, 255).astype(np.uint8)


def label_batch(n: int, h: int, w: int, num_classes: int = 19) -> torch.Tensor:
    """(n, h, w) int64: 4x4 blocks of one class, every 11th block ignored (255)."""
    y, x = np.mgrid[0:h, 0:w]
    block = y // 4 * 131 + x // 4
    label = np.stack([(block * 7 + 3 * k + block // 5) % num_classes for k in range(n)])
    label[:, block % 11 == 0] = 255
    return torch.from_numpy(label).long()


def model_config(**changes) -> dict:
    """The shipped network, without dropout, with `changes` on the segmentor."""
    model = Config.fromfile(NETWORK).model
    for head in (model.decode_head, *model.auxiliary_head):
        head.dropout_ratio = 0.0
    model.data_preprocessor.size = (64, 128)
    for key, value in changes.items():  # `update` would merge dicts
        model[key] = value
    return model


def labelled_samples(label: torch.Tensor) -> list[SegDataSample]:
    samples = [SegDataSample() for _ in label]
    for sample, one in zip(samples, label, strict=True):
        sample.gt_sem_seg = PixelData(data=one[None])
    return samples
