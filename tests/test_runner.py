import logging
import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import EMAHook, LoggerHook
from mmengine.logging import MessageHub
from torch.utils.data import DataLoader, Dataset

from mmseg_fastscnn.engine import hooks
from mmseg_fastscnn.engine.log.files import MMENGINE, is_shown
from mmseg_fastscnn.engine.resume.starting_point import averages_weights
from mmseg_fastscnn.machine import find_device, set_aside_broken_torchvision


class Numbers(Dataset):
    def __init__(self):
        self.loaded = []

    def __len__(self):
        return 10

    def __getitem__(self, index):
        self.loaded.append(index)
        return index


def test_a_torchvision_that_fails_is_set_aside(tmp_path, monkeypatch, caplog):
    broken = tmp_path / 'torchvision'
    broken.mkdir()
    (broken / '__init__.py').write_text(
        "raise RuntimeError('operator x does not exist')"
    )
    info = tmp_path / 'torchvision-0.99.1.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: torchvision\nVersion: 0.99.1\n'
        'Requires-Dist: numpy\nRequires-Dist: torch (==2.99.0)\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [n for n in sys.modules if n.split('.')[0] == 'torchvision']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'torchvision', None)  # so that it is undone
    del sys.modules['torchvision']

    for _ in range(2):  # said once
        set_aside_broken_torchvision(logging.getLogger('run'))
    (record,) = caplog.records
    message = record.getMessage()
    assert (
        f'fails with torch {torch.__version__} (operator x does not exist)' in message
    )
    assert 'torchvision==0.99.1 with torch==2.99.0' in message
    with pytest.raises(ModuleNotFoundError):
        import torchvision  # noqa: F401


@pytest.mark.parametrize('wait, said', [(0.05, 0), (0.2, 1)])
def test_waiting_for_data_is_said_once(wait, said, monkeypatch, caplog):
    """Iterations of a second each, of which `wait` for data; two validations."""
    clock = 0.0
    monkeypatch.setattr(hooks.time, 'perf_counter', lambda: clock)
    monkeypatch.setattr(hooks, 'cores_per_process', lambda: 8)
    data = Numbers()
    data.packed = None
    loader = DataLoader(data, num_workers=2)
    runner = SimpleNamespace(logger=logging.getLogger(), train_dataloader=loader)
    hook = hooks.DataWaitHook(iterations=20)
    for k in range(100):
        if k % 40 == 0:
            hook.before_val(runner)
            clock += 1000
        clock += wait
        hook.before_train_iter(runner, k)
        clock += 1 - wait
        hook.after_train_iter(runner, k)
    messages = [record.getMessage() for record in caplog.records]
    expected = (
        'Training waits for data 20 % of its time. Read from a decoded copy: '
        'tools/pack_dataset.py. Set train_dataloader.num_workers=8.'
    )
    assert messages == [expected] * said


def test_what_happens_between_epochs_is_no_waiting(monkeypatch, caplog):
    """A checkpoint that takes 50 s after each epoch of 5 iterations of a second."""
    clock = 0.0
    monkeypatch.setattr(hooks.time, 'perf_counter', lambda: clock)
    loader = DataLoader(Numbers())
    runner = SimpleNamespace(logger=logging.getLogger(), train_dataloader=loader)
    hook = hooks.DataWaitHook(iterations=8)
    for _ in range(5):
        hook.before_train_epoch(runner)
        for k in range(5):
            hook.before_train_iter(runner, k)
            clock += 1
            hook.after_train_iter(runner, k)
        clock += 50
    assert not caplog.records


@pytest.mark.parametrize(
    'hook, averages',
    [
        (dict(type='EMAHook'), True),
        (dict(type='mmengine.EMAHook'), True),
        (type('Averaging', (EMAHook,), {})(), True),
        (dict(type='DataWaitHook'), False),
        (hooks.DataWaitHook(), False),
    ],
)
def test_hooks_that_average_weights_are_known(hook, averages):
    assert averages_weights(hook) == averages


def test_the_terminal_shows_a_users_lines():
    """Of mmengine's lines only those are left out that are named."""

    def record(path, function, message, level=logging.INFO):
        return logging.LogRecord(
            'run', level, path, 1, message, None, None, func=function
        )

    runner = str(MMENGINE / 'runner/runner.py')
    printing = str(MMENGINE / 'logging/logger.py')
    assert not is_shown(record(runner, 'resume', 'resumed epoch: 1, iter: 2'))
    assert is_shown(record(runner, 'scale_lr', 'LR is set based on batch size'))
    for message in (
        '"FileClient" will be deprecated',
        'paramwise_options -- a:lr=1',
        'Resumed iteration number is not divisible by `_accumulative_counts` in',
    ):
        assert not is_shown(record(printing, 'print_log', message))
    assert is_shown(record(printing, 'print_log', 'The prefix is not set'))
    for level in (logging.INFO, logging.WARNING):
        assert is_shown(
            record('/home/user/hook.py', 'f', 'x will be deprecated', level)
        )


@pytest.mark.parametrize(
    'intervals, counts', [([3], [0, 0, 3, 3, 3, 6, 7]), ([3, 5], [0, 0, 3, 3, 5, 6, 7])]
)
def test_losses_are_read_together_and_none_is_lost(intervals, counts):
    """They are read whenever one of the loggers may write a line."""
    hub = MessageHub(f'losses {intervals}', runtime_info={})
    runner = SimpleNamespace(
        message_hub=hub,
        train_dataloader=DataLoader(range(7)),
        **dict(iter=0, epoch=0, max_iters=7, max_epochs=1),
        hooks=[LoggerHook(interval=interval) for interval in intervals],
        call_hook=lambda name: None,
    )
    hook = hooks.RuntimeInfoHook()
    hook.before_train(runner)
    for k in range(7):
        loss = torch.tensor(float(k), requires_grad=True) * 2
        hook.after_train_iter(runner, k, outputs=dict(loss=loss))
        read = hub.log_scalars['train/loss'].data[0] if k > 1 else []
        assert len(read) == counts[k]
    assert hub.log_scalars['train/loss'].data[0].tolist() == [0, 2, 4, 6, 8, 10, 12]


def test_a_device_that_is_not_here_is_refused():
    assert find_device('cpu').type == 'cpu'
    for name in ('tpu', 'cuda:99'):
        with pytest.raises(ValueError, match=f"This machine has no device '{name}'"):
            find_device(name)


def test_the_backbone_trains_again_amid_an_epoch():
    backbone = torch.nn.BatchNorm2d(3)
    model = torch.nn.Module()
    model.backbone = backbone
    optimizer = torch.optim.SGD(backbone.parameters(), lr=1)
    runner = SimpleNamespace(
        model=model,
        iter=0,
        logger=logging.getLogger('run'),
        optim_wrapper=SimpleNamespace(optimizer=optimizer),
    )
    hook = hooks.FreezeBackboneHook(iterations=1)
    hook.before_train_iter(runner, 0)
    assert not backbone.training
    runner.iter = 1
    hook.before_train_iter(runner, 1)
    assert backbone.training
