"""A small folder of images and labels, and data sets of it."""

from pathlib import Path

import cv2
import numpy as np

from mmseg_fastscnn.datasets import SegDataset

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
RESIZE = dict(
    type='RandomResize', scale=(160, 96), ratio_range=(0.5, 2.0), keep_ratio=True
)
CROP = dict(type='RandomCrop', crop_size=(64, 80), cat_max_ratio=0.75)
AFTER = [
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
PIPELINE = [*LOAD, RESIZE, CROP, *AFTER]


def write_pairs(folder: Path) -> Path:
    """Write five smooth images of three sizes, and their labels in patches."""
    rng = np.random.default_rng(0)
    for kind in ('images', 'labels'):
        (folder / 'data' / kind).mkdir(parents=True)
    for k, (h, w) in enumerate([(96, 160), (96, 160), (64, 200), (96, 160), (40, 50)]):
        image = rng.integers(0, 256, (h // 8, w // 8, 3), dtype=np.uint8)
        label = rng.integers(0, 4, (h // 16, w // 16), dtype=np.uint8)
        label[0] = 255
        image = cv2.resize(image, (w, h), interpolation=cv2.INTER_CUBIC)
        label = cv2.resize(label, (w, h), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / f'data/images/{k}.png'), image)
        cv2.imwrite(str(folder / f'data/labels/{k}.png'), label)
    return folder


def dataset(folder: Path, pipeline=PIPELINE, **settings) -> SegDataset:
    return SegDataset(
        data_root=str(folder / 'data'),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=('a', 'b', 'c', 'd')),
        pipeline=pipeline,
        **settings,
    )
