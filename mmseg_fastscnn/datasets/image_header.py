"""What an image file of any kind says about itself before it is decoded."""

import math
import struct
import threading
import tokenize
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

MAX_PIXELS = 2**28  # 16384 x 16384; larger images are refused, not decoded
PNG, NPY = b'\x89PNG\r\n\x1a\n', b'\x93NUMPY'
TIFF = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')  # the last two are BigTIFF
PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # colour type -> channels; 3 is palette
SAMPLE_FORMATS = {1: 'uint', 2: 'int', 3: 'float'}  # of TIFF
# What Pillow and numpy raise for damaged files, beside what they document.
DAMAGE = (
    *(OSError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError),
    *(AttributeError, MemoryError, RecursionError, EOFError, struct.error, zlib.error),
    tokenize.TokenError,
)
_opening = threading.Lock()


class UnreadableImage(ValueError):
    """A file that is no image, or a damaged one."""

    def __init__(self, path: str, reason: Exception | str):
        super().__init__(
            f'{path}: cannot be read as an image ({reason}). Replace the file, or '
            f'remove it and its counterpart from the data set.'
        )


class Header(NamedTuple):
    """Facts about an image file.

    Attributes:
        height, width: As stored, before any rotation by EXIF.
        channels: Number of values per pixel; 3 for a palette.
        dtype: numpy's name for the type of a value: 'uint8', 'uint16', 'float32', ...
        format: 'PNG', 'TIFF', 'JPEG', ...
        has_palette: Whether pixels are indices of colours.
        for_opencv: Whether OpenCV reads every channel. It reads only the first, without
            a word, of a TIFF that is not RGB.
        planar: Whether the channels lie one after the other, as (C, H, W).
        exif: EXIF's orientation, 1 to 8, but 1 for a PNG, where it may stand after the
            pixels; see `read_orientation`.
    """

    height: int
    width: int
    channels: int
    dtype: str
    format: str
    has_palette: bool = False
    for_opencv: bool = True
    planar: bool = False
    exif: int = 1


def read_header(file: BinaryIO, path: str) -> Header | None:
    """Read an image file's header; None if the kind of file is unknown to Pillow.

    Args:
        file: Open for reading at its beginning, where it is left again.
        path: What error messages call it.

    Raises:
        UnreadableImage: The header is damaged, or the image has no pixels.
    """
    try:
        header = _read_header(file)
    except UnidentifiedImageError:
        return None
    except DAMAGE as error:
        raise UnreadableImage(path, f'its header is damaged: {error}') from error
    finally:
        file.seek(0)
    sides = (header.height, header.width, header.channels)
    if not all(type(side) is int and side > 0 for side in sides):
        raise UnreadableImage(path, f'its size is {str(sides)[:80]}')
    return header


def header_of(path: str | Path) -> Header:
    """Read the header of an image at a path; see `read_header`.

    Raises:
        UnreadableImage: It is damaged, has no pixels, or is of no known kind.
    """
    with open(path, 'rb') as file:
        header = read_header(file, str(path))
    if header is None:
        raise UnreadableImage(str(path), 'it is of no known kind')
    return header


def _read_header(file: BinaryIO) -> Header:
    start = file.read(8)
    file.seek(0)
    if start == PNG:
        return _png_header(file)
    if start[:4] in TIFF:
        return _tiff_header(_tiff_tags(file))
    if start[:6] == NPY:
        return _npy_header(file)
    return _pillow_header(file)


def _png_header(file: BinaryIO) -> Header:
    width, height, bits, kind = struct.unpack('>IIBB', file.read(26)[16:])
    dtype = 'uint16' if bits == 16 else 'uint8'
    return Header(height, width, PNG_CHANNELS[kind], dtype, 'PNG', kind == 3)


def _tiff_tags(file: BinaryIO) -> TiffImagePlugin.ImageFileDirectory_v2:
    start = file.read(8)
    if 43 in start[2:4]:  # BigTIFF
        start += file.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(start)
    file.seek(tags.next)
    tags.load(file)
    return tags


def _tiff_header(tags: TiffImagePlugin.ImageFileDirectory_v2) -> Header:
    tag = TiffImagePlugin
    channels = tags.get(tag.SAMPLESPERPIXEL, 1)
    bits = max(tags.get(tag.BITSPERSAMPLE, (1,)))
    kind = SAMPLE_FORMATS.get(max(tags.get(tag.SAMPLEFORMAT, (1,))), 'unknown')
    photometric = tags.get(tag.PHOTOMETRIC_INTERPRETATION, 1)
    planar = channels > 1 and tags.get(tag.PLANAR_CONFIGURATION, 1) == 2
    white_is_0, black_is_0, rgb, palette, ycbcr = 0, 1, 2, 3, 6  # values of that tag
    gray = photometric in (white_is_0, black_is_0, palette) and channels == 1
    colour = photometric in (rgb, ycbcr) and channels in (3, 4) and not planar
    return Header(
        tags[tag.IMAGELENGTH],
        tags[tag.IMAGEWIDTH],
        3 if photometric == palette else channels,
        f'{kind}{max(bits, 8)}',
        'TIFF',
        has_palette=photometric == palette,
        for_opencv=gray or colour,
        planar=planar,
        exif=orientation(tags.get(ExifTags.Base.Orientation)),
    )


def _npy_header(file: BinaryIO) -> Header:
    if np.lib.format.read_magic(file) == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    if len(shape) not in (2, 3):
        raise ValueError(f'its shape {str(shape)[:80]} is not (H, W) or (H, W, C)')
    claimed = file.tell() + math.prod(shape) * dtype.itemsize
    size = file.seek(0, 2)
    if claimed > size:  # numpy would make room for what is claimed
        raise ValueError(f'its array needs {claimed} bytes, the file has {size}')
    channels = shape[2] if len(shape) == 3 else 1
    return Header(*shape[:2], channels, dtype.name, 'NPY', for_opencv=False)


def _pillow_header(file: BinaryIO) -> Header:
    with open_image(file) as image:
        depth = {'F': 'float32', 'I': 'int32'}.get(image.mode, 'uint8')
        if image.mode.startswith('I;16'):
            depth = 'uint16'
        return Header(
            height=image.height,
            width=image.width,
            channels=3 if image.mode in ('P', 'PA') else len(image.getbands()),
            dtype=depth,
            format=image.format,
            has_palette=image.mode in ('P', 'PA'),
            exif=orientation(image.getexif().get(ExifTags.Base.Orientation)),
        )


def orientation(value: object) -> int:
    """Return EXIF's orientation; what is none of its 8 values means upright."""
    return value if type(value) is int and 1 <= value <= 8 else 1


def read_orientation(header: Header, data: bytes, path: str) -> int:
    """Return EXIF's orientation, 1 to 8; 1 is upright and the default.

    Args:
        header: Header of the image file.
        data: Content of the file, in which a PNG's EXIF may stand anywhere.
        path: What error messages call it.

    Raises:
        UnreadableImage: The EXIF is damaged.
    """
    if header.format != 'PNG':
        return header.exif
    exif = Image.Exif()
    try:
        exif.load(png_exif(data))
        return orientation(exif.get(ExifTags.Base.Orientation))
    except DAMAGE as error:
        raise UnreadableImage(path, f'its EXIF is damaged: {error}') from error


def check_pixels(header: Header, path: str, max_pixels: int) -> None:
    """Raise ValueError if an image has more pixels than allowed."""
    pixels = header.height * header.width
    if pixels > max_pixels:
        raise ValueError(
            f'{path}: {header.height}x{header.width} (h x w) are {pixels:,} pixels, '
            f'more than max_pixels={max_pixels:,}. Cut the image into tiles, or set '
            f'max_pixels={pixels} in the data set to read it whole.'
        )


def open_image(file: BinaryIO) -> Image.Image:
    """`PIL.Image.open` without Pillow's own limit, whose error names no file.

    `check_pixels` is the limit here. Pillow's is a global variable of the process: it
    is lifted only while a file is opened, by one thread at a time.

    Raises:
        OSError: The file is damaged.
    """
    with _opening, damage_as_os_error():
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def damage_as_os_error() -> Iterator[None]:
    """Turn whatever Pillow raises for a damaged file into OSError."""
    try:
        yield
    except UnidentifiedImageError:
        raise
    except DAMAGE as error:
        raise OSError(f'{type(error).__name__}: {str(error)[:200]}') from error


def png_exif(data: bytes) -> bytes:
    """Return a PNG's EXIF, which may stand after the pixels; empty if there is none."""
    chunks = png_chunks(data)
    return next((data[a:b] for kind, a, b in chunks if kind == b'eXIf'), b'')


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk of a PNG, and where its data begins and ends."""
    start = len(PNG) if data.startswith(PNG) else len(data)
    while kind := data[start + 4 : start + 8]:  # chunks of length, kind, data, checksum
        end = start + 8 + int.from_bytes(data[start : start + 4], 'big')
        yield kind, start + 8, end
        start = end + 4


def wrong_sum(data: bytes) -> str | None:
    """Say which check sum of a PNG is wrong, if any; Pillow skips those of pixels."""
    view = memoryview(data)
    for kind, start, end in png_chunks(data):
        found = zlib.crc32(view[start - 4 : end]).to_bytes(4, 'big')
        if data[end : end + 4] != found:
            return f'the check sum of the chunk at byte {start - 8} does not fit'
        if kind == b'IEND':
            return None
    return 'it ends before its last chunk' if data.startswith(PNG) else None
