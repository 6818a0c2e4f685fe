"""Read an image and its label from files, both in the grid they are stored in.

PNG and JPEG files of 8 bits, as most data sets have them, are read here. Other images
are read, or refused with the reason, in `decoding.py`, other labels in `label_file.py`.
"""

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmengine.logging import MMLogger
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from mmseg_fastscnn.datasets.bad_samples import (
    BYTES,
    NOT_OF_THE_FILE,
    SLOTS,
    being_read,
)
from mmseg_fastscnn.datasets.decoding import BACKENDS, checked_flags, decode
from mmseg_fastscnn.datasets.image_header import (
    DAMAGE,
    MAX_PIXELS,
    PNG,
    UnreadableImage,
    png_exif,
    read_orientation,
    wrong_sum,
)
from mmseg_fastscnn.datasets.label_errors import check_same_grid, refuse_damaged
from mmseg_fastscnn.datasets.label_file import RawLabel, read_other_label
from mmseg_fastscnn.datasets.label_map import LabelMap
from mmseg_fastscnn.datasets.pairs import by_new_name, check_local
from mmseg_fastscnn.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImageFromFile(BaseTransform):
    """Read `img_path` in the grid the file stores, without turning it by EXIF.

    Adds `img`, `img_shape` and `ori_shape` (h, w), and `orientation` where EXIF's is
    not 1. `img` is (H, W, 3) uint8 BGR with the defaults. A `.npy` file gives its
    array as it is, (H, W) or (H, W, C) of uint8, uint16 or float32.

    Args:
        to_float32: Convert the values to float32, without scaling them.
        color_type: 'color' for (H, W, 3) uint8 BGR; 'grayscale' for (H, W) uint8;
            'unchanged' for the file's own channels (BGR, BGRA, or in the order of
            the file) and depth: (H, W) or (H, W, C) of uint8, uint16 or float32.
        imdecode_backend: 'cv2', 'pillow' or 'tifffile'. With 'cv2', a TIFF whose
            channels OpenCV does not read is given to tifffile. With 'tifffile',
            `color_type` has no effect and all channels are in the order of the file.
        ignore_empty: Skip an unreadable file with a warning: the data set gives
            another image in its place.
        backend_args: Arguments of mmengine's file backend.
        file_client_args: The same, by its older name.

    Raises:
        FileNotFoundError: `img_path` does not exist.
        ValueError: `img_path` is no readable image, has too many pixels, or the
            options do not fit it.
    """

    def __init__(
        self,
        to_float32: bool = False,
        color_type: str = 'color',
        imdecode_backend: str = 'cv2',
        file_client_args: dict | None = None,
        ignore_empty: bool = False,
        *,
        backend_args: dict | None = None,
    ):
        color_type = color_type.removesuffix('_ignore_orientation')  # it always is
        self.flags = checked_flags(color_type, imdecode_backend)
        self.to_float32 = to_float32
        self.color_type = color_type
        self.imdecode_backend = imdecode_backend
        self.ignore_empty = ignore_empty
        self.backend_args = by_new_name(backend_args or file_client_args)

    def transform(self, results: dict) -> dict | None:
        orientation = 1
        try:
            if 'packed' in results:
                image = results['packed'].read_image(results, self)
            else:
                with reading(results['img_path']):
                    image, orientation = self._read(results)
        except UnreadableImage as error:
            if not self.ignore_empty:
                raise
            MMLogger.get_current_instance().warning('Skipped: %s', error)
            return None
        if self.to_float32:
            image = image.astype(np.float32)
        size = image.shape[:2]
        results = dict(results, img=image, img_shape=size, ori_shape=size)
        if orientation != 1:
            results['orientation'] = orientation
        return results

    def _read(self, results: dict) -> tuple[np.ndarray, int]:
        """Return the image and its EXIF orientation."""
        path, max_pixels = results['img_path'], results.get('max_pixels', MAX_PIXELS)
        try:
            data = fileio.get(path, backend_args=self.backend_args)
        except FileNotFoundError as error:
            raise FileNotFoundError(f'The image {path} does not exist.') from error
        if self.imdecode_backend == 'cv2' and open_plain(data, max_pixels) is not None:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), self.flags)
            if image is not None:
                return image, 1
        if self.imdecode_backend == 'pillow' and (wrong := wrong_sum(data)):
            raise UnreadableImage(path, wrong)
        options = (self.color_type, self.imdecode_backend, max_pixels, self.to_float32)
        image, header = decode(data, path, *options)
        return image, read_orientation(header, data, path)


@TRANSFORMS.register_module()
class LoadAnnotations(BaseTransform):
    """Read the label file through the data set's label map.

    Adds `gt_seg_map` (H, W) uint8: also from `loaded_seg_map`, where a data set has
    loaded it. Images without labels (no `seg_map_path`) pass unchanged.

    Args:
        reduce_zero_label: None, or what the data set has; set it there.
        imdecode_backend: 'pillow', 'cv2' or 'tifffile'. With any of them the label
            is the integers in the file, which all three agree on.
        backend_args: None or dict(backend='local'): labels are local files.

    Raises:
        ValueError: The file is unreadable, holds unknown ids, or differs from the
            image in size; or an option differs from what is done.
    """

    def __init__(
        self,
        reduce_zero_label: bool | None = None,
        backend_args: Mapping | None = None,
        imdecode_backend: str = 'pillow',
        file_client_args: Mapping | None = None,
    ):
        if imdecode_backend not in BACKENDS:
            raise ValueError(
                f'LoadAnnotations has imdecode_backend={imdecode_backend!r}; labels '
                f'are read without loss as by {", ".join(BACKENDS)}. Leave it out.'
            )
        check_local(backend_args or file_client_args)
        self.reduce_zero_label = reduce_zero_label

    def transform(self, results: dict) -> dict:
        reduced = results.get('reduce_zero_label', False)
        if self.reduce_zero_label not in (None, reduced):
            raise ValueError(
                f'LoadAnnotations has reduce_zero_label={self.reduce_zero_label}, the '
                f'data set {reduced}. Set it on the data set, and leave it out of '
                f'LoadAnnotations.'
            )
        if 'packed' in results:
            results['gt_seg_map'] = np.array(results['packed'].read(results)[1])
        elif 'loaded_seg_map' in results:
            results['gt_seg_map'] = results['loaded_seg_map']
        elif results.get('seg_map_path') is not None:
            results['gt_seg_map'] = self._read(results)
        return results

    def _read(self, results: dict) -> np.ndarray:
        path, limit = results['seg_map_path'], results.get('max_pixels', MAX_PIXELS)
        if 'ori_shape' not in results:
            raise ValueError('LoadImageFromFile must come before LoadAnnotations.')
        label = read_label(path, results['label_map'], limit)
        if label.shape != results['ori_shape'] or 'orientation' in results:
            with reading(path):
                check_same_grid(label.shape, results)
        return label


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Name this file where reading it fails: in errors, and if the process is killed.

    An error that says something about the file gets the attribute `bad_file`.

    Only reading belongs inside: errors of options or of later steps must not be blamed
    on the file.
    """
    pid = os.getpid()
    being_read[pid % SLOTS].value = f'{pid} {path}'.encode()[: BYTES - 1]
    try:
        yield
    except (ValueError, OSError) as error:
        if getattr(error, 'errno', None) not in NOT_OF_THE_FILE:
            error.bad_file = str(path)
        raise
    finally:
        being_read[pid % SLOTS].value = b''


def read_label(
    path: str, label_map: LabelMap, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Read a label file: (H, W) uint8 train ids.

    Raises:
        ValueError: It is no readable label, has too many pixels, holds an id or a
            colour that is not in the map, or a palette that contradicts its indices.
    """
    with reading(path):
        return label_map.encode(read_raw_label(path, max_pixels), path)


def read_raw_label(path: str, max_pixels: int = MAX_PIXELS) -> RawLabel:
    """Read an image of ids (8, 16 or 32 bits, or with a palette) or colours, or `.npy`.

    Raises:
        ValueError: It is unreadable, has too many pixels, or is no label image.
    """
    data = Path(path).read_bytes()
    if wrong := wrong_sum(data):
        refuse_damaged(path, OSError(wrong))
    try:
        image = open_plain(data, max_pixels)
        if image is not None and image.mode == 'L':
            return RawLabel(np.asarray(image))
    except DAMAGE as error:
        refuse_damaged(path, error)
    return read_other_label(data, path, max_pixels)


def open_plain(data: bytes, max_pixels: int) -> Image.Image | None:
    """Open a file that OpenCV and Pillow read alike and without loss.

    Such are PNG and JPEG files of 8 bits per value, without EXIF and not too large.

    Returns:
        The image, not decoded yet; None for another file, also for a damaged one.
    """
    is_png = data.startswith(PNG)
    if not is_png and not data.startswith(b'\xff\xd8'):
        return None
    try:  # not by Image.open, which has a limit of its own on the number of pixels
        image = (PngImageFile if is_png else JpegImageFile)(io.BytesIO(data))
    except DAMAGE:
        return None  # the other readers say what is wrong
    has_exif = png_exif(data) if is_png else image.info.keys() & {'exif', 'xmp'}
    is_deep = is_png and data[24] > 8  # bits per value; Pillow would drop some
    is_large = image.width * image.height > max_pixels
    return None if has_exif or is_deep or is_large else image
