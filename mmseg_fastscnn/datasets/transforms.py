"""The steps that every pipeline has: load, crop, pack.

A pipeline is a list of these, of those in `geometry.py`, `colour.py`, `cut_out.py` and
`albu.py`, and of mmcv's (`RandomResize`, `RandomApply`, ...). Each changes one
`results` dict: `img` (H, W, C), uint8 BGR by default; `gt_seg_map` (H, W) uint8 train
ids; and facts about them (`img_shape`, `ori_shape`, ..., all (h, w)).
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmcv.transforms import LoadImageFromFile as LoadImageOfMMCV
from mmengine.structures import PixelData
from PIL import ExifTags, Image

from mmseg_fastscnn.registry import TRANSFORMS
from mmseg_fastscnn.structures import IGNORED, SegDataSample


@TRANSFORMS.register_module()
class LoadImageFromFile(LoadImageOfMMCV):
    """mmcv's, with an error that names the file and what to do.

    Adds `img`, `img_shape` and `ori_shape` (h, w).

    Raises:
        ValueError: `img_path` is no readable image.
    """

    def transform(self, results: dict) -> dict:
        if 'packed' in results:
            self._check_plain()
            image, _ = results['packed'].read(results)
            size = image.shape[:2]
            return dict(results, img=np.array(image), img_shape=size, ori_shape=size)
        try:
            loaded = super().transform(results)
        except (AssertionError, cv2.error) as error:
            raise ValueError(
                f'{results["img_path"]}: cannot be read as an image ({error}). Replace '
                f'the file or remove it and its label from the data set.'
            ) from error
        return loaded

    def _check_plain(self) -> None:
        """Raise ValueError if the packed copy does not hold what this would load."""
        if (self.color_type, self.imdecode_backend) != ('color', 'cv2'):
            raise ValueError(
                f'A packed copy holds (H, W, 3) BGR as OpenCV reads it, not color_type='
                f'{self.color_type!r} by {self.imdecode_backend!r}. Remove packed from '
                f'the data set, or these options from LoadImageFromFile.'
            )


@TRANSFORMS.register_module()
class LoadAnnotations(BaseTransform):
    """Read the label file through the data set's label map.

    Adds `gt_seg_map`: also from `loaded_seg_map`, where a data set has loaded it.
    Images without labels (no `seg_map_path`) pass unchanged.

    Raises:
        ValueError: The file is unreadable, holds unknown ids, or differs from the
            image in size.
    """

    def transform(self, results: dict) -> dict:
        if 'packed' in results:
            _, label = results['packed'].read(results)
            results['gt_seg_map'] = np.array(label)
            return results
        if 'loaded_seg_map' in results:
            results['gt_seg_map'] = results['loaded_seg_map']
            return results
        path = results.get('seg_map_path')
        if path is None:
            return results
        check_upright(results['img_path'])
        label = results['label_map'].read(path)
        if label.shape != results['ori_shape']:
            raise ValueError(
                f'{path}: the label is {label.shape[0]}x{label.shape[1]} (h x w), its '
                f'image {results["img_path"]} is '
                f'{results["ori_shape"][0]}x{results["ori_shape"][1]}. Make the two '
                f'the same size.'
            )
        results['gt_seg_map'] = label
        return results


def check_upright(path: str) -> None:
    """Raise ValueError if loading an image turns it, which its label is not."""
    if not path.lower().endswith(('.jpg', '.jpeg', '.webp', '.tif', '.tiff')):
        return
    with Image.open(path) as image:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    if orientation != 1:
        raise ValueError(
            f'{path}: its EXIF orientation is {orientation}, so loading turns the '
            f'image but not its label. Save the image upright, without that entry.'
        )


@TRANSFORMS.register_module()
class RandomCrop(BaseTransform):
    """Cut a random window out of image and label.

    Args:
        crop_size: (h, w). A smaller image is kept whole that way; the data
            preprocessor pads it.
        cat_max_ratio: If under 1, up to 10 windows are drawn until one has no class
            with a larger share of its labelled pixels, and more than one class.
        ignore_index: A label that is not counted there, besides `IGNORED`.
    """

    TRIES = 10

    def __init__(
        self,
        crop_size: Sequence[int],
        cat_max_ratio: float = 1.0,
        ignore_index: int = IGNORED,
    ):
        self.crop_size = tuple(crop_size)
        self.cat_max_ratio = cat_max_ratio
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        image, label = results['img'], label_to_crop(results)
        rows, columns, cropped = self.choose(image.shape, lambda *window: label[window])
        results['img'] = image[rows, columns]
        results['gt_seg_map'] = cropped
        results['img_shape'] = results['img'].shape[:2]
        return results

    def choose(
        self, shape: Sequence[int], label_of: Callable[[slice, slice], np.ndarray]
    ) -> tuple[slice, slice, np.ndarray]:
        """Draw a window: its rows, its columns, and the label there.

        Args:
            shape: (h, w, ...) of the image.
            label_of: Gives the label of a window.
        """
        for _ in range(self.TRIES if self.cat_max_ratio < 1 else 0):
            window = self._window(shape)
            label = label_of(*window)
            if self._is_mixed(label):
                return *window, label
        window = self._window(shape)
        return *window, label_of(*window)

    def _window(self, shape: Sequence[int]) -> tuple[slice, slice]:
        starts = [
            np.random.randint(0, max(length - crop, 0) + 1)
            for length, crop in zip(shape[:2], self.crop_size, strict=True)
        ]
        return tuple(
            slice(start, start + crop)
            for start, crop in zip(starts, self.crop_size, strict=True)
        )

    def _is_mixed(self, label: np.ndarray) -> bool:
        # np.bincount takes three times as long
        count = cv2.calcHist([label], [0], None, [256], [0, 256])
        count[[IGNORED, self.ignore_index]] = 0
        return np.count_nonzero(count) > 1 and (
            count.max() / count.sum() < self.cat_max_ratio
        )


def label_to_crop(results: dict) -> np.ndarray:
    """Return `gt_seg_map`; ValueError if the image has none."""
    if 'gt_seg_map' not in results:
        raise ValueError(
            f'{results["img_path"]} has no label to crop with it. Set '
            f'data_prefix.seg_map_path, and LoadAnnotations before RandomCrop.'
        )
    return results['gt_seg_map']


@TRANSFORMS.register_module()
class PackSegInputs(BaseTransform):
    """The end of a pipeline: `inputs` (C, H, W) of the image's type, `data_samples`.

    Args:
        meta_keys: Further keys of `results` to keep as metainfo of the sample, where
            they occur. What prediction needs is always kept.
    """

    META_KEYS = (
        'img_path',
        'seg_map_path',
        'rel_path',
        'raw_ids',
        'ori_shape',
        'img_shape',
        'pad_shape',
        'scale_factor',
        'flip',
        'flip_direction',
        'sample_idx',
    )

    def __init__(self, meta_keys: str | Sequence[str] = ()):
        extra = (meta_keys,) if isinstance(meta_keys, str) else tuple(meta_keys)
        self.meta_keys = dict.fromkeys([*self.META_KEYS, *extra])

    def transform(self, results: dict) -> dict:
        meta = {key: results[key] for key in self.meta_keys if key in results}
        sample = SegDataSample(metainfo=meta)
        if 'gt_seg_map' in results:
            label = np.ascontiguousarray(results['gt_seg_map'][None])
            sample.gt_sem_seg = PixelData(data=torch.from_numpy(label))
        inputs = torch.from_numpy(channels_first(results['img']))
        return dict(inputs=inputs, data_samples=sample)


def channels_first(image: np.ndarray) -> np.ndarray:
    """Copy (H, W) or (H, W, C) to (C, H, W)."""
    if image.ndim == 2:
        image = image[..., None]
    height, width, channels = image.shape
    if channels > 4:  # more than OpenCV splits everywhere
        return np.ascontiguousarray(image.transpose(2, 0, 1))
    planes = np.empty((channels, height, width), image.dtype)
    cv2.split(image, list(planes))  # takes a fraction of the time of a transposition
    return planes
