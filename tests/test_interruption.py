"""A run that gets a signal writes a checkpoint, says how to go on, and ends."""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from conftest import CPU, ROOT, TOY
from torch import distributed

from mmseg_fastscnn.checkpoint import read_checkpoint
from mmseg_fastscnn.engine.checkpoints import CheckpointHook
from mmseg_fastscnn.engine.data_loaders import begin_worker
from mmseg_fastscnn.engine.interruption import (
    SIGNALS,
    InterruptionHook,
    Stopped,
    stop_on_signals,
)
from mmseg_fastscnn.engine.resume.work_dir import last_checkpoint
from mmseg_fastscnn.stopping import StopSignals

EPOCHS = f"""
_base_ = {str(ROOT / TOY)!r}
train_cfg = dict(
    _delete_=True, type='EpochBasedTrainLoop', max_epochs=1000, val_interval=1000
)
train_dataloader = dict(
    batch_size=2, num_workers=2, sampler=dict(_delete_=True, type='DefaultSampler')
)
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(by_epoch=True, interval=1000)
)
"""


def test_a_signal_writes_a_checkpoint_amid_an_epoch(streets, tmp_path):
    """Sent to all processes of a run with workers, as by Ctrl-C, Slurm or torchrun."""
    config = tmp_path / 'epochs.py'
    config.write_text(EPOCHS)
    words = [sys.executable, 'tools/train.py', config, '--work-dir', tmp_path / 'run']
    process = subprocess.Popen(
        [str(word) for word in [*words, '--data-root', streets]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **CPU},
        start_new_session=True,
    )
    printed = ''
    for line in process.stdout:
        printed += line
        if re.search(r'\[ *4/3000\]', line):  # an epoch has three iterations
            os.killpg(process.pid, signal.SIGTERM)
            break
    printed += process.communicate()[0]
    assert process.returncode == 128 + signal.SIGTERM, printed
    assert 'Traceback' not in printed and 'killed by signal' not in printed
    said = re.search(
        r'Stopped by SIGTERM after iteration (\d+) of 3000; the last checkpoint is '
        r'(.+)\. The same command with --work-dir (.+) --resume goes on',
        printed,
    )
    iteration, path, folder = said.groups()
    assert folder == str(tmp_path / 'run')
    assert path == str(last_checkpoint(folder)) == f'{folder}/iter_{iteration}.pth'
    meta = read_checkpoint(path)['meta']
    assert (
        meta['iter'] == int(iteration) >= 4 and meta['epoch'] == (meta['iter'] - 1) // 3
    )


class Saving(CheckpointHook):
    """Say what is saved, and write nothing."""

    def __init__(self):
        super().__init__()
        self.saved = []

    def save(self, runner) -> None:
        self.saved.append(runner.iter)
        self.written = time.monotonic()


def rank(number: int, folder) -> None:
    """One of two processes that train; only the second gets a signal, after a while."""
    distributed.init_process_group(
        'gloo', f'file://{folder}/store', rank=number, world_size=2
    )
    saving = Saving()
    runner = SimpleNamespace(
        **dict(hooks=[saving], iter=0, max_iters=30, work_dir=str(folder)),
        **dict(logger=logging.getLogger('rank'), register_hook=lambda hook: None),
    )
    hook = InterruptionHook(StopSignals(SIGNALS), save_every=1)
    hook.before_train(runner)
    try:
        for runner.iter in range(30):
            distributed.all_reduce(torch.ones(1))  # of gradients
            time.sleep(0.02 * (runner.iter % 2 == number))  # each is ahead at times
            if number == 1 and runner.iter == 5:
                saving.written -= 60  # it is time, by the clock of this process
            if number == 1 and runner.iter == 11:
                hook.stop.number = signal.SIGUSR1
            hook.after_train_iter(runner, runner.iter)
    except Stopped as stopped:
        saved = [*saving.saved, stopped.code]
        (folder / str(number)).write_text(str(saved))


def test_all_processes_stop_in_the_same_iteration(tmp_path):
    children = []
    for number in range(2):
        children.append(os.fork())
        if not children[-1]:
            try:
                rank(number, tmp_path)
            finally:
                os._exit(0)
    for child in children:
        os.waitpid(child, 0)
    for number in range(2):
        assert (tmp_path / str(number)).read_text() == str([6, 12, 128 + 10])


@pytest.fixture
def ctrl_c():
    """SIGINT as a terminal has it: a shell's `&` has the tests ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_signal_ends_a_process_at_once(ctrl_c):
    runner = SimpleNamespace(register_hook=lambda hook: None)
    former = [signal.getsignal(number) for number in SIGNALS]
    child = os.fork()
    if not child:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        with stop_on_signals(runner):
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
    with pytest.raises(KeyError), stop_on_signals(runner):
        assert signal.getsignal(signal.SIGINT).__name__ == '_note'
        raise KeyError
    assert [signal.getsignal(number) for number in SIGNALS] == former


def test_only_its_parent_ends_a_worker():
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        begin_worker(lambda worker: os.write(writer, b'begun'), 0)
        time.sleep(60)
        os._exit(1)
    os.read(reader, 5)
    for name in ('TERM', 'INT', 'HUP', 'USR1'):
        subprocess.run(['kill', f'-{name}', str(child)], check=True)
    ended = 0
    while not ended:
        os.kill(child, signal.SIGTERM)
        time.sleep(0.05)
        ended, status = os.waitpid(child, os.WNOHANG)
    assert status == 0
