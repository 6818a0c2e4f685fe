"""What a label says of each channel, without a one-hot label.

What the target adds to a loss is a term of the one channel that is positive at a pixel.
"""

import torch
from torch import Tensor

from mmseg_fastscnn.structures import IGNORED


def positive_channel(label: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Return the channel whose target is 1 at each pixel, and whether there is one.

    With several channels it is the pixel's class, and ignored pixels have none. A
    single channel is positive where the label is 1.

    Args:
        label: (N, H, W) class of each pixel, or `IGNORED`.
        channels: Channels of the logits.

    Returns:
        Two tensors (N, H, W); the channel is 0 where there is none.
    """
    positive = label == 1 if channels == 1 else label != IGNORED
    index = label.long() if channels > 1 else torch.zeros_like(label).long()
    return index.masked_fill(~positive, 0), positive


def value_at(values: Tensor, index: Tensor) -> Tensor:
    """Pick one channel per pixel: values (N, C, H, W) at index (N, H, W)."""
    return values.gather(1, index[:, None])[:, 0]
