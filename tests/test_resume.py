"""What a run takes over from a checkpoint, and what a checkpoint cannot make it do."""

import pickle
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT, TOY, run, small_run
from mmengine.logging import HistoryBuffer
from test_startup import Enough, StopBeforeTheFirstStep
from torch.utils.data import DataLoader

from mmseg_fastscnn.checkpoint import read_checkpoint
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.engine.loops import EpochBasedTrainLoop, IterBasedTrainLoop
from mmseg_fastscnn.engine.resume.parts import kept_checkpoints, resumable
from mmseg_fastscnn.engine.runner import SegRunner


def resume(streets, work_dir, checkpoint, *options, ok=True, iterations=4) -> str:
    return run(
        'tools/train.py',
        *[TOY, '--work-dir', work_dir, '--data-root', streets, *options],
        *['--resume', checkpoint, *small_run(iterations)],
        ok=ok,
    )


def test_resuming_continues_the_run(streets, trained, tmp_path):
    work_dir, printed = trained
    again = resume(streets, tmp_path, work_dir / 'iter_2.pth', '--seed', 7)
    assert 'goes on with its own seed 1, not with 7' in again
    # 2 of 4 iterations remain: optimizer, schedule and order of images go on
    assert re.findall(r'Iter\(train\) \[(\d)/4\]', again) == ['3', '4']
    assert re.findall(r'lr: (\S+)', again) == re.findall(r'lr: (\S+)', printed)[2:]
    full = read_checkpoint(work_dir / 'iter_4.pth')
    resumed = read_checkpoint(tmp_path / 'iter_4.pth')
    assert full['meta']['iter'] == resumed['meta']['iter'] == 4
    for checkpoint in (full, resumed):
        assert {
            s['step'].item() for s in checkpoint['optimizer']['state'].values()
        } == {4}


def test_resume_by_itself_finds_the_last_checkpoint(streets, trained, tmp_path):
    options = ['--data-root', streets, '--resume', *small_run()]
    again = run('tools/train.py', TOY, '--work-dir', trained[0], *options)
    assert '4 iterations from 4' in again
    fresh = run('tools/train.py', TOY, '--work-dir', tmp_path, *options)
    assert 'starting at iteration 0' in fresh and '4 iterations from 0' in fresh


def test_a_resumed_run_has_the_seed_and_learning_rate_of_its_checkpoint(
    streets, trained, tmp_path
):
    """Without `--seed`, and with another batch size."""
    options = {'train_dataloader.batch_size': 3, 'train_dataloader.num_workers': 0}
    config = load_config(TOY, options, str(streets), str(tmp_path))
    config.resume, config.load_from = True, str(trained[0] / 'iter_2.pth')
    runner = SegRunner.from_cfg(config)
    assert runner.seed == 1
    runner.register_hook(StopBeforeTheFirstStep())
    with pytest.raises(Enough):
        runner.train()
    sampler = runner.train_dataloader.sampler
    assert (sampler.seed, runner.train_loop.images) == (1, 2 * 2)
    saved = read_checkpoint(config.load_from)['optimizer']['param_groups'][0]['lr']
    assert runner.optim_wrapper.get_lr()['lr'] == [saved]
    (log,) = tmp_path.glob('*/*.log')
    assert 'learning rate is scaled' not in log.read_text()
    assert 'had 2 images per step, this one has 3; the learning rate goes' in (
        log.read_text()
    )


def changed(checkpoint, path, **parts):
    """Write a checkpoint with other parts, each named by its keys: `meta__cfg`."""
    content = torch.load(checkpoint, weights_only=True)
    for dotted, value in parts.items():
        *way, last = dotted.split('__')
        place = content
        for key in way:
            place = place[key]
        place[last] = value
    torch.save(content, path)
    return path


def test_a_checkpoint_runs_nothing_and_names_no_file_to_remove(
    streets, trained, tmp_path
):
    precious, hacked = tmp_path / 'precious', tmp_path / 'hacked'
    (precious / 'best_mIoU.pth').mkdir(parents=True)
    (precious / 'best_mIoU.pth/thesis.txt').write_text('years of work')
    (precious / 'x.pth').write_bytes(b'weights')
    work_dir = tmp_path / 'run'
    work_dir.mkdir()
    code = f'import os\nos.mkdir({str(hacked)!r})'
    schedulers = torch.load(trained[0] / 'iter_2.pth')['param_schedulers']
    evil = changed(
        trained[0] / 'iter_2.pth',
        work_dir / 'iter_2.pth',  # of the work dir itself, so that its names count
        meta__config=code,
        meta__cfg=code,
        message_hub__runtime_info__best_ckpt=str(precious / 'best_mIoU.pth'),
        message_hub__runtime_info__best_score=-1.0,
        message_hub__runtime_info__keep_ckpt_ids=['/../../precious/x', 1, 2, 3, 4, 5],
        param_schedulers=[dict(state, step='not callable') for state in schedulers],
    )
    printed = resume(streets, work_dir, evil)
    assert re.findall(r'Iter\(train\) \[(\d)/4\]', printed) == ['3', '4']
    assert not hacked.exists()
    assert (precious / 'best_mIoU.pth/thesis.txt').exists()
    assert (precious / 'x.pth').exists()
    assert [path.name for path in work_dir.glob('best*')] == ['best_mIoU_iter_4.pth']


def test_another_work_dir_leaves_the_first_ones_files(streets, trained, tmp_path):
    before = {p.name: p.stat().st_mtime_ns for p in trained[0].glob('*.pth')}
    resume(streets, tmp_path, trained[0] / 'iter_4.pth', iterations=6)
    assert (tmp_path / 'best_mIoU_iter_6.pth').exists()  # the best of this folder
    assert {p.name: p.stat().st_mtime_ns for p in trained[0].glob('*.pth')} == before


def test_the_best_so_far_goes_on_in_its_own_folder(trained, tmp_path):
    path, model = trained[0] / 'iter_4.pth', torch.nn.Module()
    checkpoint = dict(read_checkpoint(path), param_schedulers=[])
    hub = resumable(checkpoint, path, trained[0], [], model)['message_hub']
    info = hub['runtime_info']
    assert info['best_ckpt'] == str(trained[0] / 'best_mIoU_iter_4.pth')
    assert 0 <= info['best_score'] < 100 and info['keep_ckpt_ids'] == [2, 4]
    named = dict(info, best_ckpt='/etc/best_mIoU_iter_4.pth')  # where it was moved from
    assert kept_checkpoints(named, trained[0]) == info
    elsewhere = resumable(checkpoint, path, tmp_path, [], model)['message_hub']
    assert elsewhere['runtime_info'] == {}
    assert len(elsewhere['log_scalars']['train/loss'].data[0]) == 4
    with pytest.raises(ValueError, match='0 parameter schedulers, the config has 1'):
        resumable(checkpoint, path, tmp_path, [SimpleNamespace(state_dict=dict)], model)


@pytest.mark.parametrize(
    'meta, ranks, said',
    [
        (dict(iter=-1), [], 'meta has iter=-1'),
        (dict(epoch=None), [], 'meta has epoch=None'),
        (dict(images=2.5), [], 'meta has images=2.5'),
        (dict(validated='2'), [], "meta has validated='2'"),
        (dict(early_stopping=dict(wait_count=1)), [], 'meta has early_stopping='),
        (dict(seed=True), [], 'meta has seed=True'),
        ({}, {}, r'of each process \(ranks\) is damaged'),
        ({}, [dict(buffers={})], r'of each process \(ranks\) is damaged'),
        ({}, [dict(buffers={}, gradients=dict(weight=torch.zeros(2)))], 'ranks'),
        ({}, [dict(buffers=dict(weight=torch.zeros(3)), gradients={})], 'ranks'),
    ],
)
def test_a_state_that_no_run_writes_is_refused(meta, ranks, said):
    model = torch.nn.BatchNorm1d(3)
    good = dict(buffers=dict(running_var=torch.ones(3)), gradients={})
    whole = dict(epoch=0, iter=2, seed=1, images=4, validated=0, cfg='import os')
    state = dict(state_dict={}, optimizer={}, meta=whole, ranks=[good])
    result = resumable(state, 'a.pth', ROOT, [], model)
    assert result['ranks'] == [good] and 'cfg' not in result['meta']
    state = dict(state, meta={**whole, **meta}, ranks=ranks)
    with pytest.raises(ValueError, match=rf'a\.pth: .*{said}'):
        resumable(state, 'a.pth', ROOT, [], model)


def test_where_a_file_of_an_earlier_version_goes_on():
    """It has the numbers of epochs and iterations alone; 7 images in batches of 2."""
    loader = DataLoader(range(7), 2, drop_last=True)
    loop = SimpleNamespace(dataloader=loader, images_per_iter=2)
    assert IterBasedTrainLoop.images_before(loop, 0, 7) == 14
    assert EpochBasedTrainLoop.images_before(loop, 2, 6) == 14
    assert EpochBasedTrainLoop.images_before(loop, 2, 7) == 16


class Pointers:
    """A pickle that has numpy make an array of pointers, whose addresses it chooses."""

    def __reduce__(self):
        return np.ndarray, ((2,), 'O', b'\x41' * 16)


def legacy(content: object) -> bytes:
    """A file of torch before 1.6, in a few bytes."""
    parts = [0x1950A86A20F9469CFC6C, 1001, {}, content, []]
    return b''.join(pickle.dumps(part, protocol=2) for part in parts)


def test_an_array_of_pointers_is_not_made(trained, tmp_path):
    history = HistoryBuffer([1.0], [1])
    history._log_history = Pointers()
    bare, inside = tmp_path / 'bare.pth', tmp_path / 'inside.pth'
    bare.write_bytes(legacy(Pointers()))
    changed(
        trained[0] / 'iter_2.pth', inside, message_hub__log_scalars={'loss': history}
    )
    for path in (bare, inside):
        # in a process of its own, which used to end with a segmentation fault
        said = run('tools/convert_checkpoint.py', path, tmp_path / 'out.pth', ok=False)
        assert re.search(rf'{path.name} is (refused|no PyTorch checkpoint)', said), said
        assert not (tmp_path / 'out.pth').exists()


def test_arrays_of_other_things_than_numbers_are_refused(tmp_path):
    for values in (np.array(['a'], object), np.array(['a']), np.zeros(1, 'f4,i8')):
        history = HistoryBuffer([1.0], [1])
        history._log_history = values
        hub = dict(log_scalars={'loss': history}, runtime_info={}, resumed_keys={})
        torch.save(dict(state_dict={}, message_hub=hub), tmp_path / 'file.pth')
        with pytest.raises(ValueError, match=r'file\.pth is (refused|no PyTorch)'):
            read_checkpoint(tmp_path / 'file.pth')
