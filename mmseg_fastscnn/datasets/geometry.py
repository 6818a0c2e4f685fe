"""Steps that move pixels: resize, pad and rotate. Flips are in `transforms.py`.

The image is interpolated bilinearly, its label by nearest neighbour. Images may have
any number of channels and any type that OpenCV interpolates (uint8, uint16, float32).
"""

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms import Pad as PadOfMMCV
from mmcv.transforms import Resize as ResizeOfMMCV

from mmseg_fastscnn.registry import TRANSFORMS
from mmseg_fastscnn.structures import IGNORED

GROUP = 4  # channels that every function of OpenCV takes, and fills the borders of


def channelwise(
    function: Callable[[np.ndarray], np.ndarray], image: np.ndarray
) -> np.ndarray:
    """Apply a function of OpenCV to an image of any number of channels.

    Args:
        function: Takes and returns (H, W) or (H, W, C), for C up to 4.
        image: (H, W) or (H, W, C).
    """
    if image.ndim == 2 or image.shape[2] <= GROUP:
        return function(image)
    groups = np.split(image, range(GROUP, image.shape[2], GROUP), axis=2)
    return np.dstack([function(np.ascontiguousarray(group)) for group in groups])


def run_channelwise(step: Callable[[dict], None], results: dict) -> None:
    """Run a step of mmcv that changes `results['img']`, a few channels at a time."""

    def changed(channels: np.ndarray) -> np.ndarray:
        results['img'] = channels
        step(results)
        return results['img']

    results['img'] = channelwise(changed, results['img'])


def fill_value(
    option: str, value: float | Sequence[float], results: dict
) -> float | Sequence[float]:
    """Return what an image is filled with: one value, or one per channel.

    Args:
        option: Name of the option that says it, for the message.
        value: Its value.
        results: The sample.

    Raises:
        ValueError: There are several values, and the image has more or fewer channels.
    """
    image = results['img']
    channels = 1 if image.ndim == 2 else image.shape[2]
    values = value if isinstance(value, Sequence) else [value]
    if len(set(values)) == 1:
        return values[0]
    if len(values) != channels:
        raise ValueError(
            f'{results.get("img_path")}: the image has {channels} channels, '
            f'{option}={tuple(values)} has {len(values)} values. Give one value per '
            f'channel.'
        )
    return values


@TRANSFORMS.register_module()
class Resize(ResizeOfMMCV):
    """mmcv's Resize, for any number of channels."""

    def _resize_img(self, results: dict) -> None:
        run_channelwise(super()._resize_img, results)


@TRANSFORMS.register_module()
class Pad(PadOfMMCV):
    """mmcv's Pad, which can be undone after prediction, for any number of channels.

    Pads at the right and at the bottom: the image with `pad_val['img']` (0 by default;
    one value, or one per channel), its label with `pad_val['seg']` (255 by default).
    `img_shape` stays the (h, w) before padding, where mmcv's becomes the padded one;
    `pad_shape` is the (h, w) after it.

    Raises:
        ValueError: `pad_val['img']` does not fit the channels of an image.
    """

    def _pad_img(self, results: dict) -> None:
        height, width = results['img'].shape[:2]
        before = results.get('img_shape', (height, width))
        value = fill_value("Pad.pad_val['img']", self.pad_val.get('img', 0), results)
        # mmcv's fills one channel with a float, and takes at most four values
        with_zeros = copy(self)
        with_zeros.pad_val = {**self.pad_val, 'img': 0}
        run_channelwise(partial(PadOfMMCV._pad_img, with_zeros), results)
        if self.padding_mode == 'constant':
            results['img'][height:] = results['img'][:, width:] = value
        results['img_shape'] = before
        results['pad_shape'] = results['img'].shape[:2]


@TRANSFORMS.register_module()
class RandomRotate(BaseTransform):
    """Rotate image and label about a point by a random angle.

    Args:
        prob: Probability that an image is rotated.
        degree: Angles are drawn from -degree to degree, or from (low, high), in
            degrees; positive ones turn clockwise.
        pad_val: Value of the corners that come in, in all channels.
        seg_pad_val: Label of these corners.
        center: (x, y) of the point; by default the middle of the image.
        auto_bound: Enlarge the image to hold all of the rotated one.

    Raises:
        ValueError: An option is out of its range, or center and auto_bound are both
            given.
    """

    def __init__(
        self,
        prob: float,
        degree: float | Sequence[float],
        pad_val: float = 0,
        seg_pad_val: int = IGNORED,
        center: Sequence[float] | None = None,
        auto_bound: bool = False,
    ):
        if not isinstance(degree, Sequence):
            degree = (-degree, degree)
        if len(degree) != 2:
            raise ValueError(
                f'RandomRotate: degree is {degree!r}; it must be a number, or '
                f'(low, high).'
            )
        if center is not None and auto_bound:
            raise ValueError(
                'RandomRotate: auto_bound=True rotates about the middle of the image; '
                'remove center or auto_bound.'
            )
        self.prob = checked_probability('RandomRotate', prob)
        self.degree = sorted(degree)
        self.pad_val = pad_val
        self.seg_pad_val = seg_pad_val
        self.center = None if center is None else tuple(center)
        self.auto_bound = auto_bound

    def transform(self, results: dict) -> dict:
        rotates = np.random.rand() < self.prob
        degree = np.random.uniform(*self.degree)
        if not rotates:
            return results
        rotate = partial(
            mmcv.imrotate, angle=degree, center=self.center, auto_bound=self.auto_bound
        )
        border = [self.pad_val] * GROUP  # of a number, OpenCV pads one channel
        rotate_image = partial(rotate, border_value=border)
        results['img'] = channelwise(rotate_image, results['img'])
        label = results.get('gt_seg_map')
        if label is not None:
            results['gt_seg_map'] = rotate(
                label, border_value=self.seg_pad_val, interpolation='nearest'
            )
        results['img_shape'] = results['img'].shape[:2]
        return results


def warped_window(
    image: np.ndarray, size: tuple[int, int], rows: slice, columns: slice
) -> np.ndarray:
    """`random_crop.resized_window` by an affine map from output to input pixels.

    It starts anywhere, not only on a pixel, but is slower than `cv2.resize`.
    """
    (top, height), (left, width) = (
        (first, last - first)
        for first, last, _ in (rows.indices(size[0]), columns.indices(size[1]))
    )
    sx, sy = image.shape[1] / size[1], image.shape[0] / size[0]
    to_input = np.array(
        [[sx, 0, (left + 0.5) * sx - 0.5], [0, sy, (top + 0.5) * sy - 0.5]]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(
        image, to_input, (width, height), None, flags, cv2.BORDER_REPLICATE
    )


def checked_probability(step: str, prob: float) -> float:
    """Return `prob`; raise ValueError, naming the step, if it is no probability."""
    if not 0 <= prob <= 1:
        raise ValueError(f'{step}: prob is {prob}; it must be from 0 to 1.')
    return prob
