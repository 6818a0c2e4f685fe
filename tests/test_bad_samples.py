"""Dead workers and files that cannot be read: one message, or another sample."""

import json
import os
import re
import signal
import time

import cv2
import numpy as np
import pytest
from conftest import TOY, run, small_run
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from pairs import LOAD, PIPELINE, dataset, write_pairs
from torch.utils.data import DataLoader, Dataset, Subset

from mmseg_fastscnn.commands.entrance import mistake
from mmseg_fastscnn.datasets.bad_samples import json_lines
from mmseg_fastscnn.datasets.loading import reading

init_default_scope('mmseg_fastscnn')


@pytest.fixture
def folder(tmp_path):
    """Five pairs of which 1 has a damaged image, 2 unknown ids, 4 a smaller label."""
    write_pairs(tmp_path)
    image = tmp_path / 'data/images/1.png'
    image.write_bytes(image.read_bytes()[:-300])
    cv2.imwrite(f'{tmp_path}/data/labels/2.png', np.full((64, 200), 77, np.uint8))
    cv2.imwrite(f'{tmp_path}/data/labels/4.png', np.zeros((40, 49), np.uint8))
    return tmp_path


def allowed(folder, limit: int) -> dict:
    return dict(limit=limit, file=str(folder / 'run/skipped_samples.jsonl'))


@pytest.mark.parametrize('packed', [False, True])
def test_bad_samples_are_replaced_by_the_next(folder, packed):
    """In two processes of a run at once, and again in each epoch."""
    settings = dict(packed=str(folder / 'copy')) if packed else {}
    data = [
        dataset(folder, LOAD, skip_bad=allowed(folder, 3), **settings) for _ in range(2)
    ]
    good = dataset(folder, LOAD)
    for _ in range(2):
        for k, other in enumerate([0, 3, 3, 3, 0]):
            found = data[k % 2][k]
            np.testing.assert_array_equal(found['img'], good[other]['img'])
            assert found['sample_idx'] == other
    lines = (folder / 'run/skipped_samples.jsonl').read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [entry['image'][-5:] for entry in found] == ['1.png', '2.png', '4.png']
    assert found[0]['file'].endswith('images/1.png')
    assert found[1]['file'].endswith('labels/2.png')
    assert '[77] are not in label_map' in found[1]['reason']
    assert 'is 40x49' in found[2]['reason']


@pytest.mark.parametrize('packed', [False, True])
def test_unreadable_images_are_skipped_where_loading_says_so(folder, packed):
    cv2.imwrite(f'{folder}/data/labels/2.png', np.zeros((64, 200), np.uint8))
    settings = dict(packed=str(folder / 'copy')) if packed else {}
    steps = [dict(LOAD[0], ignore_empty=True), LOAD[1]]
    assert dataset(folder, steps, **settings)[1]['sample_idx'] == 2
    with pytest.raises(ValueError, match=r'1\.png: cannot be read'):
        dataset(folder, LOAD, **settings)[1]


def test_more_bad_samples_than_allowed_stop_the_run(folder):
    data = dataset(folder, LOAD, skip_bad=allowed(folder, 2))
    assert data[1]['sample_idx'] == 3  # without 1 and 2
    again = dataset(folder, LOAD, skip_bad=allowed(folder, 2))  # resumed
    assert again[2]['sample_idx'] == 3
    with pytest.raises(ValueError, match=r'More than 2 samples .*labels/4\.png'):
        again[4]


def test_a_line_that_a_full_disk_cut_is_passed_over(folder):
    listed = folder / 'run/skipped_samples.jsonl'
    listed.parent.mkdir()
    listed.write_text('{"image": "of a sample that was list')
    data = dataset(folder, LOAD, skip_bad=allowed(folder, 2))
    assert data[1]['sample_idx'] == 3
    assert [entry['image'][-5:] for entry in json_lines(listed)] == ['1.png', '2.png']
    assert len(listed.read_text().splitlines()) == 3


def test_what_the_pipeline_does_wrong_is_not_left_out(folder):
    data = dataset(folder, [PIPELINE[0], *PIPELINE[3:]], skip_bad=allowed(folder, 9))
    with pytest.raises(ValueError, match='has no label to crop with it'):
        data[0]
    assert not (folder / 'run').exists()


def error_of(data: Dataset) -> Exception:
    loader = DataLoader(data, num_workers=1, collate_fn=pseudo_collate)
    with pytest.raises(Exception) as raised:
        list(loader)
    return raised.value


def test_an_unreadable_file_is_one_message_from_a_worker_too(folder):
    data = dataset(folder, LOAD)
    said = mistake(error_of(Subset(data, [1])))
    assert re.fullmatch(r'\S+/images/1\.png: cannot be read .* Replace the .*', said)
    said = mistake(error_of(Subset(data, [2])))
    assert re.fullmatch(r'\S+/labels/2\.png: label ids \[77\] are not .*', said)
    os.remove(folder / 'data/labels/3.png')  # after the data set was opened
    said = mistake(error_of(Subset(data, [3])))
    assert re.fullmatch(r'\[Errno 2\] No such file.*/labels/3\.png.*', said)


class DiesAt3(Dataset):
    def __len__(self):
        return 9

    def __getitem__(self, index: int) -> int:
        with reading(f'/data/{index}.png'):
            if index == 3:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)
        return index


def test_a_dead_worker_is_one_message():
    said = mistake(error_of(DiesAt3()))
    assert re.match(
        r'A data loading worker died: process \d+ is killed by .*Kill', said
    )
    assert 'It was reading /data/3.png.' in said
    assert re.search(r'[\d.]+ of [\d.]+ GiB of shared memory \(/dev/shm\)', said)
    assert re.search(r'\d workers were running', said) and '\n' not in said


def test_training_goes_on_without_bad_samples(streets, tmp_path):
    root = tmp_path / 'data'
    for path in streets.rglob('*.png'):
        copy = root / path.relative_to(streets)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    bad = sorted(root.rglob('train/toy/*_leftImg8bit.png'))[2]
    bad.write_bytes(bad.read_bytes()[:-200])
    (tmp_path / 'run').mkdir()
    listed = tmp_path / 'run/skipped_samples.jsonl'
    listed.write_text('of an earlier run')
    printed = run(
        *['tools/train.py', TOY, '--data-root', root, '--work-dir', tmp_path / 'run'],
        *['--skip-bad', 1, '--seed', 0, *small_run(workers=1)],
    )
    assert '1 samples were left out, since they cannot be read' in printed
    (line,) = listed.read_text().splitlines()
    assert json.loads(line)['image'] == str(bad)
