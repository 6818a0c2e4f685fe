"""What label files hold, and how those other than 8-bit gray PNG or JPEG are read.

`loading.read_raw_label` reads these itself, and leaves to this file the ones with a
palette or colours, with 16 or 32 bits, `.npy` files, ...
"""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from mmseg_fastscnn.datasets.decoding import read_array
from mmseg_fastscnn.datasets.image_header import (
    NPY,
    Header,
    check_pixels,
    damage_as_os_error,
    open_image,
    read_header,
)
from mmseg_fastscnn.datasets.label_errors import refuse_damaged


class RawLabel(NamedTuple):
    """What a label file holds, before any of it means a class.

    Attributes:
        values: (H, W) integers or booleans, or (H, W, 3) uint8 RGB.
        palette: (r, g, b) of each index, where the file has a palette.
    """

    values: np.ndarray
    palette: list[tuple[int, int, int]] | None = None


def read_other_label(data: bytes, path: str, max_pixels: int) -> RawLabel:
    """Read the content of a label file of any kind.

    Raises:
        ValueError: It is damaged, has too many pixels, or is no label image.
    """
    header = read_header(io.BytesIO(data), path)
    if header is not None:
        check_pixels(header, path, max_pixels)
        check_header(header, path)
    if data.startswith(NPY):
        return check_kind(read_array(data, path), path)
    try:
        with open_image(io.BytesIO(data)) as image:
            return raw_label(image, path)
    except (OSError, SyntaxError) as error:  # Pillow's errors for damaged files
        refuse_damaged(path, error)


def check_header(header: Header, path: str) -> None:
    """Raise ValueError for a file that Pillow would turn or reduce without a word."""
    if header.format == 'TIFF' and header.exif != 1:
        raise ValueError(
            f'{path}: this label is a TIFF with an orientation, by which it would be '
            f'turned, but not its image. Save it upright, without that tag.'
        )
    if header.format == 'PNG' and (header.channels, header.dtype) == (3, 'uint16'):
        raise ValueError(
            f'{path}: this label has 16-bit colours; the colours of a palette have 8 '
            f'bits. Save it with 8 bits per colour, or as one integer per pixel.'
        )


def raw_label(image: Image.Image, name: str) -> RawLabel:
    """Return the integers or colours of an opened image.

    Args:
        image: With mode 1, L, P, I, I;16, RGB, or one of these with alpha.
        name: What error messages call it.
    """
    with damage_as_os_error():
        values = np.asarray(image)
    if image.mode == 'P':
        colours = np.array(image.getpalette('RGB')).reshape(-1, 3).tolist()
        return RawLabel(values, [tuple(colour) for colour in colours])
    if image.mode in ('LA', 'PA', 'RGBA'):  # the alpha channel says nothing about ids
        values = values[..., :-1]
    return check_kind(values, name)


def check_kind(values: np.ndarray, name: str) -> RawLabel:
    """Raise ValueError unless it is (H, W) integers or (H, W, 3) uint8."""
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    ids = values.ndim == 2 and values.dtype.kind in 'uib'
    colours = values.ndim == 3 and values.shape[2] == 3 and values.dtype == np.uint8
    if not ids and not colours:
        raise ValueError(
            f'{name}: has values of {values.dtype} and the shape {values.shape}; '
            f'labels are one integer per pixel (8, 16 or 32 bits, or a palette), or '
            f'8-bit colours of the palette (H, W, 3).'
        )
    return RawLabel(values)
