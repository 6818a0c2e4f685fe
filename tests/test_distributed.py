"""Several processes train like one, start as one, and say so when one fails."""

import os
import re
import signal
import subprocess
import sys

import pytest
import torch
from conftest import CPU, ROOT, TOY, free_port
from formulas import fill, labelled_samples, model_config
from mmengine.registry import init_default_scope
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmseg_fastscnn.checkpoint import read_checkpoint
from mmseg_fastscnn.commands import entrance
from mmseg_fastscnn.engine import missing_ranks
from mmseg_fastscnn.engine.agreement import check_same
from mmseg_fastscnn.engine.processes import (
    all_processes,
    data_parallel_settings,
    join_on_cpus,
)
from mmseg_fastscnn.registry import MODELS

init_default_scope('mmseg_fastscnn')
GROUPS = dict(type='GN', num_groups=4)
WEIGHT = [0.5, 2.0, 1.0, 3.0]
CE = dict(type='CrossEntropyLoss')
# What is averaged over all pixels or over images is the same for any division.
EQUAL = {
    'softmax': CE,
    'sigmoid': dict(CE, use_sigmoid=True),
    'sigmoid, class weights': dict(CE, use_sigmoid=True, class_weight=WEIGHT),
    'focal': dict(type='FocalLoss'),
    'dice': dict(type='DiceLoss'),
    'tversky': dict(type='TverskyLoss', class_weight=WEIGHT),
    'lovasz per image': dict(type='LovaszLoss', per_image=True),
}
# Each process divides by a number of its own, or chooses its own hard pixels.
UNEQUAL = {
    'labelled pixels': dict(CE, avg_non_ignore=True),
    'class weights': dict(CE, class_weight=WEIGHT),
    'ohem': dict(type='OhemCrossEntropy', thres=0.3, min_kept=50),
    'lovasz': dict(type='LovaszLoss'),
    'sampler': dict(CE, sampler=True),
}
# Small images, no validation; each process writes down its number.
CONFIG = """
import os
_base_ = ['{base}']
with open('{folder}/process_' + os.environ['RANK'], 'w') as file:
    file.write(str(os.getpid()))
del file
plain = [dict(type=name) for name in
         ('LoadImageFromFile', 'LoadAnnotations', 'PackSegInputs')]
model = dict(auxiliary_head=None, data_preprocessor=dict(size=(64, 128)))
train_dataloader = dict(batch_size=2, num_workers=0, dataset=dict(pipeline=plain))
train_cfg = dict(max_iters={iterations})
val_cfg = val_dataloader = val_evaluator = None
default_hooks = dict(checkpoint=dict(interval=2), logger=dict(interval=1))
param_scheduler = []
"""


class Losses(nn.Module):
    """The sum of a model's losses, so that it can be wrapped."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, *batch) -> torch.Tensor:
        losses = self.model.loss(*batch)
        return sum(value for name, value in losses.items() if 'loss' in name)


def head(loss: dict) -> Losses:
    """A small head with a loss; everywhere with the same weights."""
    torch.manual_seed(1)
    loss = dict(loss)
    sampler = loss.pop('sampler', None) and dict(type='OHEMPixelSampler', min_kept=30)
    options = dict(num_classes=4, num_convs=1, dropout_ratio=0.0, norm_cfg=GROUPS)
    config = dict(type='FCNHead', in_channels=8, channels=8, loss_decode=loss)
    return Losses(MODELS.build(dict(config, sampler=sampler, **options)))


def network() -> Losses:
    config = model_config(num_classes=4, norm_cfg=GROUPS)
    for part in (config.decode_head, *config.auxiliary_head):
        part.loss_decode.avg_non_ignore = False
    return Losses(fill(MODELS.build(config)))


def batches() -> dict[str, tuple]:
    """Four samples; the first half has far fewer labelled pixels than the second."""
    torch.manual_seed(0)
    label = torch.randint(0, 4, (4, 64, 64))
    label[:2, 5:] = 255
    features, images = torch.randn(4, 8, 8, 8), torch.randn(4, 3, 64, 64)
    return {'head': (features, label), 'network': (images, label)}


def gradients(
    model: Losses, kind: str, samples: slice, wrapped: dict | None = None
) -> dict:
    """Gradients of some of the samples; if wrapped, averaged over the processes.

    `wrapped` are arguments of torch's wrapper.
    """
    data, label = (part[samples] for part in batches()[kind])
    batch = ([data], label) if kind == 'head' else (data, labelled_samples(label))
    called = model  # kept to the end
    if wrapped is not None:
        called = DistributedDataParallel(model, **wrapped)
    called(*batch).backward()
    return {name: p.grad for name, p in model.named_parameters()}


def all_gradients(rank: int) -> dict[str, dict]:
    """Gradients of each loss and of the network, by two processes with a half each."""
    half = slice(2 * rank, 2 * rank + 2)
    losses = {**EQUAL, **UNEQUAL}
    ours = data_parallel_settings(find_unused_parameters=False)
    ours.pop('type')
    found = {k: gradients(head(v), 'head', half, ours) for k, v in losses.items()}
    found['network'] = gradients(network(), 'network', half, ours)
    found['torch defaults'] = gradients(network(), 'network', half, {})
    return found


def as_second_process(port_of: dict[str, str]) -> None:
    """What the other process of the tests below does."""
    os.environ['RANK'] = '1'
    join(port_of['gradients'], 120)
    all_gradients(rank=1)
    leave()
    join(port_of['hang'], 10)
    print('stopping', flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    leave()
    join(port_of['differ'], 120)
    entrance.run_command(lambda: check_same({'images': '5', 'seed': '1'}))


def join(port: str, seconds: int) -> None:
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=port, WORLD_SIZE='2')
    join_on_cpus(seconds)
    all_processes.cache_clear()
    all_processes()


def leave() -> None:
    torch.distributed.destroy_process_group()


@pytest.fixture
def rank_0(monkeypatch):
    """This process is one of two."""
    for name in ('MASTER_ADDR', 'MASTER_PORT', 'WORLD_SIZE'):
        monkeypatch.setenv(name, '')
    monkeypatch.setenv('RANK', '0')
    # commands end without Python's shutdown, which would end the tests
    monkeypatch.setattr(entrance, 'end_at_once', sys.exit)
    monkeypatch.setattr(entrance, 'leave_process_group', sys.exit)
    yield
    if torch.distributed.is_initialized():
        leave()
    all_processes.cache_clear()


def test_two_processes(rank_0, monkeypatch, capsys):
    """Gradients, one that hangs, and two that differ, with one start of Python."""
    ports = {name: free_port() for name in ('gradients', 'hang', 'differ')}
    other = subprocess.Popen(
        [sys.executable, '-c', f'import {__name__} as t; t.as_second_process({ports})'],
        env={**os.environ, **CPU, 'PYTHONPATH': f'{ROOT}:{ROOT / "tests"}'},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        join(ports['gradients'], 120)
        check_gradients(all_gradients(rank=0))
        leave()

        join(ports['hang'], 10)
        assert other.stdout.readline() == 'stopping\n'
        monkeypatch.setattr(missing_ranks, 'WAIT', 1)
        with pytest.raises(SystemExit) as ended:
            entrance.run_command(torch.distributed.barrier)
        said = capsys.readouterr().err
        assert ended.value.code == 2
        assert 'Rank 1 of 2 does not answer (Timed out' in said
        assert f'process {other.pid} on ' in said and 'Traceback' not in said
        other.send_signal(signal.SIGCONT)
        leave()

        join(ports['differ'], 120)
        with pytest.raises(SystemExit) as ended:
            entrance.run_command(lambda: check_same({'images': '6', 'seed': '1'}))
        torch.distributed.barrier()  # as the other one does before it ends
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert re.search(r'differ:\n  images: 6 on rank 0 \(.+, 5 on rank 1 \(', said)
        assert 'seed' not in said
        assert other.communicate(timeout=120)[1] == '' and other.returncode == 2
    finally:
        other.kill()
        other.communicate()


def check_gradients(found: dict[str, dict]) -> None:
    """Compare with one process that has the whole batch."""
    whole, halves = slice(0, 4), (slice(0, 2), slice(2, 4))
    expected = {k: gradients(head(v), 'head', whole) for k, v in EQUAL.items()}
    expected['network'] = gradients(network(), 'network', whole)
    assert distance(found['network'], found['torch defaults']) == 0  # any buckets
    for name, gradient in expected.items():
        assert distance(found[name], gradient) < 1e-6, name
    for name, loss in UNEQUAL.items():
        one, two = (gradients(head(loss), 'head', half) for half in halves)
        mean = {key: (one[key] + two[key]) / 2 for key in one}
        assert distance(found[name], mean) < 1e-6, name
        assert distance(found[name], gradients(head(loss), 'head', whole)) > 0.01, name


def distance(some: dict, other: dict) -> float:
    """The largest difference, in units of the largest gradient."""
    assert some.keys() == other.keys()
    largest = max(float(value.abs().max()) for value in other.values())
    return max(float((some[k] - other[k]).abs().max()) for k in other) / largest


@pytest.fixture
def start(tmp_path, streets):
    """Starts tools/dist_train.sh; returns the process, whose output is a pipe."""
    started = []

    def start_one(iterations: int, processes: int, **env: str) -> subprocess.Popen:
        config = tmp_path / 'tiny.py'
        text = CONFIG.format(base=ROOT / TOY, folder=tmp_path, iterations=iterations)
        config.write_text(text)
        words = ['tools/dist_train.sh', config, processes, '--seed', 1]
        words += ['--work-dir', tmp_path / 'run', '--data-root', streets]
        process = subprocess.Popen(
            [str(word) for word in words],
            cwd=ROOT,
            env={**os.environ, **CPU, 'PYTHON': sys.executable, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.terminate()  # torchrun then ends the processes that it started
        process.communicate()


def steps_taken(path) -> set[int]:
    """Steps of the optimizer in a checkpoint, which must be its iterations, too."""
    checkpoint = read_checkpoint(path)
    states = checkpoint['optimizer']['state'].values()
    return {checkpoint['meta']['iter'], *(int(state['step']) for state in states)}


def test_a_killed_process_starts_again_from_the_last_checkpoint(start, tmp_path):
    run = start(8, 2, PORT=free_port(), MAX_RESTARTS='1')
    for line in run.stdout:
        if re.search(r'Iter\(train\) \[ *3/8\]', line):
            os.kill(int((tmp_path / 'process_1').read_text()), signal.SIGKILL)
            break
    rest = run.communicate(timeout=300)[0]
    assert run.returncode == 0, rest
    start_again = re.search(r'Restart 1, from \S+/run/iter_(\d+)\.pth\.', rest)
    last = int(start_again[1])
    assert last in (2, 4, 6) and f'8 iterations from {last}' in rest
    after = rest[start_again.end() :]
    done = [int(k) for k in re.findall(r'Iter\(train\) \[ *(\d+)/8\]', after)]
    assert done == list(range(last + 1, 9))
    assert steps_taken(tmp_path / 'run/iter_8.pth') == {8}


def test_two_machines_of_which_one_comes_late(start, tmp_path):
    """Two addresses of this machine; a signal to one torchrun ends the whole run."""
    place = dict(NNODES='2', MASTER_ADDR='127.0.0.2', PORT=free_port())
    second = start(1000, 1, NODE_RANK='1', **place)
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(timeout=3)  # for the first one
    first = start(1000, 1, NODE_RANK='0', **place)
    printed = ''
    for line in first.stdout:
        printed += line
        if re.search(r'Iter\(train\) \[ *2/1000\]', line):
            first.send_signal(signal.SIGTERM)
            break
    printed += first.communicate(timeout=300)[0]
    ending = second.communicate(timeout=300)[0]
    assert '2 images x 2 processes' in printed
    assert 'Traceback' not in printed + ending
    assert first.returncode == second.returncode == 128 + signal.SIGTERM, printed
    last = re.search(r'Stopped by SIGTERM after iteration (\d+) of', printed)[1]
    assert steps_taken(tmp_path / f'run/iter_{last}.pth') == {int(last)}
    assert 'ended with exit status 143' in ending
