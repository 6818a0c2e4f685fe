"""The packed copy: what it holds, when it is made anew, and who may write it."""

import json
import logging
import multiprocessing
import os
import re
import runpy
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections import namedtuple

import cv2
import numpy as np
import pytest
from conftest import ROOT
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from pairs import LOAD, PIPELINE, dataset, write_pairs

from mmseg_fastscnn.datasets import SegDataset, packed, packed_layout

init_default_scope('mmseg_fastscnn')


@pytest.fixture
def folder(tmp_path):
    return write_pairs(tmp_path)


def missing(copy) -> int:
    """Return how many samples of a copy are not written yet."""
    return int((np.fromfile(copy / 'done.bin', np.uint64) == 0).sum())


def test_the_copy_is_what_the_files_hold(folder, monkeypatch):
    pipeline = [*LOAD, dict(type='PackSegInputs')]
    files = dataset(folder, pipeline)
    copy = dataset(folder, pipeline, packed=str(folder / 'copy'))
    assert missing(copy.packed.folder) == 5

    def same(data):
        for k in range(5):
            ours, theirs = data[k], files[k]
            assert ours['inputs'].equal(theirs['inputs'])
            label = theirs['data_samples'].gt_sem_seg.data
            assert ours['data_samples'].gt_sem_seg.data.equal(label)

    same(copy)
    assert missing(copy.packed.folder) == 0
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


def read_all(folder) -> None:
    """Open the copy anew and compare each sample with what its files hold."""
    files, copy = dataset(folder, LOAD), dataset(folder, LOAD, packed=f'{folder}/copy')
    for k in range(5):
        for key in ('img', 'gt_seg_map'):
            np.testing.assert_array_equal(copy[k][key], files[k][key])


def flip_a_bit(path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


SECOND = 4 * 96 * 160  # where the second sample begins


@pytest.mark.parametrize(
    'name, damage, messages',
    [
        ('pixels.bin', lambda f: flip_a_bit(f, SECOND + 7), ['1.png is damaged']),
        ('pixels.bin', lambda f: flip_a_bit(f, SECOND - 1), ['0.png is damaged']),
        ('done.bin', lambda f: flip_a_bit(f, 8), ['1.png is damaged']),
        ('done.bin', lambda f: flip_a_bit(f, 15), ['1.png is damaged']),
        ('index.json', lambda f: flip_a_bit(f, 60), ['index.json is damaged']),
        ('index.json', lambda f: f.unlink(), ['index.json is damaged']),
        ('index.json', lambda f: f.write_text('[' * 10**5), ['index.json is damaged']),
        ('pixels.bin', lambda f: os.truncate(f, SECOND + 7), ['pixels.bin has']),
        ('pixels.bin', lambda f: f.unlink(), ['pixels.bin has 0']),
        ('done.bin', lambda f: os.truncate(f, 11), ['done.bin has 11', '1.png is dam']),
    ],
)
def test_damage_is_found_and_mended(folder, name, damage, messages):
    read_all(folder)
    (copy,) = (folder / 'copy').iterdir()
    whole = {path.name: path.read_bytes() for path in copy.iterdir()}
    damage(copy / name)
    logger, said = MMLogger.get_current_instance(), []
    logger.addFilter(
        lambda record: (
            record.levelno < logging.WARNING or not said.append(record.getMessage())
        )
    )
    read_all(folder)
    assert len(said) == len(messages)
    assert all(map(str.__contains__, said, messages)), said
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == whole
    said.clear()
    read_all(folder)
    logger.filters.clear()
    assert not said


def test_a_copy_of_other_data_or_of_a_stranger_is_refused(folder):
    read_all(folder)
    (copy,) = (folder / 'copy').iterdir()
    cv2.imwrite(str(folder / 'data/labels/1.png'), np.ones((96, 160), np.uint8))
    other = dataset(folder, packed=str(folder / 'copy')).packed.folder
    shutil.rmtree(other)
    copy.rename(other)
    with pytest.raises(ValueError, match=f'is the packed copy {copy.name}, of other'):
        dataset(folder, packed=str(folder / 'copy'))
    index = json.loads((other / 'index.json').read_text())
    for size in ([2**20, 2**20], [-1, 4], [1e300, 1], ['a', None]):
        samples = [[name, *size] for name, *_ in index['samples']]
        packed_layout.write_index(other, other.name, samples)
        if size[0] == 2**20:  # well-formed, so that it would be read
            with pytest.raises(ValueError, match=r'0\.png: 1048576x1048576'):
                dataset(folder, packed=str(folder / 'copy'))
        else:  # of the old pixels none has the checksum of this copy
            read_all(folder)


@pytest.mark.parametrize('name', ['pixels.bin', 'done.bin', 'index.json'])
@pytest.mark.parametrize('kind', ['link', 'pipe'])
def test_nothing_is_written_through_a_link(folder, name, kind):
    """As in a copy that someone else has packed up."""
    read_all(folder)
    victim = folder / 'data/images/0.png'
    before = victim.read_bytes()
    (copy,) = (folder / 'copy').iterdir()
    (copy / name).unlink()
    (copy / name).symlink_to(victim) if kind == 'link' else os.mkfifo(copy / name)
    with pytest.raises(ValueError, match=f'{name} is a link, a folder or a device'):
        read_all(folder)
    assert victim.read_bytes() == before


def hang_in_fsync(folder, number: int) -> None:
    copy = dataset(folder, packed=str(folder / 'copy')).packed
    packed.os.fsync = lambda _: (folder / 'hangs').touch() or time.sleep(60)
    info = dataset(folder, packed=str(folder / 'copy')).get_data_info(number)
    copy.read(info)


def test_a_sample_that_is_being_written_is_not_done(folder):
    process = multiprocessing.get_context('fork').Process(
        target=hang_in_fsync, args=(folder, 1)
    )
    process.start()
    while not (folder / 'hangs').exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    (copy,) = (folder / 'copy').iterdir()
    assert (copy / 'pixels.bin').read_bytes()[SECOND : SECOND + 9] != bytes(9)
    assert missing(copy) == 5
    read_all(folder)


@pytest.mark.parametrize(
    'spoil, message',
    [
        ('image', r'0\.png has 3 channel\(s\) of uint16 .*Remove packed'),
        ('label', r'labels/0\.png: cannot be read as a label image'),
        ('type', r'TorchvisionDataset cannot be packed; only data sets of image and'),
    ],
)
def test_what_cannot_be_packed_is_named(folder, spoil, message, monkeypatch, capsys):
    settings = data_settings(folder)
    if spoil == 'image':
        cv2.imwrite(f'{folder}/data/images/0.png', np.ones((96, 160, 3), np.uint16))
    elif spoil == 'label':
        (folder / 'data/labels/0.png').write_bytes(b'no label')
    else:
        settings = dict(settings, type='TorchvisionDataset', name='VOCSegmentation')
        for key in ('data_prefix', 'pipeline'):
            del settings[key]
    tool = str(ROOT / 'tools/pack_dataset.py')
    words = [tool, str(write_config(folder, settings)), str(folder / 'copy')]
    monkeypatch.setattr(sys, 'argv', words)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(tool, run_name='__main__')
    assert ended.value.code == 2
    said = capsys.readouterr().err
    # a handler of an earlier test may have complained of its closed stream before
    assert re.search(message, said.splitlines()[-1])


def data_settings(folder) -> dict:
    return dict(
        type='SegDataset',
        data_root=str(folder / 'data'),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=('a', 'b', 'c', 'd')),
        pipeline=PIPELINE,
    )


def write_config(folder, settings: dict):
    config = folder / 'config.py'
    base = ROOT / 'configs/fastscnn/fast_scnn_camvid.py'
    config.write_text(
        f'_base_ = {str(base)!r}\n'
        f'train_dataloader = dict(dataset=dict(_delete_=True, **{settings!r}))\n'
        f'model = dict(num_classes=4)\n'
    )
    return config


def test_several_processes_write_one_copy(folder):
    """The tool three times at once, as the processes of a data parallel training."""
    config = write_config(folder, data_settings(folder))
    tool = [sys.executable, ROOT / 'tools/pack_dataset.py', config, folder / 'copy']
    runs = [subprocess.Popen(tool, stdout=subprocess.PIPE) for _ in range(3)]
    said = [run.communicate()[0].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], said
    assert all('5 of 5 images' in text and 'packed=' in text for text in said)
    (copy,) = (folder / 'copy').iterdir()
    records = struct.iter_unpack('<II', (copy / 'done.bin').read_bytes())
    assert all(check != 0 for _, check in records)
    expected = b''
    for name, *size in json.loads((copy / 'index.json').read_text())['samples']:
        image = cv2.imread(str(folder / 'data/images' / name))
        label = cv2.imread(str(folder / 'data/labels' / name), cv2.IMREAD_UNCHANGED)
        assert list(label.shape) == size
        expected += image.tobytes() + label.tobytes()
    assert (copy / 'pixels.bin').read_bytes() == expected
