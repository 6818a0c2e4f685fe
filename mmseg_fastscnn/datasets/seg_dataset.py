"""Images with label images beside them; other data sets are this class with facts."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.fileio import list_from_file

from mmseg_fastscnn.datasets.label_map import LabelMap, shorten
from mmseg_fastscnn.datasets.packed import PackedCopy
from mmseg_fastscnn.datasets.random_crop import fused
from mmseg_fastscnn.registry import DATASETS

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff')


class DataPrefix(TypedDict, total=False):
    """The config check reads the keys of `data_prefix` here."""

    img_path: str
    seg_map_path: str


DATA_ROOT_ITSELF: DataPrefix = dict(img_path='', seg_map_path='')


class MetaInfo(TypedDict, total=False):
    """The config check reads the keys of `metainfo` here."""

    classes: Sequence[str]
    palette: Sequence[Sequence[int]]


@DATASETS.register_module(name=['SegDataset', 'BaseSegDataset'])
class SegDataset(BaseDataset):
    """A folder of images and a folder of label images with the same names.

    Args:
        data_root: What the other paths are relative to.
        data_prefix: `img_path` and `seg_map_path`, the two folders (searched through
            all levels). Without `seg_map_path` there are no labels (prediction only).
        ann_file: A split file: one image a line, relative to `img_path`, with or
            without its suffix. By default every image found.
        img_suffix: What image names end in, one or several; a label has the image's
            relative path with this replaced by `seg_map_suffix`.
        seg_map_suffix: What label names end in.
        metainfo: `classes`, names in the order of the train ids, and `palette`, an
            (r, g, b) each (by default that of VOC). Where the class defines its
            classes, a subset of their names trains on these and ignores the others.
        label_map: raw id -> train id (see `LabelMap`); by default the ids in the
            files are the train ids.
        ignore_index: Train id of what is not counted.
        pipeline: Transforms, given a `results` dict.
        packed: Folder of a decoded copy to read from, written while it is first read
            (see `packed.py`); by default the files are read.
        fuse: Run loading, resizing and cropping for training as one step, where the
            pipeline begins with these (see `random_crop.py`).
        kwargs: Further arguments of mmengine's `BaseDataset` (`indices`,
            `test_mode`, `lazy_init`, ...).

    Raises:
        FileNotFoundError: A folder, the split file, an image or a label is missing.
        ValueError: No classes are given, or `label_map` does not fit them.
    """

    METAINFO: dict = {}
    LABEL_MAP: Mapping[int, int] | None = None

    def __init__(
        self,
        data_root: str = '',
        data_prefix: DataPrefix = DATA_ROOT_ITSELF,
        ann_file: str = '',
        img_suffix: str | Sequence[str] = IMAGE_SUFFIXES,
        seg_map_suffix: str = '.png',
        metainfo: MetaInfo | None = None,
        label_map: Mapping | None = None,
        ignore_index: int = 255,
        pipeline: Sequence = (),
        packed: str | None = None,
        fuse: bool = True,
        **kwargs,
    ):
        self.packed_folder = packed
        self.packed: PackedCopy | None = None
        self.img_suffix = (img_suffix,) if isinstance(img_suffix, str) else img_suffix
        self.seg_map_suffix = seg_map_suffix
        metainfo = complete_metainfo(type(self), metainfo)
        self.label_map = LabelMap(
            self.choose_label_map(label_map, metainfo['classes'], ignore_index),
            len(metainfo['classes']),
            ignore_index,
            metainfo['palette'],
        )
        super().__init__(
            ann_file=ann_file,
            metainfo=metainfo,
            data_root=data_root,
            # an empty prefix would be joined with data_root like any other
            data_prefix={k: v for k, v in data_prefix.items() if v or k == 'img_path'},
            pipeline=fused(pipeline) if fuse else list(pipeline),
            **kwargs,
        )

    def full_init(self) -> None:
        """List the pairs; open the packed copy, if there shall be one."""
        super().full_init()
        if self.packed_folder is not None and self.packed is None:
            pairs = [super(SegDataset, self).get_data_info(k) for k in range(len(self))]
            self.packed = PackedCopy(self.packed_folder, pairs, self.label_map)

    def choose_label_map(
        self, label_map: Mapping | None, classes: Sequence[str], ignore_index: int
    ) -> Mapping:
        """The user's map; else the data set's own, on the classes that are used."""
        if label_map is not None:
            return label_map
        all_classes = self.METAINFO.get('classes', classes)
        own = self.LABEL_MAP or {k: k for k in range(len(all_classes))}
        train_id = {
            k: classes.index(name) if name in classes else ignore_index
            for k, name in enumerate(all_classes)
        }
        return {raw: train_id.get(k, ignore_index) for raw, k in own.items()}

    def load_data_list(self) -> list[dict]:
        """One dict a pair: `img_path`, `seg_map_path`, `rel_path`."""
        folder = Path(self.data_prefix['img_path'])
        labels = self.data_prefix.get('seg_map_path')
        pairs = []
        for rel_path in self.image_names(folder):
            pair = dict(img_path=str(folder / rel_path), rel_path=rel_path)
            if labels:
                suffix = next(s for s in self.img_suffix if ends_in(rel_path, s))
                name = rel_path[: -len(suffix)] + self.seg_map_suffix
                pair['seg_map_path'] = os.path.join(labels, name)
            pairs.append(pair)
        count = Counter(pair['rel_path'].rpartition('.')[0] for pair in pairs)
        twins = [name for name, times in count.items() if times > 1]
        if twins:
            raise ValueError(
                f'Below {folder}, images differ only in their suffix or are named '
                f'twice: {shorten(twins)}. They would share a label; remove one of '
                f'each, or set img_suffix.'
            )
        for key in ('img_path', 'seg_map_path'):
            missing = [p[key] for p in pairs if key in p and not os.path.exists(p[key])]
            if missing:
                raise FileNotFoundError(
                    f'{len(missing)} of {len(pairs)} pairs have no '
                    f'{"image" if key == "img_path" else "label"}: '
                    f'{shorten(missing)}. Add the files, name in a split file '
                    f'(ann_file) the images to use, or correct data_prefix, '
                    f'img_suffix={self.img_suffix} or '
                    f'seg_map_suffix={self.seg_map_suffix!r}. To predict without '
                    f"labels, set data_prefix.seg_map_path=''."
                )
        return pairs

    def image_names(self, folder: Path) -> list[str]:
        """Paths relative to `folder`: all images, sorted, or those of the split."""
        if not folder.is_dir():
            raise FileNotFoundError(
                f'The image folder {folder} does not exist. Set data_root '
                f'(--data-root) and data_prefix.img_path to where the images are.'
            )
        if self.ann_file:
            if not os.path.isfile(self.ann_file):
                raise FileNotFoundError(f'The split file {self.ann_file} is missing.')
            lines = [line.strip() for line in list_from_file(self.ann_file)]
            return [self._with_suffix(folder, line) for line in lines if line]
        names = sorted(
            Path(root, name).relative_to(folder).as_posix()
            for root, _, files in os.walk(folder, followlinks=True)
            for name in files
            if ends_in(name, *self.img_suffix)
        )
        if not names:
            raise FileNotFoundError(
                f'No image ends in {" or ".join(self.img_suffix)} below {folder}. '
                f'Correct data_prefix.img_path or img_suffix.'
            )
        return names

    def _with_suffix(self, folder: Path, name: str) -> str:
        if ends_in(name, *self.img_suffix):
            return name
        found = [name + s for s in self.img_suffix if (folder / (name + s)).exists()]
        return found[0] if found else name + self.img_suffix[0]

    def get_data_info(self, idx: int) -> dict:
        """The pair's dict, with what loading it needs, and the way back to raw ids."""
        info = super().get_data_info(idx)
        info.update(label_map=self.label_map, raw_ids=self.label_map.raw_ids)
        if self.packed is not None:
            info['packed'] = self.packed
        return info


def ends_in(name: str, *suffixes: str) -> bool:
    """Whether a file name has one of the suffixes, in small or capital letters."""
    return name.lower().endswith(tuple(suffix.lower() for suffix in suffixes))


def complete_metainfo(dataset: type, metainfo: Mapping | None) -> dict:
    """Join a data set's own classes and palette with those of the config."""
    own = dataset.METAINFO
    result = {**own, **(metainfo or {})}
    classes = result.get('classes')
    if not classes or isinstance(classes, str):
        raise ValueError(
            f'{dataset.__name__} has no class names (classes={classes!r}); set '
            f"metainfo=dict(classes=('road', ...)) in the config."
        )
    result['classes'] = classes = tuple(classes)
    if own and not set(classes) <= set(own['classes']):
        unknown = [name for name in classes if name not in own['classes']]
        raise ValueError(
            f'{dataset.__name__} has no classes {unknown}; its classes are '
            f'{", ".join(own["classes"])}. For other labels use SegDataset.'
        )
    if own and 'palette' not in (metainfo or {}):
        colours = dict(zip(own['classes'], own['palette'], strict=True))
        result['palette'] = [colours[name] for name in classes]
    result.setdefault('palette', voc_palette(len(classes)))
    if len(result['palette']) != len(classes):
        raise ValueError(
            f'palette has {len(result["palette"])} colours for {len(classes)} classes; '
            f'give one (r, g, b) a class.'
        )
    result['palette'] = [tuple(colour) for colour in result['palette']]
    return result


def voc_palette(count: int) -> list[tuple[int, int, int]]:
    """PASCAL VOC's colours (r, g, b): bits of the index, spread from the highest."""
    index = np.arange(count)[:, None]
    channel = np.arange(3)[None]
    colours = sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8))
    return [tuple(map(int, colour)) for colour in colours]
