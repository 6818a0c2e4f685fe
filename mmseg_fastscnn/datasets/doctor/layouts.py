"""Find data sets of images and labels in a folder that has no config."""

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from mmseg_fastscnn.datasets.cityscapes import CityscapesDataset
from mmseg_fastscnn.datasets.pairs import IMAGE_SUFFIXES, image_names, without_suffix
from mmseg_fastscnn.datasets.seg_dataset import SegDataset
from mmseg_fastscnn.datasets.split_file import ends_in

SPLITS = ('train', 'val', 'test')
TRIED = 50  # images whose labels are looked for to find the suffix of labels


class Layout(NamedTuple):
    """Where images and labels of a split are, below the folder.

    Attributes:
        images, labels: Folders; `{}` is the name of the split.
        ann_file: The split file, if the splits are not folders.
    """

    images: str
    labels: str
    ann_file: str = ''

    def __str__(self) -> str:
        listed = f', {self.ann_file}' if self.ann_file else ''
        return f'{self.images}, {self.labels}{listed}'.format(*['SPLIT'] * 3)


LAYOUTS = (
    Layout('leftImg8bit/{}', 'gtFine/{}'),
    Layout('images/{}', 'labels/{}'),
    Layout('img_dir/{}', 'ann_dir/{}'),
    Layout('images/{}', 'masks/{}'),
    Layout('images/{}', 'annotations/{}'),
    Layout('{}', '{}annot'),
    Layout('{}/images', '{}/labels'),
    Layout('{}/images', '{}/masks'),
    Layout('JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation/{}.txt'),
    Layout('images', 'labels', '{}.txt'),
    Layout('images', 'labels'),
    Layout('images', 'masks'),
    Layout('images', 'annotations'),
    Layout('JPEGImages', 'SegmentationClass'),
)


class UnnamedDataset(SegDataset):
    """Images and labels whose classes are not known, so that there is no label map."""

    METAINFO = dict(classes=('unknown',))

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.label_map = None

    def get_data_info(self, idx: int) -> dict:
        """Return the pair's paths; there is no label map to add."""
        return super(SegDataset, self).get_data_info(idx)


def datasets_in(folder: str) -> tuple[Layout, dict[str, list[SegDataset]]]:
    """Return the layout of a folder, and the data set of each split, not listed yet.

    Classes are known of Cityscapes' layout, by the names of its files.

    Raises:
        ValueError: The folder has none of `LAYOUTS`.
    """
    for layout in LAYOUTS:
        built = {split: dataset_of(folder, layout, split) for split in SPLITS}
        found = {split: [data] for split, data in built.items() if data is not None}
        if found:
            if '{}' not in layout.images + layout.ann_file:
                found = {'all': found['train']}  # the three are the same
            return layout, found
    looked_for = '\n'.join(f'  {layout}' for layout in LAYOUTS)
    raise ValueError(
        f'{folder} holds no images with labels in any of these folders, where SPLIT is '
        f'{", ".join(SPLITS)}:\n{looked_for}\nMove the files, or give a config, whose '
        f'data_prefix says where they are.'
    )


def dataset_of(folder: str, layout: Layout, split: str) -> SegDataset | None:
    """Build the data set of a split; None if one of its folders is not there."""
    images, labels, ann_file = (place.format(split) for place in layout)
    there = all(
        os.path.isdir(os.path.join(folder, place)) for place in (images, labels)
    )
    if not there or (ann_file and not os.path.isfile(os.path.join(folder, ann_file))):
        return None
    settings = dict(
        data_root=folder,
        data_prefix=dict(img_path=images, seg_map_path=labels),
        ann_file=ann_file,
        lazy_init=True,
    )
    if layout is LAYOUTS[0]:
        return CityscapesDataset(**settings)
    suffix = label_suffix(Path(folder, images), Path(folder, labels))
    return UnnamedDataset(**settings, seg_map_suffix=suffix)


def label_suffix(images: Path, labels: Path) -> str:
    """Return what most label names end in after the name of their image."""
    try:
        names = image_names(str(images), IMAGE_SUFFIXES)[:TRIED]
    except FileNotFoundError:
        return SegDataset.SEG_MAP_SUFFIX  # listing the images says that there are none
    found: Counter = Counter()
    in_folder: dict[Path, list[str]] = {}
    for name in names:
        stem = Path(without_suffix(name, IMAGE_SUFFIXES))
        folder = labels / stem.parent
        if folder not in in_folder:
            in_folder[folder] = os.listdir(folder) if folder.is_dir() else []
        for label in in_folder[folder]:
            if label.startswith(stem.name) and ends_in(label, *IMAGE_SUFFIXES):
                found[label.removeprefix(stem.name)] += 1
    return max(found, key=lambda suffix: (found[suffix], -len(suffix)), default='.png')
