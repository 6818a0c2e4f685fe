"""Data sets of images and label images; those that are public are subclasses of it."""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from mmengine.dataset import BaseDataset

from mmseg_fastscnn.datasets.bad_samples import BadSamples
from mmseg_fastscnn.datasets.image_header import MAX_PIXELS
from mmseg_fastscnn.datasets.join_steps import build_steps
from mmseg_fastscnn.datasets.loading import read_label
from mmseg_fastscnn.datasets.metainfo import MetaInfo, complete_metainfo, make_label_map
from mmseg_fastscnn.datasets.packed import PackedCopy
from mmseg_fastscnn.datasets.pairs import (
    IMAGE_SUFFIXES,
    DataPrefix,
    check_local,
    list_pairs,
)
from mmseg_fastscnn.datasets.soft_labels import SoftLabels, check_follows
from mmseg_fastscnn.registry import DATASETS
from mmseg_fastscnn.structures import IGNORED

DATA_ROOT_ITSELF: DataPrefix = dict(img_path='', seg_map_path='')


@DATASETS.register_module(name=['SegDataset', 'BaseSegDataset'])
class SegDataset(BaseDataset):
    """A folder of images and a folder of label images with the same names.

    A data set with classes of its own is a class that sets `METAINFO` and, where they
    differ from the defaults, `LABEL_MAP`, `REDUCE_ZERO_LABEL` and the suffixes.

    Args:
        data_root: Folder that the other paths are relative to.
        data_prefix: `img_path` and `seg_map_path`, the two folders, searched through
            all levels; hidden files and folders are left out. Without `seg_map_path`
            there are no labels (prediction only).
        ann_file: A split file, which names one image per line (see `split_file.py`).
            By default every image found.
        img_suffix: Suffix of image names, one or several; a label has the image's
            relative path with this replaced by `seg_map_suffix`.
        seg_map_suffix: Suffix of label names.
        metainfo: `classes`, names in the order of the train ids, and `palette`, one
            (r, g, b) per class (by default that of VOC). Where the class defines its
            classes, a subset of their names trains on these and ignores the others.
        label_map: raw id -> train id (see `LabelMap`); by default the ids in the
            files are the train ids.
        reduce_zero_label: Ignore the raw id 0 and make k of each raw id k + 1.
        ignore_index: Train id of what is not counted.
        max_pixels: Largest number of pixels of an image or a label.
        pipeline: Transforms, which change a `results` dict one after the other.
        packed: Folder of a decoded copy to read from, written while it is first read
            (see `packed.py`); by default the files are read.
        soft_labels: Folder of a teacher's soft labels (see `soft_labels.py`), which
            `DistillationLoss` reads; by default there are none.
        skip_bad: `limit` and `file` of `BadSamples`: up to so many samples that cannot
            be read are replaced by the next ones of the data set. By default, the first
            one is an error. `tools/train.py --skip-bad` sets it.
        fuse: Run loading, resizing and cropping for training as one step, where the
            pipeline begins with these (see `join_steps.py`).
        backend_args: None or dict(backend='local'), as files are on the local disk.
        kwargs: Further arguments of mmengine's `BaseDataset` (`indices`,
            `test_mode`, `lazy_init`, ...).

    Raises:
        FileNotFoundError: A folder, the split file, an image or a label is missing.
        ValueError: No classes are given, `label_map` does not fit them, or soft labels
            cannot follow the pipeline.
    """

    METAINFO: dict = {}
    LABEL_MAP: Mapping[int, int] | None = None
    REDUCE_ZERO_LABEL = False
    IMG_SUFFIX: str | Sequence[str] = IMAGE_SUFFIXES
    SEG_MAP_SUFFIX = '.png'

    def __init__(
        self,
        data_root: str | None = '',
        data_prefix: DataPrefix = DATA_ROOT_ITSELF,
        ann_file: str = '',
        img_suffix: str | Sequence[str] | None = None,
        seg_map_suffix: str | None = None,
        metainfo: MetaInfo | None = None,
        label_map: Mapping | None = None,
        reduce_zero_label: bool | None = None,
        ignore_index: int = IGNORED,
        max_pixels: int = MAX_PIXELS,
        pipeline: Sequence = (),
        packed: str | None = None,
        soft_labels: str | None = None,
        skip_bad: Mapping | None = None,
        fuse: bool = True,
        backend_args: Mapping | None = None,
        **kwargs,
    ):
        check_local(backend_args)
        self.packed_folder = packed
        self.packed: PackedCopy | None = None
        self.bad_samples = None if skip_bad is None else BadSamples(**skip_bad)
        suffixes = img_suffix or self.IMG_SUFFIX
        self.img_suffix = (suffixes,) if isinstance(suffixes, str) else suffixes
        self.seg_map_suffix = seg_map_suffix or self.SEG_MAP_SUFFIX
        if reduce_zero_label is None:
            reduce_zero_label = self.REDUCE_ZERO_LABEL and label_map is None
        self.reduce_zero_label = reduce_zero_label
        self.ignore_index = ignore_index
        self.max_pixels = max_pixels
        self.label_map = make_label_map(self, label_map, metainfo)
        steps = build_steps(pipeline, reduce_zero_label, fuse)
        self.soft_labels: SoftLabels | None = None
        if soft_labels is not None:
            check_follows(steps)
            self.soft_labels = SoftLabels(soft_labels)
        super().__init__(
            ann_file=ann_file,
            metainfo=complete_metainfo(type(self), metainfo),
            data_root=data_root or '',
            # an empty prefix would be joined with data_root like any other
            data_prefix={k: v for k, v in data_prefix.items() if v or k == 'img_path'},
            pipeline=steps,
            **kwargs,
        )

    def full_init(self) -> None:
        """List the pairs; open the packed copy, if one is asked for."""
        super().full_init()
        if self.packed_folder is not None and self.packed is None:
            self.packed = PackedCopy(
                self.packed_folder,
                [self.get_data_info(k) for k in range(len(self))],
                self.label_map,
                self.max_pixels,
                keeps_unreadable=self.bad_samples is not None,
            )

    def load_data_list(self) -> list[dict]:
        """Return one dict per pair, see `pairs.py`; raise an error if one is wrong."""
        pairs, problems = self.list_pairs()
        for problem in problems:
            raise problem
        return pairs

    def list_pairs(self) -> tuple[list[dict], list[Exception]]:
        """Return one dict per pair, and what is wrong with some of them."""
        return list_pairs(
            self.data_prefix['img_path'],
            self.data_prefix.get('seg_map_path'),
            self.img_suffix,
            self.seg_map_suffix,
            self.ann_file,
            self.data_root,
        )

    def get_data_info(self, idx: int) -> dict:
        """Return the pair's dict, with what loading it needs and the raw ids."""
        info = super().get_data_info(idx)
        info.update(
            label_map=self.label_map,
            raw_ids=self.label_map.raw_ids,
            reduce_zero_label=self.reduce_zero_label,
            max_pixels=self.max_pixels,
        )
        if self.packed is not None:
            info['packed'] = self.packed
        if self.soft_labels is not None:
            info['soft_labels'] = self.soft_labels
        return info

    def prepare_data(self, idx: int) -> dict | None:
        """Return what the pipeline makes of a pair, or of the next that can be read.

        Which one that is follows from `idx` alone, so that a run with the same seed
        sees the same images.

        Raises:
            ValueError: A pair cannot be read and may not be left out, or none can be.
        """
        count = len(self)
        others = (k % count for k in range(idx + 1, idx + count))
        for other in chain([idx], others):  # idx itself may be beyond the end
            try:
                data = super().prepare_data(other)
            except (ValueError, OSError) as error:
                self.leave_out(other, error)
                continue
            if data is not None or self.test_mode:
                return data
        raise ValueError(f'None of the {count} images can be read.')

    def leave_out(self, idx: int, error: Exception) -> None:
        """Leave a pair out; raise the error if that is not allowed."""
        if self.bad_samples is None or not hasattr(error, 'bad_file'):
            raise error
        self.bad_samples.add(super().get_data_info(idx)['img_path'], error)

    def read_label(self, idx: int) -> np.ndarray | None:
        """Read the label of an image alone: (H, W) uint8 train ids; None without one.

        Of a label that may be left out, one ignored pixel is returned.
        """
        info = self.get_data_info(idx)
        if info.get('seg_map_path') is None:
            return None
        try:
            return read_label(info['seg_map_path'], self.label_map, self.max_pixels)
        except (ValueError, OSError) as error:
            self.leave_out(idx, error)
            return np.full((1, 1), IGNORED, np.uint8)

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the train ids in a label, for mmengine's `ClassBalancedDataset`.

        Raises:
            ValueError: The image has no label.
        """
        label = self.read_label(idx)
        if label is None:
            image = self.get_data_info(idx)['img_path']
            raise ValueError(
                f'{image} has no label, so there are no classes to balance. '
                f'Set data_prefix.seg_map_path.'
            )
        found = np.unique(label)
        return [k for k in found.tolist() if k not in (self.ignore_index, IGNORED)]
