"""Decode an image's bytes by OpenCV, Pillow or tifffile without losing what it holds.

Nothing is turned by EXIF, as labels and predictions are not turned either.
"""

import importlib.util
import io
import multiprocessing

import cv2
import numpy as np
from mmengine.logging import MMLogger
from PIL import UnidentifiedImageError

from mmseg_fastscnn.datasets.image_header import Header, UnreadableImage, open_image

COLOR_TYPES = {
    'color': cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION,
    'grayscale': cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION,
    'unchanged': cv2.IMREAD_UNCHANGED,
}
BACKENDS = ('cv2', 'pillow', 'tifffile')
# Shared with the processes of a DataLoader, so that each run says it once.
reduction_was_said = multiprocessing.RawValue('b', 0)


def decode(
    data: bytes,
    header: Header | None,
    path: str,
    color_type: str = 'color',
    backend: str = 'cv2',
    orientation: int = 1,
) -> np.ndarray:
    """Return (H, W) or (H, W, C), BGR where the file is RGB.

    Args:
        data: Content of the file.
        header: Header of the file, if it is of a known kind.
        path: What error messages call it.
        color_type: 'color', 'grayscale' or 'unchanged'.
        backend: 'cv2', 'pillow' or 'tifffile'; see `LoadImageFromFile`.
        orientation: EXIF's; it only matters for a TIFF.

    Raises:
        UnreadableImage: The file is damaged.
        ValueError: Decoding in this way would lose channels, depth or the grid.
    """
    if header is not None and header.format == 'NPY':
        return read_array(data, path)
    if header is not None and color_type != 'unchanged' and backend != 'tifffile':
        check_depth(header, path, color_type, backend)
    if header is not None and not header.for_opencv and backend == 'cv2':
        backend = 'tifffile'
    try:
        if backend == 'tifffile':
            image = decode_by_tifffile(data, path)
            return image.transpose(1, 2, 0) if header and header.planar else image
        if header is not None and header.format == 'TIFF' and orientation != 1:
            raise ValueError(
                f'{path}: its orientation is {orientation}, by which a TIFF is always '
                f'turned, but not its label. Save it upright, without that tag.'
            )
        if backend == 'pillow':
            return decode_by_pillow(data, header, color_type, path)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), COLOR_TYPES[color_type])
    except (cv2.error, OSError, SyntaxError, UnidentifiedImageError) as error:
        raise UnreadableImage(path, error) from error
    if image is None:
        raise UnreadableImage(path, 'OpenCV cannot decode it')
    return image


def check_depth(header: Header, path: str, color_type: str, backend: str) -> None:
    """Refuse, or say, what is lost by reading a file as 8-bit colours or grays."""
    if header.dtype not in ('uint8', 'uint16') or not header.for_opencv:
        raise ValueError(
            f'{path}: has {header.channels} channel(s) of {header.dtype}, of which '
            f'color_type={color_type!r} would make 8-bit values of something else. '
            f"Set color_type='unchanged' in LoadImageFromFile to read all as they are."
        )
    if header.dtype == 'uint16' and backend == 'cv2':
        say_reduction(path, color_type)


def say_reduction(path: str, color_type: str) -> None:
    """Warn, once per run, that 16 bits become 8."""
    if not reduction_was_said.value:
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
    except ValueError as error:
        raise UnreadableImage(path, error) from error


def decode_by_tifffile(data: bytes, path: str) -> np.ndarray:
    """Return all channels of a TIFF in the order of the file.

    Raises:
        ImportError: tifffile is not installed.
    """
    if importlib.util.find_spec('tifffile') is None:
        raise ImportError(
            f'{path}: its channels can only be read by tifffile, which is not '
            f'installed: pip install tifffile'
        )
    import tifffile

    try:
        return tifffile.imread(io.BytesIO(data))
    except (ValueError, tifffile.TiffFileError) as error:  # e.g. imagecodecs is missing
        raise UnreadableImage(path, error) from error


def decode_by_pillow(
    data: bytes, header: Header | None, color_type: str, path: str
) -> np.ndarray:
    """Decode by Pillow to what OpenCV would give, for JPEGs by another decoder."""
    one_channel = header is None or header.channels == 1
    if (
        header
        and header.dtype != 'uint8'
        and (color_type != 'unchanged' or not one_channel)
    ):
        raise ValueError(
            f'{path}: has {header.channels} channel(s) of {header.dtype}, which Pillow '
            f"would cut to 8 bits. Leave out imdecode_backend='pillow'."
        )
    with open_image(io.BytesIO(data)) as image:
        if color_type == 'color':
            image = image.convert('RGB')
        elif color_type == 'grayscale' or image.mode == '1':
            image = image.convert('L')
        elif image.mode in ('P', 'CMYK', 'YCbCr'):
            image = image.convert('RGB')
        pixels = np.array(image)
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        pixels[..., :3] = pixels[..., 2::-1].copy()
    return pixels
