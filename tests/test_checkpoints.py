"""When checkpoints are written, and what is left when the disk or the weights fail."""

import errno
import logging
import os
import re
from types import SimpleNamespace

import pytest
import torch
from conftest import TOY, run
from mmengine.logging import MessageHub, MMLogger
from test_record import trained_run

from mmseg_fastscnn import writing
from mmseg_fastscnn.checkpoint import read_checkpoint
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.engine import checkpoints, disk, runner
from mmseg_fastscnn.engine.checkpoints import CheckpointHook
from mmseg_fastscnn.engine.disk import WHOLE_FILES, WholeFileBackend
from mmseg_fastscnn.engine.log.files import write_lines_or_warn
from mmseg_fastscnn.engine.resume.run_state import gather_rank_states
from mmseg_fastscnn.engine.resume.work_dir import check_work_dir
from mmseg_fastscnn.engine.runner import SegRunner
from mmseg_fastscnn.registry import HOOKS, VISBACKENDS


class Training:
    """A run of one weight, for a hook: `SegRunner` without data and network."""

    max_epochs, max_iters, resumes, cfg = 1, 100, False, {}
    hooks, model = [], torch.nn.Linear(1, 1)
    optim_wrapper = SimpleNamespace(optimizer=torch.optim.SGD(model.parameters()))

    def __init__(self, work_dir, hook, start=0):
        self.work_dir, self.hook = str(work_dir), hook
        self.iter, self.epoch, self.weight = start, 0, float(start)
        self.message_hub = MessageHub(f'{work_dir} {id(self)}')
        if start:
            self.message_hub.update_info('keep_ckpt_ids', [start])
        self.logger = logging.getLogger('training')
        self.saves = []
        hook.before_train(self)

    def gather_rank_states(self) -> None:
        """Of one process there is nothing to gather."""

    def save_checkpoint(self, out_dir, name, backend_args, meta, **parts) -> None:
        assert backend_args == WHOLE_FILES
        hub = dict(self.message_hub.runtime_info)
        content = dict(
            state_dict=dict(w=torch.full((2,), self.weight)), meta=meta, hub=hub
        )
        self.hook.before_save_checkpoint(self, content)
        self.saves.append(name)
        draft = f'{out_dir}.bytes'
        torch.save(content, draft)
        with open(draft, 'rb') as file:
            WholeFileBackend().put(file.read(), f'{out_dir}/{name}')

    def train(self, iterations: int, scores: dict | None = None) -> None:
        """Take steps, and validate after some of them with the scores given."""
        for _ in range(iterations):
            self.weight += 1
            self.hook.after_train_iter(self, batch_idx=self.iter)
            self.iter += 1
            if self.iter in (scores or {}):
                self.hook.after_val_epoch(self, dict(mIoU=scores[self.iter]))

    def files(self) -> dict:
        folder = self.hook.folder(self)
        return {path.name: path.stat().st_ino for path in folder.iterdir()}

    def pointer(self) -> str:
        with open(f'{self.work_dir}/last_checkpoint') as file:
            return os.path.basename(file.read())


def hook(**options) -> CheckpointHook:
    options = {'by_epoch': False, 'interval': 2, 'max_keep_ckpts': 1} | options
    return HOOKS.build(dict(type='CheckpointHook', **options))


@pytest.mark.parametrize('links', [True, False])
def test_the_best_is_another_name_of_the_last(tmp_path, monkeypatch, links):
    if not links:
        refuse = OSError(errno.EPERM, 'Operation not permitted')
        monkeypatch.setattr(os, 'link', lambda *_: (_ for _ in ()).throw(refuse))
    run = Training(tmp_path, hook(save_best='mIoU'))
    run.train(4, {4: 50.0})
    files = run.files()
    best = 'best_mIoU_iter_4.pth'
    assert set(files) == {best, 'iter_4.pth', 'last_checkpoint'}
    assert (files[best] == files['iter_4.pth']) == links
    assert run.saves == ['iter_2.pth', 'iter_4.pth', 'iter_4.pth']  # the best once
    for name in (best, 'iter_4.pth'):
        content = read_checkpoint(tmp_path / name)
        assert content['state_dict']['w'].tolist() == [4, 4]
        assert content['hub']['best_score'] == 50
        assert content['meta'] == dict(epoch=0, iter=4)
    run.train(8, {8: 40.0, 12: 60.0})
    files = set(run.files())
    assert files == {'best_mIoU_iter_12.pth', 'iter_12.pth', 'last_checkpoint'}


def test_something_to_go_on_from_is_there_at_every_step(tmp_path, monkeypatch):
    """Before each change of the disk, as a kill there would leave it."""
    run = Training(tmp_path, hook(save_best='mIoU'))
    run.train(2)
    seen = []

    def looking(name, function):
        def look(*args, **kwargs):
            last = read_checkpoint(tmp_path / run.pointer())['meta']['iter']
            seen.append((name, last))
            return function(*args, **kwargs)

        return look

    for name in ('open', 'replace', 'link', 'unlink', 'fsync'):
        monkeypatch.setattr(os, name, looking(name, getattr(os, name)))
    run.train(4, {4: 1.0, 6: 2.0})
    monkeypatch.undo()
    assert {name for name, _ in seen} == {'open', 'replace', 'link', 'unlink', 'fsync'}
    assert [last for _, last in seen] == sorted(last for _, last in seen)
    assert run.pointer() == 'iter_6.pth'


def test_weights_that_are_not_finite_replace_nothing(tmp_path, caplog):
    run = Training(tmp_path, hook(save_best='mIoU'))
    run.train(4, {4: 50.0})
    before = run.files()
    run.weight = float('nan')
    run.train(4, {8: 60.0})
    assert run.files() == before and run.pointer() == 'iter_4.pth'
    assert run.message_hub.get_info('keep_ckpt_ids') == [4]
    assert run.message_hub.get_info('best_score') == 50
    assert 'iter_6.pth is not written: 1 tensors of the weights' in caplog.text
    assert 'last checkpoint of finite weights is iter_4.pth' in caplog.text


def test_training_waits_for_a_disk_that_refuses(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(disk, 'RETRY', 0.01)
    run = Training(tmp_path / 'run', hook(out_dir=str(tmp_path / 'disk')))
    run.train(2)
    fsync, failures = os.fsync, iter(range(3))

    def full(handle) -> None:
        if next(failures, None) is not None:
            raise OSError(errno.ENOSPC, 'No space left on device')
        fsync(handle)

    monkeypatch.setattr(writing.os, 'fsync', full)
    run.train(2)
    lines = [line for line in caplog.messages if 'No space left on device' in line]
    assert len(lines) == 3 and 'disk/run/iter_4.pth' in lines[0]
    assert 'bytes are needed' in lines[0] and 'tries again' in lines[0]
    assert list(run.files()) == ['iter_4.pth'] and run.pointer() == 'iter_4.pth'
    (tmp_path / 'disk/run').rename(tmp_path / 'disk/unplugged')
    run.hook.retry_minutes = 0.001
    with pytest.raises(FileNotFoundError, match=r'checkpoints is gone.*6\.pth'):
        run.train(2)
    assert run.pointer() == 'iter_4.pth' and not (tmp_path / 'disk/run').exists()


def test_a_file_written_again_asks_no_other_process(streets, tmp_path, monkeypatch):
    """The others wait in the next collective call by then."""
    gathered, failures = [], iter([OSError(errno.ENOSPC, 'No space left on device')])

    def gather(runner) -> list:
        gathered.append(runner.iter)
        return gather_rank_states(runner)

    def full_at_first(*paths) -> None:
        if error := next(failures, None):
            raise error
        writing.second_name(*paths)

    monkeypatch.setattr(disk, 'RETRY', 0.01)
    monkeypatch.setattr(runner, 'gather_rank_states', gather)
    monkeypatch.setattr(checkpoints, 'second_name', full_at_first)
    trained_run(streets, tmp_path, **{'default_hooks.checkpoint.save_best': 'mIoU'})
    assert next(failures, None) is None and gathered == [1, 2, 3, 4]
    assert len(read_checkpoint(tmp_path / 'iter_4.pth')['ranks']) == 1


def test_scores_of_a_validation_after_a_resume_are_written(tmp_path):
    """As of a run that was killed before its validation ended."""
    Training(tmp_path, hook()).train(4)
    assert read_checkpoint(tmp_path / 'iter_4.pth')['hub']['keep_ckpt_ids'] == [2, 4]

    class Resumed(Training):
        resumes, cfg = True, dict(load_from=str(tmp_path / 'iter_4.pth'))

    run = Resumed(tmp_path, hook(save_best='mIoU'), start=4)
    run.hook.after_val_epoch(run, dict(mIoU=50.0))
    files = run.files()
    assert files['iter_4.pth'] == files['best_mIoU_iter_4.pth']
    assert read_checkpoint(tmp_path / 'iter_4.pth')['hub']['best_score'] == 50


def test_no_run_writes_over_its_start_or_over_a_users_config(tmp_path):
    config = load_config(TOY, work_dir=str(tmp_path / 'run'))
    config.default_hooks.checkpoint.out_dir = str(tmp_path / 'disk')
    config.load_from = str(tmp_path / 'disk/run/iter_2.pth')
    with pytest.raises(
        ValueError, match=r'iter_2\.pth lies in the work dir, or in out'
    ):
        check_work_dir(config)
    run = SimpleNamespace(cfg=config, rank=0, trains=True, work_dir=tmp_path)
    run.log_dir = tmp_path / 'log'
    name = 'fast_scnn_toy_streets.py'
    for mine in (True, False):
        if mine:
            (tmp_path / name).write_text('mine = True')
        SegRunner.dump_config(run)
        assert (run.log_dir / name).exists() == mine
        (run.log_dir / name).unlink(missing_ok=True)
        assert ((tmp_path / name).read_text() == 'mine = True') == mine
        (tmp_path / name).unlink()


def test_only_drafts_of_killed_processes_are_removed(tmp_path):
    alive = os.getppid()
    keep = [f'.iter_2.pth.{alive}.part', '.notes.txt.999999999.part', 'iter_7.part']
    gone = ['iter_4.pth', 'last_checkpoint', 'best_mIoU_iter_4.pth']
    for name in keep + [f'.{name}.999999999.part' for name in gone]:
        (tmp_path / name).touch()
    assert set(Training(tmp_path, hook()).files()) == set(keep)


def test_between_epochs_files_are_named_by_iterations(tmp_path):
    run = Training(tmp_path, hook(by_epoch=True, interval=1, save_last=False))
    run.train(3)
    run.hook.save(run)  # on a signal
    assert run.pointer() == 'iter_4.pth'
    run.hook.save(run)
    assert run.saves == ['iter_4.pth']  # is written already
    run.hook.after_train_epoch(run)
    assert set(run.files()) == {'epoch_1.pth', 'last_checkpoint'}
    assert run.message_hub.get_info('keep_ckpt_ids') == ['iter_4.pth', 1]


@pytest.mark.parametrize(
    'save_best, score, better',
    [('auto', 'mIoU', True), ('mFscore', 'mFscore', True), ('loss', 'loss', False)],
)
def test_which_score_is_better(save_best, score, better, tmp_path):
    """Of 1 and then 2, the second is kept where a higher score is better."""
    run = Training(tmp_path, hook(save_best=save_best))
    for run.iter in (1, 2):
        run.hook.after_val_epoch(run, {score: run.iter, 'aAcc': 0.0})
    names = [f'best_{score}_iter_1.pth', f'best_{score}_iter_2.pth']
    assert run.saves == names[: 1 + better]


def test_rules_are_checked():
    for rule in ('higher', ['greater', 'less']):
        with pytest.raises(ValueError, match="must be 'greater' or 'less', or a list"):
            CheckpointHook(save_best='mIoU', rule=rule)


def test_logs_on_a_full_disk_end_no_training(tmp_path, capsys, caplog):
    MMLogger.get_current_instance().addHandler(caplog.handler)
    handler = logging.FileHandler('/dev/full')
    write_lines_or_warn(handler)
    for number in range(3):
        handler.emit(logging.makeLogRecord(dict(msg=f'line {number}')))
    (tmp_path / 'file').touch()
    backend = VISBACKENDS.build(
        dict(type='LocalVisBackend', save_dir=str(tmp_path / 'file/vis_data'))
    )
    for step in range(3):
        backend.add_scalars(dict(loss=1.0), step)
    MMLogger.get_current_instance().removeHandler(caplog.handler)
    assert 'Traceback' not in capsys.readouterr().err
    said = [line for line in caplog.messages if 'cannot be written' in line]
    assert len(said) == 2
    assert 'No space left' in said[0] and 'Not a directory' in said[1]


def test_kills_on_a_slow_disk_lose_nothing():
    """Two for each number of kept files; `benchmarks/kill.py` is for a hundred."""
    printed = run(
        'benchmarks/kill.py', '--disk', 'slow', '--kills', 2, '--longest', 1.5
    )
    assert re.findall(r'^slow (\d) 2 0 0 0 ', printed, re.M) == ['1', '3']
