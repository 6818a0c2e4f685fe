"""What steps that change colours need: images with values of 0..255."""

import numpy as np
from mmcv.transforms import RandomGrayscale as RandomGrayscaleOfMMCV

from mmseg_fastscnn.registry import TRANSFORMS


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
