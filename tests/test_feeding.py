"""Reading only the window that is drawn, from files and from the packed copy."""

import json
import shutil
import subprocess
import sys
from collections import namedtuple

import cv2
import numpy as np
import pytest
from conftest import ROOT
from mmengine.registry import init_default_scope

from mmseg_fastscnn.datasets import SegDataset, packed
from mmseg_fastscnn.datasets.random_crop import CLOSE, fused, resized_window

init_default_scope('mmseg_fastscnn')
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


@pytest.fixture
def folder(tmp_path):
    """Five smooth images of three sizes, labels in patches."""
    rng = np.random.default_rng(0)
    for kind in ('images', 'labels'):
        (tmp_path / 'data' / kind).mkdir(parents=True)
    for k, (h, w) in enumerate([(96, 160), (96, 160), (64, 200), (96, 160), (40, 50)]):
        image = rng.integers(0, 256, (h // 8, w // 8, 3), dtype=np.uint8)
        label = rng.integers(0, 4, (h // 16, w // 16), dtype=np.uint8)
        label[0] = 255
        image = cv2.resize(image, (w, h), interpolation=cv2.INTER_CUBIC)
        label = cv2.resize(label, (w, h), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(tmp_path / f'data/images/{k}.png'), image)
        cv2.imwrite(str(tmp_path / f'data/labels/{k}.png'), label)
    return tmp_path


def dataset(folder, pipeline=PIPELINE, **settings) -> SegDataset:
    return SegDataset(
        data_root=str(folder / 'data'),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=('a', 'b', 'c', 'd')),
        pipeline=pipeline,
        **settings,
    )


def draw(data: SegDataset, seed: int):
    np.random.seed(seed)
    sample = data[seed % len(data)]
    facts = sample['data_samples']
    image = sample['inputs'].numpy()
    label = facts.gt_sem_seg.data[0].numpy()
    return image, label, {key: facts.get(key) for key in ('flip', *META)}


META = ('ori_shape', 'img_shape', 'scale_factor', 'flip_direction', 'rel_path')


def test_the_same_samples_as_of_the_plain_pipeline(folder):
    """From the same draws: labels to the pixel, so scales, crops and flips are too.

    Colours, drawn after these, are equal but for what resizing a window rounds.
    """
    plain = dataset(folder, fuse=False)
    fast = [dataset(folder), dataset(folder, packed=str(folder / 'copy'))]
    assert len(plain.pipeline.transforms) == 7
    assert [len(data.pipeline.transforms) for data in fast] == [4, 4]
    scales, differences = set(), []
    for seed in range(120):
        image, label, facts = draw(plain, seed)
        scales.add(facts['scale_factor'])
        for data in fast:
            fast_image, fast_label, fast_facts = draw(data, seed)
            np.testing.assert_array_equal(fast_label, label)
            assert fast_facts == facts
            difference = np.abs(fast_image.astype(int) - image)
            differences.append(difference.mean())
    assert len(scales) > 60
    assert np.mean(differences) < 0.3 and np.max(differences) < 1.5  # of 255


def test_windows_of_a_resized_image():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (12, 15, 3), dtype=np.uint8)
    image = cv2.resize(image, (120, 90), interpolation=cv2.INTER_CUBIC)
    steepest = max(np.abs(np.diff(image.astype(int), axis=k)).max() for k in (0, 1))
    for _ in range(1000):
        h, w = rng.integers(30, 250, 2)
        rows, columns = (
            slice(first, int(rng.integers(first + 1, side + 20)))
            for side in (h, w)
            for first in [int(rng.integers(0, side))]
        )
        ours = resized_window(image, (h, w), rows, columns)
        expected = cv2.resize(image, (int(w), int(h)))[rows, columns]
        assert ours.shape == expected.shape
        difference = np.abs(ours.astype(int) - expected)
        assert difference.max() <= CLOSE * steepest + 1


@pytest.mark.parametrize(
    'pipeline',
    [
        [*LOAD, dict(RESIZE, keep_ratio=False), CROP, *AFTER],
        [*LOAD, dict(RESIZE, scale=[(160, 96), (80, 48)]), CROP, *AFTER],
        [dict(LOAD[0], color_type='grayscale'), LOAD[1], RESIZE, CROP, *AFTER],
        [*LOAD, dict(type='Resize', scale=(160, 96)), CROP, *AFTER],
        [*LOAD, *AFTER],
    ],
)
def test_what_is_not_of_that_form_is_left_alone(pipeline):
    assert fused(pipeline) == pipeline


def test_the_copy_is_what_the_files_hold(folder, monkeypatch):
    pipeline = [*LOAD, dict(type='PackSegInputs')]
    files = dataset(folder, pipeline)
    copy = dataset(folder, pipeline, packed=str(folder / 'copy'))
    assert copy.packed.missing() == 5

    def same(data):
        for k in range(5):
            ours, theirs = data[k], files[k]
            assert ours['inputs'].equal(theirs['inputs'])
            label = theirs['data_samples'].gt_sem_seg.data
            assert ours['data_samples'].gt_sem_seg.data.equal(label)

    same(copy)
    assert copy.packed.missing() == 0
    again = dataset(folder, pipeline, packed=str(folder / 'copy'))
    with monkeypatch.context() as patched:
        patched.setattr(packed, 'DECODE', None)  # nothing is decoded any more
        same(again)
    # a label changes: another copy, which the next reading fills
    cv2.imwrite(str(folder / 'data/labels/1.png'), np.ones((96, 160), np.uint8))
    same(dataset(folder, pipeline, packed=str(folder / 'copy')))
    assert len(list((folder / 'copy').iterdir())) == 2


def test_the_copy_needs_labels_and_room(folder, monkeypatch):
    usage = namedtuple('usage', 'total used free')(10**6, 10**6 - 100, 100)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, 'disk_usage', lambda _: usage)
        with pytest.raises(ValueError, match=r'needs 0\.00 GiB.*Make room'):
            dataset(folder, packed=str(folder / 'copy'))
    assert not any((folder / 'copy').iterdir())
    with pytest.raises(ValueError, match='has no label; only data with labels'):
        SegDataset(
            data_root=str(folder / 'data'),
            data_prefix=dict(img_path='images'),
            metainfo=dict(classes=('a',)),
            packed=str(folder / 'copy'),
        )


def test_several_processes_write_one_copy(folder):
    """The tool three times at once, as the processes of a data parallel training."""
    config = folder / 'config.py'
    settings = dict(
        type='SegDataset',
        data_root=str(folder / 'data'),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=('a', 'b', 'c', 'd')),
        pipeline=PIPELINE,
    )
    base = ROOT / 'configs/fastscnn/fast_scnn_camvid.py'
    config.write_text(
        f'_base_ = {str(base)!r}\n'
        f'train_dataloader = dict(dataset=dict(_delete_=True, **{settings!r}))\n'
        f'model = dict(num_classes=4)\n'
    )
    tool = [sys.executable, ROOT / 'tools/pack_dataset.py', config, folder / 'copy']
    runs = [subprocess.Popen(tool, stdout=subprocess.PIPE) for _ in range(3)]
    said = [run.communicate()[0].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], said
    assert all('5 of 5 images' in text and 'packed=' in text for text in said)
    (copy,) = (folder / 'copy').iterdir()
    assert (copy / 'done.bin').read_bytes() == b'\1' * 5
    expected = b''
    for name, offset, *size in json.loads((copy / 'index.json').read_text()):
        assert offset == len(expected)
        image = cv2.imread(str(folder / 'data/images' / name))
        label = cv2.imread(str(folder / 'data/labels' / name), cv2.IMREAD_UNCHANGED)
        assert list(label.shape) == size
        expected += image.tobytes() + label.tobytes()
    assert (copy / 'pixels.bin').read_bytes() == expected
