"""Data sets of torchvision; runs where torchvision fits the installed torch."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from PIL import Image

from mmseg_fastscnn.datasets import TorchvisionDataset, sample_facts
from mmseg_fastscnn.datasets.class_weights import class_pixel_counts
from mmseg_fastscnn.registry import DATASETS

try:
    import torchvision  # noqa: F401
except (ImportError, RuntimeError) as error:
    pytest.skip(f'torchvision does not work here: {error}', allow_module_level=True)

init_default_scope('mmseg_fastscnn')
CLASSES = ('background', 'aeroplane', 'bicycle')
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=(24, 32)),
    dict(type='PackSegInputs'),
]


@pytest.fixture
def voc(tmp_path):
    """Two images in VOC's layout, with palette labels and the 255 of borders."""
    root = tmp_path / 'VOCdevkit/VOC2012'
    for folder in ('JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation'):
        (root / folder).mkdir(parents=True)
    label = np.zeros((24, 32), np.uint8)
    label[4:12, 8:], label[14:20], label[3] = 2, 1, 255
    for name in ('a', 'b'):
        image = np.zeros((24, 32, 3), np.uint8)
        image[..., 2] = 200  # red, as OpenCV writes it
        cv2.imwrite(str(root / f'JPEGImages/{name}.jpg'), image)
        picture = Image.fromarray(label).convert('P')
        picture.putdata(label.ravel().tolist())
        picture.putpalette(list(range(256)) * 3)
        picture.save(root / f'SegmentationClass/{name}.png')
    (root / 'ImageSets/Segmentation/train.txt').write_text('a\nb\n')
    return tmp_path, label


def test_voc(voc):
    root, label = voc
    settings = dict(
        type='TorchvisionDataset',
        name='VOCSegmentation',
        data_root=str(root),
        image_set='train',
        metainfo=dict(classes=CLASSES),
        pipeline=PIPELINE,
    )
    data = DATASETS.build(settings)
    ids = [(label == k).sum() for k in range(3)]
    counts = [2 * np.array(ids), [2 * sum(ids)] * 3]
    np.testing.assert_array_equal(class_pixel_counts(data), counts)
    assert len(data) == 2 and data.metainfo['palette'][1] == (128, 0, 0)
    item = data[1]
    sample = item['data_samples']
    np.testing.assert_array_equal(sample.gt_sem_seg.data[0], label)
    assert sample.rel_path == 'b.jpg' and sample.ori_shape == (24, 32)
    both = DATASETS.build(dict(type='ConcatDataset', datasets=[settings, settings]))
    assert len(both) == 4
    facts = sample_facts(both, seconds=60)
    assert facts.labelled == 4
    counted = [4 * int((label == k).sum()) for k in (0, 1, 2, 255)]
    assert [*facts.pixels.values(), facts.ignored] == counted
    balanced = dict(type='ClassBalancedDataset', dataset=settings, oversample_thr=0.1)
    assert len(DATASETS.build(balanced)) == 2 and data.get_cat_ids(0) == [0, 1, 2]
    assert item['inputs'].dtype == torch.uint8  # (C, H, W), BGR
    assert (
        item['inputs'][2].float().mean() > 190 > 10 > item['inputs'][0].float().mean()
    )


def test_resizing_leaves_a_label_alone_that_is_loaded_after_it(voc):
    root, label = voc
    data = TorchvisionDataset(
        'VOCSegmentation',
        data_root=str(root),
        image_set='train',
        metainfo=dict(classes=CLASSES),
        pipeline=[dict(type='Resize', scale_factor=2.0), *PIPELINE[1:2], *PIPELINE[3:]],
    )
    item = data[0]
    assert item['inputs'].shape == (3, 48, 64)
    np.testing.assert_array_equal(item['data_samples'].gt_sem_seg.data[0], label)


def test_unknown_ids_and_names_are_errors(voc):
    root, _ = voc
    settings = dict(data_root=str(root), image_set='train', pipeline=PIPELINE)
    two = TorchvisionDataset(
        'VOCSegmentation', metainfo=dict(classes=CLASSES[:2]), **settings
    )
    with pytest.raises(ValueError, match=r'VOCSegmentation\[0\]: label ids \[2\]'):
        two[0]
    with pytest.raises(ValueError, match="no data set named 'VOC'"):
        TorchvisionDataset('VOC', metainfo=dict(classes=CLASSES), **settings)
