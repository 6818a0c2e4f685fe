"""PhotoMetricDistortion of the training pipeline, on the device and batched."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmseg_fastscnn.ops.image_batch import without_waiting
from mmseg_fastscnn.structures import SegDataSample

OPTIONS = ('brightness_delta', 'contrast_range', 'saturation_range', 'hue_delta')


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
        is_rgb: Images are RGB; otherwise BGR.
    """

    def __init__(
        self,
        brightness_delta: int = 32,
        contrast_range: Sequence[float] = (0.5, 1.5),
        saturation_range: Sequence[float] = (0.5, 1.5),
        hue_delta: int = 18,
        is_rgb: bool = False,
    ):
        self.brightness_delta = brightness_delta
        self.contrast_range = contrast_range
        self.saturation_range = saturation_range
        self.hue_delta = hue_delta
        self.is_rgb = is_rgb

    def __call__(self, images: Tensor, seeds: Sequence[int] | None = None) -> Tensor:
        """Return changed images, float32 of 0..255; each has its own draws.

        Args:
            images: (3, H, W), or several (N, 3, H, W), uint8 or float of 0..255.
            seeds: What each image's draws follow from; by default torch's generator.

        Raises:
            ValueError: The images have other channels or another type.
        """
        allowed = (torch.uint8, torch.float32)
        if images.shape[-3] != 3 or images.dtype not in allowed:
            raise ValueError(
                f'data_preprocessor.photometric needs (3, H, W) images with values of '
                f'0 to 255, found {tuple(images.shape[-3:])} {images.dtype}. Remove '
                f'photometric, or load 8-bit colour.'
            )
        batch = images.float().view(-1, *images.shape[-3:])
        draws = self.draw(len(batch), batch.device, seeds)
        return distorted(batch, draws, self.is_rgb).view(images.shape)

    def draw(
        self, count: int, device: torch.device, seeds: Sequence[int] | None = None
    ) -> Draws:
        """Draw for `count` images; nothing waits for the device."""
        if seeds is None:
            chances = torch.rand(9, count, 1, 1, 1, device=device)
        else:
            rows = torch.stack([nine_chances(seed) for seed in seeds], dim=1)
            chances = without_waiting(rows.view(9, count, 1, 1, 1), device)
        coins, places = chances[:5] < 0.5, chances[5:]

        def uniform(place: Tensor, low: float, high: float) -> Tensor:
            return low + (high - low) * place

        delta = self.brightness_delta
        brightness = uniform(places[0], -delta, delta)
        contrast = uniform(places[1], *self.contrast_range)
        contrast = torch.where(coins[1], contrast, 1)
        saturation = uniform(places[2], *self.saturation_range)
        hue = uniform(places[3], -self.hue_delta, self.hue_delta).floor()
        is_first = coins[4]
        return Draws(
            torch.where(coins[0], brightness, 0),
            torch.where(is_first, contrast, 1),
            torch.where(coins[2], saturation, 1),
            torch.where(coins[3], hue, 0),
            torch.where(is_first, 1, contrast),
        )


def nine_chances(seed: int) -> Tensor:
    """Return nine numbers of 0..1 that follow from a seed."""
    return torch.rand(9, generator=torch.Generator().manual_seed(seed))


def build_photometric(options: Mapping, is_rgb: bool) -> PhotometricDistortion:
    """Build it from `data_preprocessor.photometric`; ValueError on unknown options."""
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise ValueError(
            f'data_preprocessor.photometric has no options {", ".join(unknown)}; its '
            f'options are those of PhotoMetricDistortion: {", ".join(OPTIONS)}.'
        )
    return PhotometricDistortion(**options, is_rgb=is_rgb)


def distorted(images: Tensor, draws: Draws, is_rgb: bool = False) -> Tensor:
    """Apply the changes to images (N, 3, H, W), BGR or RGB of 0..255."""
    images = (images + draws.brightness).clamp(0, 255)
    images = (images * draws.contrast_first).clamp(0, 255)
    images = shifted_colours(images, draws.saturation, draws.hue, is_rgb)
    return (images * draws.contrast_last).clamp(0, 255)


def shifted_colours(
    images: Tensor, saturation: Tensor, hue: Tensor, is_rgb: bool
) -> Tensor:
    """Scale S and shift H of HSV, for images (N, 3, H, W), BGR or RGB of 0..255."""
    channels = images.split(1, dim=1)
    red, green, blue = channels if is_rgb else reversed(channels)
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
    hues = torch.arange(0, 6, 2, device=images.device)  # of red, green, blue
    hues = (hues if is_rgb else hues.flip(0)).view(1, 3, 1, 1)
    distance = ((sextant - hues + 3).remainder(6) - 3).abs()
    return value - chroma * (distance - 1).clamp(0, 1)


def seeds_of(samples: Sequence[SegDataSample] | None) -> list[int] | None:
    """Return the `seed` of each sample; None if not all of them have one."""
    seeds = [sample.get('seed') for sample in samples or ()]
    return None if None in seeds else seeds or None
