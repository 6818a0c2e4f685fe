"""The integers or colours that a label file holds, before any of them means a class."""

import io
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from mmseg_fastscnn.datasets.image_header import (
    MAX_PIXELS,
    NPY,
    Header,
    check_pixels,
    open_image,
    read_header,
)


class RawLabel(NamedTuple):
    """What a label file holds.

    Attributes:
        values: (H, W) integers or booleans, or (H, W, 3) uint8 RGB.
        palette: (r, g, b) of each index, where the file has a palette.
    """

    values: np.ndarray
    palette: list[tuple[int, int, int]] | None = None


def read_label_file(path: str, max_pixels: int = MAX_PIXELS) -> RawLabel:
    """Read an image of ids (8, 16 or 32 bits, or with a palette) or colours, or `.npy`.

    Raises:
        ValueError: It is unreadable, has too many pixels, or is no label image.
    """
    data = Path(path).read_bytes()
    header = read_header(io.BytesIO(data), path)
    if header is not None:
        check_pixels(header, path, max_pixels)
        check_header(header, path)
    try:
        if data.startswith(NPY):
            return check_kind(np.load(io.BytesIO(data), allow_pickle=False), path)
        with open_image(io.BytesIO(data)) as image:
            return raw_label(image, path)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(
            f'{path}: cannot be read as a label image ({error}). Replace the file or '
            f'remove it and its image from the data set.'
        ) from error


def check_header(header: Header, path: str) -> None:
    """Raise ValueError for what Pillow would turn or reduce without a word."""
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
    if image.mode in ('LA', 'PA', 'RGBA'):  # the alpha channel says nothing about ids
        values = np.asarray(image)[..., :-1]
        return check_kind(values, name)
    if image.mode == 'P':
        colours = np.array(image.getpalette('RGB')).reshape(-1, 3).tolist()
        return RawLabel(np.asarray(image), [tuple(colour) for colour in colours])
    return check_kind(np.asarray(image), name)


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


def count_values(values: np.ndarray) -> dict[int | tuple[int, int, int], int]:
    """Return how many pixels each id or each colour (r, g, b) has."""
    if values.dtype == np.uint8 and values.ndim == 2:
        # np.unique takes ten times as long
        counts = cv2.calcHist([values], [0], None, [256], [0, 256]).ravel()
        found = np.flatnonzero(counts)
        return dict(
            zip(found.tolist(), counts[found].astype(int).tolist(), strict=True)
        )
    if values.ndim == 2:
        found, counts = np.unique(values, return_counts=True)
        return dict(zip(map(int, found), counts.tolist(), strict=True))
    found, counts = np.unique(pack_colours(values), return_counts=True)
    colours = [(code >> 16, code >> 8 & 255, code & 255) for code in found.tolist()]
    return dict(zip(colours, counts.tolist(), strict=True))


def pack_colours(rgb: np.ndarray) -> np.ndarray:
    """Make one integer, 0xrrggbb, of each colour of (..., 3)."""
    return rgb.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
