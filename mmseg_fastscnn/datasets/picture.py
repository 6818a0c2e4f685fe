"""Any image of a data set as 8-bit BGR for people to look at."""

import io
import sys
from pathlib import Path

import numpy as np

from mmseg_fastscnn.datasets.decoding import decode
from mmseg_fastscnn.datasets.image_header import read_header


def read_picture(path: str) -> np.ndarray:
    """Return a file's image as (H, W, 3) uint8 BGR, in the grid of the file."""
    data = Path(path).read_bytes()
    header = read_header(io.BytesIO(data), path)
    is_plain = header is None or (header.dtype == 'uint8' and header.for_opencv)
    color_type = 'color' if is_plain else 'unchanged'
    image, _ = decode(data, path, color_type, max_pixels=sys.maxsize, any_dtype=True)
    return as_picture(image)


def as_picture(image: np.ndarray) -> np.ndarray:
    """Return any image (H, W) or (H, W, C) as (H, W, 3) uint8 BGR.

    Other images are scaled so that their values span 0..255. Of three or more
    channels the first three are shown, of two or one the first.
    """
    if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return image
    image = np.atleast_3d(image).astype(np.float64)
    shown = image[..., [0, 1, 2] if image.shape[2] > 2 else [0, 0, 0]]
    least, greatest = shown.min(), shown.max()
    scaled = (shown - least) * (255 / max(greatest - least, 1e-12))
    return np.rint(scaled).astype(np.uint8)
