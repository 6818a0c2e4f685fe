"""Which checkpoint a run goes on from, and that two runs are not mixed."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from conftest import ROOT, TOY, run
from mmengine.config import Config

from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.engine.checkpoints import checkpoint_folder
from mmseg_fastscnn.engine.resume import work_dir as place
from mmseg_fastscnn.engine.resume.work_dir import (
    RemoveEarlierRun,
    alone_in,
    check_work_dir,
    checkpoint_to_resume,
    last_checkpoint,
)
from mmseg_fastscnn.engine.runner import SegRunner


def write(path: Path, iterations: int, **parts) -> Path:
    path.parent.mkdir(exist_ok=True)
    state = dict(state_dict=dict(weight=torch.zeros(1)), optimizer={}, **parts)
    torch.save(dict(state, meta=dict(iter=iterations, epoch=0)), path)
    return path


@pytest.fixture
def work_dir(tmp_path) -> Path:
    """A folder in which names and dates of files tell nothing of how far they are."""
    folder = tmp_path / 'run'
    write(folder / 'iter_9.pth', 1)
    write(folder / 'iter_5.pth', 5)
    write(folder / 'iter_6.pth', 4)
    (folder / 'iter_8.pth').write_bytes((folder / 'iter_5.pth').read_bytes()[:900])
    torch.save(dict(state_dict=dict(a=torch.zeros(1))), folder / 'best_mIoU_iter_7.pth')
    torch.save(dict(state_dict=dict(a=torch.zeros(1))), folder / 'iter_7.pth')
    return folder


def test_two_runs_do_not_share_a_work_dir(streets, tmp_path, monkeypatch):
    config = Config(dict(work_dir=str(tmp_path / 'run')))
    monkeypatch.setattr(place, 'WAIT', 0)
    with alone_in(config):
        with pytest.raises(ValueError, match=r'Another run works in .*run\.'):
            alone_in(config).__enter__()
        options = [TOY, '--work-dir', tmp_path / 'run', '--data-root', streets]
        assert 'Another run works in' in run('tools/train.py', *options, ok=False)
    with alone_in(config):
        assert not list(Path(config.work_dir).iterdir())


def resumed(work_dir: Path, **settings) -> str | None:
    path = checkpoint_to_resume(Config(dict(work_dir=str(work_dir), **settings)))
    return path and path.name


@pytest.mark.parametrize('place', ['', '/moved from/here/', '/'])
def test_the_pointer_is_followed_also_in_a_moved_folder(work_dir, place, capsys):
    (work_dir / 'last_checkpoint').write_text(f'{place}iter_6.pth\n')
    assert resumed(work_dir) == 'iter_6.pth'
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize(
    'pointer, said',
    [
        (None, r'last_checkpoint is missing, or names no checkpoint'),
        (b'', r'last_checkpoint is missing, or names no checkpoint'),
        (b'\n\n', r'last_checkpoint is missing, or names no checkpoint'),
        (b'a\0b', r'last_checkpoint is missing, or names no checkpoint'),
        (b'/', r'last_checkpoint is missing, or names no checkpoint'),
        (b'\xff\xfe\x00\x81', r'last_checkpoint is missing, or names no checkpoint'),
        (b'/somewhere/iter_3.pth', r'/somewhere/iter_3\.pth does not exist'),
        (b'x' * 5000, r'x does not exist|File name too long'),
        (b'iter_8.pth', r'iter_8\.pth is cut short'),
        (b'iter_7.pth', r'iter_7\.pth holds weights but no state of a run'),
    ],
)
def test_without_a_good_pointer_the_newest_is_found(work_dir, pointer, said, capsys):
    if pointer is not None:
        (work_dir / 'last_checkpoint').write_bytes(pointer)
    assert resumed(work_dir) == 'iter_5.pth'
    printed = capsys.readouterr().out
    assert re.search(rf'^Passed over: .*({said})', printed, re.M), printed
    for name in ('iter_7.pth holds weights but', 'iter_8.pth is cut short'):
        assert printed.count(name) == 1
    assert 'best_mIoU' not in printed
    assert f'Going on from {work_dir}/iter_5.pth, after 5 iterations.' in printed


def test_one_of_several_processes_says_what_is_passed_over(
    work_dir, monkeypatch, capsys
):
    for rank in '10':
        monkeypatch.setenv('RANK', rank)
        assert resumed(work_dir, launcher='pytorch') == 'iter_5.pth'
        assert ('Passed over' in capsys.readouterr().out) == (rank == '0')


def test_where_nothing_can_be_resumed(work_dir, tmp_path):
    assert resumed(tmp_path) is None
    for path in work_dir.glob('iter_[569].pth'):
        path.unlink()
    with pytest.raises(
        ValueError, match=r'(?s)No checkpoint .*iter_8\.pth is cut.*--ov'
    ):
        resumed(work_dir)


def test_checkpoints_may_lie_elsewhere(work_dir, tmp_path):
    """`out_dir` of CheckpointHook, in a folder named as the work dir."""
    hooks = dict(checkpoint=dict(out_dir=str(tmp_path / 'disk')))
    config = Config(dict(work_dir=str(tmp_path / 'x' / 'run'), default_hooks=hooks))
    assert checkpoint_to_resume(config) is None
    shutil.move(work_dir, tmp_path / 'disk' / 'run')
    assert checkpoint_to_resume(config) == tmp_path / 'disk' / 'run' / 'iter_5.pth'
    with pytest.raises(ValueError, match='There are 6 checkpoints of an earlier run'):
        check_work_dir(config)
    # a config may name one folder in two ways: the runner knows only the absolute one
    for out_dir in (None, 'runs/a', str(Path('runs/a').absolute())):
        assert checkpoint_folder('runs/a', out_dir) == Path('runs/a')
    assert checkpoint_folder('runs/a', 'disk') == Path('disk/a')


def test_two_runs_are_not_mixed_unasked(work_dir, tmp_path):
    config = Config(dict(work_dir=str(work_dir)))
    with pytest.raises(ValueError, match=r'6 checkpoints .*--resume.*--overwrite'):
        check_work_dir(config)
    check_work_dir(config, overwrite=True)
    config.load_from = str(work_dir / 'iter_5.pth')
    with pytest.raises(ValueError, match=r'iter_5\.pth lies in the work dir'):
        check_work_dir(config, overwrite=True)
    config.load_from = str(work_dir / 'released.pth')  # a name that no run writes
    check_work_dir(config, overwrite=True)
    config.resume = True
    check_work_dir(config)
    check_work_dir(Config(dict(work_dir=str(tmp_path / 'new'))))


def test_a_run_is_begun_anew_when_told_so(streets, work_dir):
    """But what fails before the first step has removed nothing."""
    (work_dir / 'last_checkpoint').write_text('iter_5.pth')
    said = run('tools/train.py', TOY, '--work-dir', work_dir, ok=False)
    assert '--overwrite' in said and 'There are 6 checkpoints' in said
    before = {path: path.read_bytes() for path in work_dir.iterdir()}
    options = {
        'train_dataloader.num_workers': 0,
        'val_dataloader.num_workers': 0,
        'train_cfg.max_iters': 1,
    }
    for batch, fails in ((1, True), (2, False)):
        options['train_dataloader.batch_size'] = batch
        config = load_config(ROOT / TOY, options, str(streets), str(work_dir))
        runner = SegRunner.from_cfg(config)
        runner.register_hook(RemoveEarlierRun())
        if fails:
            with pytest.raises(ValueError, match='has one image'):
                runner.train()
            assert all(path.read_bytes() == before[path] for path in before)
    runner.train()
    left = {path.name for path in work_dir.glob('*.pth')}
    assert left == {'iter_1.pth', 'best_mIoU_iter_1.pth'}
    assert last_checkpoint(work_dir) == work_dir / 'iter_1.pth'
