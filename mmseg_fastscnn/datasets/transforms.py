"""The usual random steps of training after the crop: flip, change colours.

Steps that change colours need images with values of 0..255; see `eight_bit`.
"""

from collections.abc import Sequence

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms import RandomFlip as RandomFlipOfMMCV
from mmcv.transforms import RandomGrayscale as RandomGrayscaleOfMMCV

from mmseg_fastscnn.datasets.geometry import GROUP
from mmseg_fastscnn.registry import TRANSFORMS

IDENTITY = np.arange(256, dtype=np.uint8)


@TRANSFORMS.register_module()
class RandomFlip(RandomFlipOfMMCV):
    """mmcv's RandomFlip with contiguous results.

    A view of negative stride, as mmcv's returns, slows every later step. What `Pad` has
    added stays at the right and at the bottom: only the image itself is flipped, so
    that prediction can cut the padding off without knowing which step came first.
    """

    CODES = {'vertical': 0, 'horizontal': 1, 'diagonal': -1}  # of cv2.flip

    def _flip(self, results: dict) -> None:
        shape = size = results['img'].shape[:2]
        if results.get('pad_shape') == shape:
            size = results['img_shape']
        results['img'] = self._flipped(results['img'], size, results['flip_direction'])
        label = results.get('gt_seg_map')
        if label is None:
            return
        flipped = label = self._flipped(label, size, results['flip_direction'])
        if self.swap_seg_labels:
            label = flipped.copy()
        for left, right in self.swap_seg_labels or ():
            label[flipped == left], label[flipped == right] = right, left
        results['gt_seg_map'] = label

    def _flipped(
        self, image: np.ndarray, size: tuple[int, int], direction: str
    ) -> np.ndarray:
        """Return a copy in which the image of `size` (h, w), top left, is flipped."""
        if image.shape[:2] == size and image.shape[2:] <= (GROUP,):
            flipped = cv2.flip(image, self.CODES[direction])
            return flipped.reshape(image.shape)  # OpenCV drops an axis of one channel
        height, width = size
        copy = image.copy()
        copy[:height, :width] = mmcv.imflip(image[:height, :width], direction)
        return copy


@TRANSFORMS.register_module()
class PhotoMetricDistortion(BaseTransform):
    """Change brightness, contrast, saturation and hue, each with probability 1/2.

    Contrast comes before or after the two of colour, at random (Liu et al., SSD).
    Values are clipped to 0..255 after each change. As they are 8-bit, all changes are
    made to tables of 256 values, and the image is looked up in these.

    Args:
        brightness_delta: The summand is drawn from -delta to delta.
        contrast_range: The factor is drawn from low to high.
        saturation_range: The factor on S of HSV is drawn from low to high.
        hue_delta: The summand on H of HSV, in units of 2 degrees, is a whole number
            drawn from -delta to delta - 1.

    Raises:
        ValueError: The image is not (H, W, 3) with values of 0..255.
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

    def transform(self, results: dict) -> dict:
        image = results['img']
        if image.dtype != np.uint8 or image.shape[2:] != (3,):
            image = eight_bit(results, type(self).__name__)
        before = after = IDENTITY
        if coin():
            delta = self.brightness_delta
            before = linear(before, 1, np.random.uniform(-delta, delta))
        contrast_first = coin()
        if contrast_first:
            before = self._contrast(before)
        tables = self._hsv_tables()
        if not contrast_first:
            after = self._contrast(after)
        if tables:
            hsv = cv2.cvtColor(look_up(image, before), cv2.COLOR_BGR2HSV)
            channels = list(cv2.split(hsv))
            for k, table in tables.items():
                channels[k] = cv2.LUT(channels[k], table)
            image = cv2.cvtColor(cv2.merge(channels), cv2.COLOR_HSV2BGR)
            image = look_up(image, after)
        else:
            image = look_up(image, after[before])
        results['img'] = image
        return results

    def _contrast(self, table: np.ndarray) -> np.ndarray:
        if coin():
            table = linear(table, np.random.uniform(*self.contrast_range), 0)
        return table

    def _hsv_tables(self) -> dict[int, np.ndarray]:
        """Return tables for those channels of HSV (0 to 2) that change."""
        tables = {}
        new_saturation, new_hue = coin(), coin()
        if new_saturation:
            factor = np.random.uniform(*self.saturation_range)
            tables[1] = linear(IDENTITY, factor, 0)
        if new_hue and self.hue_delta:
            shift = np.random.randint(-self.hue_delta, self.hue_delta)
            tables[0] = ((IDENTITY.astype(np.int16) + shift) % 180).astype(np.uint8)
        return tables


def coin() -> bool:
    return bool(np.random.randint(2))


def linear(table: np.ndarray, factor: float, offset: float) -> np.ndarray:
    """Return factor * table + offset, clipped to 0..255, as uint8."""
    return (table.astype(np.float32) * factor + offset).clip(0, 255).astype(np.uint8)


def look_up(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Replace each value of a uint8 image by the table's."""
    return image if table is IDENTITY else cv2.LUT(image, table)


@TRANSFORMS.register_module()
class RandomGrayscale(RandomGrayscaleOfMMCV):
    """mmcv's RandomGrayscale, which refuses images that it would spoil.

    mmcv's makes uint8 of everything, of 16-bit values modulo 256.

    Raises:
        ValueError: The image's values are not those of 8 bits.
    """

    def transform(self, results: dict) -> dict:
        results['img'] = eight_bit(results, type(self).__name__, channels=None)
        return super().transform(results)


def eight_bit(results: dict, step: str, channels: int | None = 3) -> np.ndarray:
    """Return the image as uint8, for a step that needs values of 0..255.

    Floats are taken, too, as `LoadImageFromFile(to_float32=True)` makes them; their
    fractions are dropped.

    Args:
        results: Holds `img`, (H, W) or (H, W, C).
        step: Name of the step, for the message.
        channels: Number of channels that the step needs; None if any will do.

    Raises:
        ValueError: The image has another number of channels, or values that are not
            those of 8 bits (16-bit images, floats of 0..1).
    """
    image = results['img']
    fits = channels is None or image.shape[2:] == (channels,)
    if fits and image.dtype == np.uint8:
        return image
    low, high = image.min(), image.max()
    is_float = image.dtype.kind == 'f'
    is_share = is_float and high <= 1 and (image % 1).any()
    if not fits or not is_float or is_share or low < 0 or high > 255:
        shape = '(H, W, 3)' if channels else '(H, W, C)'
        raise ValueError(
            f'{results.get("img_path", "An image")}: {step} needs {shape} images with '
            f'values of 0 to 255, found {image.shape} {image.dtype} with values of '
            f'{low} to {high}. Remove {step} from the pipeline, or load 8-bit colour: '
            f"LoadImageFromFile(color_type='color')."
        )
    return image.astype(np.uint8)
