"""Read an image and its label from files, both in the grid they are stored in."""

import io
from collections.abc import Mapping

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmengine.logging import MMLogger

from mmseg_fastscnn.datasets.decoding import BACKENDS, COLOR_TYPES, decode
from mmseg_fastscnn.datasets.image_header import (
    MAX_PIXELS,
    UnreadableImage,
    check_pixels,
    read_header,
    read_orientation,
)
from mmseg_fastscnn.registry import TRANSFORMS

DTYPES = ('uint8', 'uint16', 'float32')


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
        if color_type not in COLOR_TYPES or imdecode_backend not in BACKENDS:
            raise ValueError(
                f'LoadImageFromFile has color_type={color_type!r} and '
                f'imdecode_backend={imdecode_backend!r}; they must be one of '
                f'{", ".join(COLOR_TYPES)}, and of {", ".join(BACKENDS)}.'
            )
        self.to_float32 = to_float32
        self.color_type = color_type
        self.imdecode_backend = imdecode_backend
        self.ignore_empty = ignore_empty
        self.backend_args = backend_args or file_client_args
        if self.backend_args and self.backend_args.get('backend') == 'disk':
            self.backend_args = dict(self.backend_args, backend='local')

    def transform(self, results: dict) -> dict | None:
        orientation = 1
        if 'packed' in results:
            image = self._read_packed(results)
        else:
            try:
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

    def _read_packed(self, results: dict) -> np.ndarray:
        """Raise ValueError if the packed copy does not hold what this would load."""
        if (self.color_type, self.imdecode_backend) != ('color', 'cv2'):
            raise ValueError(
                f'A packed copy holds (H, W, 3) BGR as OpenCV reads it, not color_type='
                f'{self.color_type!r} by {self.imdecode_backend!r}. Remove packed from '
                f'the data set, or these options from LoadImageFromFile.'
            )
        return np.array(results['packed'].read(results)[0])

    def _read(self, results: dict) -> tuple[np.ndarray, int]:
        """Return the image and its EXIF orientation."""
        path = results['img_path']
        try:
            data = fileio.get(path, backend_args=self.backend_args)
        except FileNotFoundError as error:
            raise FileNotFoundError(f'The image {path} does not exist.') from error
        header = read_header(io.BytesIO(data), path)
        if header is not None:
            check_pixels(header, path, results.get('max_pixels', MAX_PIXELS))
        orientation = read_orientation(io.BytesIO(data), header)
        image = decode(
            data, header, path, self.color_type, self.imdecode_backend, orientation
        )
        if image.dtype.name not in DTYPES and not self.to_float32:
            raise ValueError(
                f'{path}: its values are {image.dtype}; images are uint8, uint16 or '
                f'float32. Set to_float32=True in LoadImageFromFile, or save it as '
                f'one of these.'
            )
        return image, orientation


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
            _, label = results['packed'].read(results)
            results['gt_seg_map'] = np.array(label)
        elif 'loaded_seg_map' in results:
            results['gt_seg_map'] = results['loaded_seg_map']
        elif results.get('seg_map_path') is not None:
            results['gt_seg_map'] = self._read(results)
        return results

    def _read(self, results: dict) -> np.ndarray:
        path = results['seg_map_path']
        limit = results.get('max_pixels', MAX_PIXELS)
        label = results['label_map'].read(path, limit)
        if 'ori_shape' not in results:
            raise ValueError('LoadImageFromFile must come before LoadAnnotations.')
        check_same_grid(label.shape, results)
        return label


def check_same_grid(shape: tuple[int, int], results: dict) -> None:
    """Raise ValueError unless a label lies on its image pixel by pixel.

    Where EXIF turns the image, viewers and most annotation tools show it turned, while
    it is read as it is stored. The label's size tells which of the two it was drawn on,
    but for turns that keep the size.

    Args:
        shape: (h, w) of the label.
        results: Has `img_path`, `seg_map_path`, `ori_shape`, perhaps `orientation`.
    """
    image, path = results['img_path'], results['seg_map_path']
    size, orientation = results['ori_shape'], results.get('orientation', 1)
    advice = 'Save the image upright, without that entry, as the label is.'
    if shape != size and orientation >= 5 and shape == size[::-1]:
        raise ValueError(
            f'{path}: the label is {shape[0]}x{shape[1]} (h x w), its image {image} is '
            f'stored as {size[0]}x{size[1]}, and its EXIF orientation {orientation} '
            f'turns it to the size of the label. Images are read as they are '
            f'stored. {advice}'
        )
    if shape != size:
        raise ValueError(
            f'{path}: the label is {shape[0]}x{shape[1]} (h x w), its image {image} is '
            f'{size[0]}x{size[1]}. Make the two the same size.'
        )
    if orientation in (2, 3, 4) or (orientation != 1 and size[0] == size[1]):
        raise ValueError(
            f'{image}: its EXIF orientation is {orientation}, and the size of its '
            f'label {path} does not tell whether it was drawn on the image as it is '
            f'stored or as it is shown. {advice}'
        )


def check_local(backend_args: Mapping | None) -> None:
    """Raise ValueError for a file backend that is not the local disk."""
    if backend_args and backend_args.get('backend') not in ('local', 'disk'):
        raise ValueError(
            f'backend_args={dict(backend_args)}: labels and lists of files are read '
            f"from the local disk only. Leave it out, or set dict(backend='local')."
        )
