"""Public data sets: their classes, and a generated folder in the layout of each."""

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope
from PIL import Image

from mmseg_fastscnn.registry import DATASETS

init_default_scope('mmseg_fastscnn')
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
ROAD, BICYCLE = ('road', (128, 64, 128)), ('bicycle', (119, 11, 32))
# type, image, label, raw ids -> train ids, number of classes, first, last
FACTS = [
    (
        'PascalVOCDataset',
        'JPEGImages/2007_000032.jpg',
        'SegmentationClass/2007_000032.png',
        {0: 0, 20: 20, 255: 255},
        21,
        ('background', (0, 0, 0)),
        ('tvmonitor', (0, 64, 128)),
    ),
    (
        'ADE20KDataset',
        'images/training/ADE_train_00000001.jpg',
        'annotations/training/ADE_train_00000001.png',
        {0: 255, 1: 0, 150: 149},
        150,
        ('wall', (120, 120, 120)),
        ('flag', (92, 0, 255)),
    ),
    (
        'MapillaryDataset_v1',
        'training/images/-0AB.jpg',
        'training/v1.2/labels/-0AB.png',
        {0: 0, 65: 65},
        66,
        ('Bird', (165, 42, 42)),
        ('Unlabeled', (0, 0, 0)),
    ),
    (
        'MapillaryDataset_v2',
        'training/images/-0AB.jpg',
        'training/v2.0/labels/-0AB.png',
        {0: 0, 123: 123},
        124,
        ('Bird', (165, 42, 42)),
        ('Unlabeled', (0, 0, 0)),
    ),
    (
        'BDD100KDataset',
        'images/10k/train/0004a4c0.jpg',
        'labels/sem_seg/masks/train/0004a4c0.png',
        {0: 0, 18: 18, 255: 255},
        19,
        ROAD,
        BICYCLE,
    ),
    (
        'NightDrivingDataset',
        'leftImg8bit/test/night/0_leftImg8bit.png',
        'gtCoarse_daytime_trainvaltest/test/night/0_gtCoarse_labelTrainIds.png',
        {0: 0, 18: 18, 255: 255},
        19,
        ROAD,
        BICYCLE,
    ),
    (
        'DarkZurichDataset',
        'rgb_anon/val/night/GOPR0356/0_rgb_anon.png',
        'gt/val/night/GOPR0356/0_gt_labelTrainIds.png',
        {0: 0, 18: 18, 255: 255},
        19,
        ROAD,
        BICYCLE,
    ),
    (
        'KITTIDataset',
        'training/image_2/000000_10.png',
        'training/semantic/000000_10.png',
        {7: 0, 33: 18, 0: 255},
        19,
        ROAD,
        BICYCLE,
    ),
]


@pytest.mark.parametrize(
    'kind, image, label, ids, number, first, last', FACTS, ids=[f[0] for f in FACTS]
)
def test_layout_and_classes(tmp_path, kind, image, label, ids, number, first, last):
    for path in (image, label):
        (tmp_path / path).parent.mkdir(parents=True)
    cv2.imwrite(str(tmp_path / image), np.zeros((2, len(ids), 3), np.uint8))
    raw = np.array([list(ids)] * 2, np.uint8)
    settings = dict(
        type=kind,
        data_root=str(tmp_path),
        data_prefix=dict(
            img_path=image.rpartition('/')[0], seg_map_path=label.rpartition('/')[0]
        ),
        pipeline=PIPELINE,
        serialize_data=False,
    )
    if kind == 'PascalVOCDataset':
        (tmp_path / 'train.txt').write_text('2007_000032\n')
        settings['ann_file'] = 'train.txt'
    Image.fromarray(raw).save(tmp_path / label)
    data = DATASETS.build(settings)
    classes, palette = data.metainfo['classes'], data.metainfo['palette']
    assert len(classes) == len(palette) == len(set(classes)) == number
    assert (classes[0], palette[0]) == first and (classes[-1], palette[-1]) == last
    np.testing.assert_array_equal(data[0]['gt_seg_map'], [list(ids.values())] * 2)
    # some of these are distributed with the classes' colours as the file's palette
    picture = Image.fromarray(raw, mode='P')
    colours = {raw_id: palette[k] for raw_id, k in ids.items() if k != 255}
    picture.putpalette([v for k in range(256) for v in colours.get(k, (0, 0, 0))])
    picture.save(tmp_path / label)
    np.testing.assert_array_equal(data[0]['gt_seg_map'], [list(ids.values())] * 2)
    written = data[0]['raw_ids'][data[0]['gt_seg_map']]
    known = data[0]['gt_seg_map'] != 255
    np.testing.assert_array_equal(written[known], raw[known])
