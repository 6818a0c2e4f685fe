"""From an input's logits back to the image that the input was made of."""

from torch import Tensor

from mmseg_fastscnn.ops.bilinear import View, Window
from mmseg_fastscnn.structures import SegDataSample

FLIPPED_DIMS = dict(horizontal=(2,), vertical=(1,), diagonal=(1, 2))


def as_view(logits: Tensor, size: tuple[int, int], sample: SegDataSample) -> View:
    """Say how an image's coarse logits become the image's, from the sample's facts.

    The image was resized, flipped and padded, at the right and at the bottom: by `Pad`
    in the pipeline, or by the data preprocessor. So logits are interpolated to the
    input's size, cut to `img_shape`, and interpolated to `ori_shape`. They are flipped
    back while they are few, which brings the padding to the other side.

    Args:
        logits: (C, h, w).
        size: (H, W) of the input.
        sample: Has `ori_shape`; if it was padded, `pad_shape` and `img_shape`; if it
            was flipped, `flip` and `flip_direction`.

    Raises:
        ValueError: The image was resized or cropped after `Pad`.
    """
    height, width = content_size(sample, size)
    rows, columns = (0, height), (0, width)
    if sample.get('flip', False):
        dims = FLIPPED_DIMS[sample.flip_direction]
        logits = logits.flip(dims)
        rows = (size[0] - height, size[0]) if 1 in dims else rows
        columns = (size[1] - width, size[1]) if 2 in dims else columns
    window = None if (height, width) == size else Window(rows, columns)
    return View(logits, [size, tuple(sample.ori_shape)], window)


def content_size(sample: SegDataSample, size: tuple[int, int]) -> tuple[int, int]:
    """Return the (h, w) of an input, (H, W), that is not padding."""
    if 'pad_shape' not in sample:
        return size
    pad_shape = tuple(sample.pad_shape[:2])
    if pad_shape != size:
        raise ValueError(
            f'The image was padded to {pad_shape} (h, w) and is now {size}, so where '
            f'its padding lies is not known. Have Pad after all steps of the test '
            f'pipeline that change the size.'
        )
    return tuple(sample.img_shape[:2])
