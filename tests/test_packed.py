"""The packed copy: what it holds, when it is made anew, and who may write it."""

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
from pairs import LOAD, PIPELINE, dataset, write_pairs

from mmseg_fastscnn.datasets import SegDataset, packed

init_default_scope('mmseg_fastscnn')


@pytest.fixture
def folder(tmp_path):
    return write_pairs(tmp_path)


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
        patched.setattr(packed, 'load_pair', None)  # nothing is decoded any more
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
