"""PhotoMetricDistortion of the training pipeline, on the device and batched."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Draws(NamedTuple):
    """What is done to N images, each (N, 1, 1, 1).

    Attributes:
        brightness: Summand, 0 for no change.
        contrast_first: Factor before saturation and hue, 1 for no change.
        saturation: Factor on S of HSV, 1 for no change.
        hue: Summand on H of HSV, in units of 2 degrees, 0 for no change.
        contrast_last: Factor after saturation and hue, 1 for no change.
    """

    brightness: Tensor
    contrast_first: Tensor
    saturation: Tensor
    hue: Tensor
    contrast_last: Tensor


class PhotometricDistortion:
    """Change brightness, contrast, saturation and hue, each with probability 1/2.

    The draws have the distribution of `PhotoMetricDistortion` in the pipeline, and the
    options are the same. Values stay floats, where the pipeline rounds them down to 8
    bits after each change and hues to 2 degrees. So from the same draws results differ
    by half a level on average, and by 12 of 255 at most.

    Args:
        brightness_delta: The summand is drawn from -delta to delta.
        contrast_range: The factor is drawn from low to high.
        saturation_range: The factor on S of HSV is drawn from low to high.
        hue_delta: The summand on H of HSV, in units of 2 degrees, is a whole number
            drawn from -delta to delta - 1.
    """

    def __init__(
        self,
        brightness_delta: int = 32,
        contrast_range: Sequence[float] = (0.5, 1.5),
        saturation_range: Sequence[float] = (0.5, 1.5),
        hue_delta: int = 18,
    ):
        self.brightness_delta = brightness_delta
        self.contrast_range = contrast_range
        self.saturation_range = saturation_range
        self.hue_delta = hue_delta

    def __call__(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Return changed images (3, H, W) BGR, float32 of 0..255.

        Args:
            images: (3, H, W) BGR, uint8 or float of 0..255, of any sizes.

        Raises:
            ValueError: An image has other channels or another type.
        """
        for image in images:
            if len(image) != 3 or image.dtype not in (torch.uint8, torch.float32):
                raise ValueError(
                    f'data_preprocessor.photometric needs (3, H, W) images with values '
                    f'of 0 to 255, found {tuple(image.shape)} {image.dtype}. Remove '
                    f'photometric, or load 8-bit colour.'
                )
        sizes = {image.shape for image in images}
        if len(sizes) > 1:
            return [self([image])[0] for image in images]
        batch = torch.stack(list(images)).float()
        return list(distorted(batch, self.draw(len(images), batch.device)))

    def draw(self, count: int, device: torch.device) -> Draws:
        """Draw for `count` images, on the device so that nothing waits for a copy."""
        shape = (count, 1, 1, 1)

        def coin() -> Tensor:
            return torch.rand(shape, device=device) < 0.5

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(shape, device=device)

        delta = self.brightness_delta
        brightness = torch.where(coin(), uniform(-delta, delta), 0)
        contrast = torch.where(coin(), uniform(*self.contrast_range), 1)
        is_first = coin()
        saturation = torch.where(coin(), uniform(*self.saturation_range), 1)
        hue = uniform(-self.hue_delta, self.hue_delta).floor()
        return Draws(
            brightness,
            torch.where(is_first, contrast, 1),
            saturation,
            torch.where(coin(), hue, 0),
            torch.where(is_first, 1, contrast),
        )


def distorted(images: Tensor, draws: Draws) -> Tensor:
    """Apply the changes to images (N, 3, H, W), BGR of 0..255."""
    images = (images + draws.brightness).clamp(0, 255)
    images = (images * draws.contrast_first).clamp(0, 255)
    images = shifted_colours(images, draws.saturation, draws.hue)
    return (images * draws.contrast_last).clamp(0, 255)


def shifted_colours(images: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Scale S and shift H of HSV, for images (N, 3, H, W), BGR of 0..255."""
    blue, green, red = images.split(1, dim=1)
    value = images.amax(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    divisor = chroma.clamp(min=1e-6)  # grey has no hue: any will do
    sextant = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(
            value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor
        ),
    )
    sextant = sextant + hue / 30  # H in units of 60 degrees
    chroma = torch.minimum(chroma * saturation, value)  # S = chroma / value, at most 1
    # A channel has V within 1 sextant of its own hue, V - chroma from 2 sextants on
    own = torch.arange(4, -1, -2, device=images.device).view(1, 3, 1, 1)  # B, G, R
    distance = ((sextant - own + 3).remainder(6) - 3).abs()
    return value - chroma * (distance - 1).clamp(0, 1)
