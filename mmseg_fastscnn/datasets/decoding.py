"""Decode an image file of any kind by OpenCV, Pillow or tifffile, without loss.

`loading.py` reads the usual files itself and leaves all others to `decode`. Nothing is
turned by EXIF, as labels and predictions are not turned either.
"""

import io
import multiprocessing

import cv2
import numpy as np
from mmengine.logging import MMLogger

from mmseg_fastscnn.datasets.image_header import (
    DAMAGE,
    MAX_PIXELS,
    Header,
    UnreadableImage,
    check_pixels,
    damage_as_os_error,
    open_image,
    read_header,
)
from mmseg_fastscnn.packages import needed

COLOR_TYPES = {
    'color': cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION,
    'grayscale': cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION,
    'unchanged': cv2.IMREAD_UNCHANGED,
}
DTYPES = ('uint8', 'uint16', 'float32')  # of images, as numpy calls them
BACKENDS = ('cv2', 'pillow', 'tifffile')
# Shared with the processes of a DataLoader, so that each run says it once.
reduction_was_said = multiprocessing.RawValue('b', 0)


def decode(
    data: bytes,
    path: str,
    color_type: str = 'color',
    backend: str = 'cv2',
    max_pixels: int = MAX_PIXELS,
    any_dtype: bool = False,
) -> tuple[np.ndarray, Header]:
    """Return an image, (H, W) or (H, W, C), BGR where the file is RGB, and its header.

    Args:
        data: Content of the file.
        path: What error messages call it.
        color_type: 'color', 'grayscale' or 'unchanged'.
        backend: 'cv2', 'pillow' or 'tifffile'; see `LoadImageFromFile`.
        max_pixels: How many pixels an image may have.
        any_dtype: Return values of other types than `DTYPES`, too.

    Raises:
        UnreadableImage: The file is damaged.
        ValueError: The image is too large or of another type, or decoding in this way
            would lose channels, depth or the grid.
    """
    header = read_header(io.BytesIO(data), path)
    if header is None:  # OpenCV knows more kinds, but their size is not known before
        raise UnreadableImage(path, 'it is of no known kind')
    check_pixels(header, path, max_pixels)
    image = decode_by(data, header, path, color_type, backend)
    if image.dtype.name not in DTYPES and not any_dtype:
        raise ValueError(
            f'{path}: its values are {image.dtype}; images are uint8, uint16 or '
            f'float32. Set to_float32=True in LoadImageFromFile, or save it as '
            f'one of these.'
        )
    return image, header


def decode_by(
    data: bytes, header: Header, path: str, color_type: str, backend: str
) -> np.ndarray:
    """Decode by OpenCV, Pillow or tifffile, whichever fits; see `decode`."""
    if header.format == 'NPY':
        return read_array(data, path)
    if color_type != 'unchanged' and backend != 'tifffile':
        check_depth(header, path, color_type, backend)
    if not header.for_opencv and backend == 'cv2':
        backend = 'tifffile'
    try:
        if backend == 'tifffile':
            image = decode_by_tifffile(data, path)
            return image.transpose(1, 2, 0) if header.planar else image
        if header.format == 'TIFF' and header.exif != 1:
            raise ValueError(
                f'{path}: its orientation is {header.exif}, by which a TIFF is always '
                f'turned, but not its label. Save it upright, without that tag.'
            )
        if backend == 'pillow':
            return decode_by_pillow(data, header, color_type, path)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), COLOR_TYPES[color_type])
    except (cv2.error, OSError, SyntaxError) as error:
        raise UnreadableImage(path, error) from error
    if image is None:
        raise UnreadableImage(path, 'OpenCV cannot decode it')
    return image


def check_depth(header: Header, path: str, color_type: str, backend: str) -> None:
    """Refuse or warn where reading a file as 8-bit colours or grays loses values."""
    if header.dtype not in ('uint8', 'uint16') or not header.for_opencv:
        raise ValueError(
            f'{path}: has {header.channels} channel(s) of {header.dtype}, of which '
            f'color_type={color_type!r} would make 8-bit values of something else. '
            f"Set color_type='unchanged' in LoadImageFromFile to read all as they are."
        )
    if header.dtype == 'uint16' and backend == 'cv2' and not reduction_was_said.value:
        reduction_was_said.value = 1
        MMLogger.get_current_instance().warning(
            '%s has 16-bit values; color_type=%r keeps their upper 8 bits. This also '
            "holds for other such files. Set color_type='unchanged' in "
            'LoadImageFromFile to read all 16.',
            path,
            color_type,
        )


def read_array(data: bytes, path: str) -> np.ndarray:
    """Return the array of a `.npy` file, (H, W) or (H, W, C)."""
    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except DAMAGE as error:
        raise UnreadableImage(path, error) from error


def decode_by_tifffile(data: bytes, path: str) -> np.ndarray:
    """Return all channels of a TIFF in the order of the file.

    Raises:
        ImportError: tifffile is not installed.
    """
    tifffile = needed('tifffile', f'{path}: reading its channels')
    try:
        return tifffile.imread(io.BytesIO(data))
    except (ValueError, tifffile.TiffFileError) as error:  # e.g. imagecodecs is missing
        raise UnreadableImage(path, error) from error


def decode_by_pillow(
    data: bytes, header: Header, color_type: str, path: str
) -> np.ndarray:
    """Decode by Pillow to what OpenCV would give, for JPEGs by another decoder."""
    is_kept = color_type == 'unchanged' and header.channels == 1
    if header.dtype != 'uint8' and not is_kept:
        raise ValueError(
            f'{path}: has {header.channels} channel(s) of {header.dtype}, which Pillow '
            f"would cut to 8 bits. Leave out imdecode_backend='pillow'."
        )
    with open_image(io.BytesIO(data)) as image, damage_as_os_error():
        if color_type == 'color':
            image = image.convert('RGB')
        elif color_type == 'grayscale' or image.mode == '1':
            image = image.convert('L')
        elif image.mode in ('P', 'CMYK', 'YCbCr'):
            image = image.convert('RGB')
        pixels = np.array(image)  # of its own, since the file's is read-only
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        pixels[..., :3] = pixels[..., 2::-1].copy()
    return pixels


def checked_flags(color_type: str, backend: str) -> int:
    """Return OpenCV's flags for a colour type; ValueError if an option is not known."""
    if color_type not in COLOR_TYPES or backend not in BACKENDS:
        raise ValueError(
            f'LoadImageFromFile has color_type={color_type!r} and '
            f'imdecode_backend={backend!r}; they must be one of '
            f'{", ".join(COLOR_TYPES)}, and of {", ".join(BACKENDS)}.'
        )
    return COLOR_TYPES[color_type]
