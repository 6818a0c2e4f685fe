"""A step whose loss is not finite changes nothing, and several in a row end the run."""

import logging
import multiprocessing
import re
from types import SimpleNamespace

import pytest
import torch
from conftest import TOY, run, small_run
from formulas import image_batch, label_batch, labelled_samples
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from test_inference import small_model
from test_waits import HOST, Waits
from torch import distributed

from mmseg_fastscnn.engine.bad_steps import BadStepsHook
from mmseg_fastscnn.engine.muon import MuonAdamW

init_default_scope('mmseg_fastscnn')
SGD = dict(lr=0.01, momentum=0.9, weight_decay=0.1)


class Training:
    """A runner as far as the hook sees it, which takes one iteration at a time."""

    def __init__(self, optimizer=torch.optim.SGD, options=SGD, accumulated: int = 1):
        self.model = revert_sync_batchnorm(small_model()).train()
        parameters = self.model.parameters()
        self.optim_wrapper = OptimWrapper(
            optimizer(parameters, **options), accumulative_counts=accumulated
        )
        self.logger, self.iter = logging.getLogger('run'), 0
        self.hook = BadStepsHook(max_bad_steps=3)
        self.hook.before_train(self)
        self.waits = []

    def step(self, spoilt: str = '') -> None:
        """Take an iteration; spoil its `image`, or the `gradient` of one layer."""
        torch.manual_seed(0)  # of dropout
        image = image_batch(2, 32, 64) * (1 + 0.1 * self.iter)
        if spoilt == 'image':
            image[1, 0, 5, 7] = torch.nan
        samples = labelled_samples(label_batch(2, 32, 64))
        data = dict(data_samples=[SimpleNamespace(get=lambda _: f'{self.iter}.png')])
        with Waits() as waits:
            self.hook.before_train_iter(self, self.iter, data)
            losses = self.model.loss(image, samples)
            total, outputs = self.model.parse_losses(losses)
            weight = self.model.decode_head.conv_seg.weight
            if spoilt == 'gradient':
                handle = weight.register_hook(lambda g: g * torch.inf)
            self.optim_wrapper.update_params(total)
            if spoilt == 'gradient':
                handle.remove()
            self.hook.after_train_iter(self, self.iter, data, outputs)
        self.waits.append(waits.found)
        self.iter += 1

    def state(self) -> list[torch.Tensor]:
        """All weights, statistics and the optimizer's state, copied."""
        states = self.optim_wrapper.optimizer.state.values()
        kept = [v for s in states for v in s.values() if isinstance(v, torch.Tensor)]
        of_model = [
            v for v in self.model.state_dict().values() if v.is_floating_point()
        ]
        return [value.clone() for value in [*of_model, *kept]]


@pytest.mark.parametrize(
    'optimizer, options, host',
    [
        (torch.optim.SGD, SGD, 'cpu'),
        (torch.optim.SGD, SGD, 'none'),
        (torch.optim.AdamW, dict(lr=1e-3), 'none'),
        (MuonAdamW, dict(lr=1e-3), 'cpu'),
        (MuonAdamW, dict(lr=1e-3), 'none'),
    ],
)
def test_a_bad_step_leaves_all_as_it_was(optimizer, options, host, monkeypatch):
    """Among good ones, also as the first, before the optimizer has any state."""
    plan = ['image', '', 'gradient', '']
    monkeypatch.setattr(HOST, host)
    torch.optim.AdamW([torch.ones(1)])  # from now on, AdamW's own step calls hooks
    spoilt, clean = Training(optimizer, options), Training(optimizer, options)
    for kind in plan:
        before = spoilt.state()
        spoilt.step(kind)
        clean.iter = spoilt.iter - 1
        if kind:
            assert all(map(torch.equal, before, spoilt.state()))
        else:
            clean.step()
    after = spoilt.state()
    assert len(after) > len(list(spoilt.model.parameters()))
    for ours, expected in zip(after, clean.state(), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=0)


def test_no_step_waits_to_be_judged(monkeypatch):
    monkeypatch.setattr(HOST, 'none')
    training = Training()
    for kind in ('', '', 'image', ''):
        training.step(kind)
    assert training.waits[2:] == [[], []]  # the first takes the optimizer's first step


def test_one_bad_loss_spoils_the_step_it_is_accumulated_for():
    training = Training(accumulated=2)
    start = training.state()
    for kind in ('image', ''):
        training.step(kind)
    assert all(map(torch.equal, start, training.state()))
    for _ in range(2):
        training.step()
    assert not torch.equal(start[0], training.state()[0])


def test_only_steps_in_a_row_end_the_run():
    training = Training()
    for kind in ('image', 'gradient', '', 'image', 'image'):
        training.step(kind)
        training.hook.after_losses_are_read(training)
    training.step('gradient')
    with pytest.raises(ValueError, match='3 steps in a row') as stopped:
        training.hook.after_losses_are_read(training)
    lines = str(stopped.value).splitlines()
    assert len(lines) == 5
    for line, k in zip(lines[1:4], (4, 5, 6), strict=True):
        assert f'iteration {k}, learning rate 0.01: ' in line
        assert f'images {k - 1}.png' in line
    assert 'decode.loss_ce nan' in lines[1] and 'loss nan' in lines[1]
    assert 'gradient inf' in lines[3] and 'nan' not in lines[3]


def test_a_run_stops_and_names_losses_and_files(streets, tmp_path):
    printed = run(
        *['tools/train.py', TOY, '--work-dir', tmp_path, '--data-root', streets],
        *['--max-bad-steps', 2, *small_run(), 'model.data_preprocessor.std=(0,0,0)'],
        ok=False,
    )
    said = printed[printed.index('train.py: ') :].splitlines()
    assert '2 steps in a row had a loss' in said[0] and len(said) == 4
    for line, k in zip(said[1:3], (1, 2), strict=True):
        assert re.match(rf'  iteration {k}, learning rate [\d.]+: .*loss nan', line)
        assert line.count('_leftImg8bit.png') == 2
    assert not list(tmp_path.glob('*.pth'))


def one_of_two(rank: int, folder: str, states: multiprocessing.Queue) -> None:
    """Take three iterations; in the second, the first process alone has a bad loss."""
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2
    )
    training, said = Training(), []
    training.logger = SimpleNamespace(warning=said.append)
    changed = []
    for kind in ('', '' if rank else 'image', ''):
        before = training.state()
        training.step(kind)
        training.hook.after_losses_are_read(training)
        changed.append(not all(map(torch.equal, before, training.state())))
    states.put((changed, said))


def test_processes_decide_alike(tmp_path):
    fork = multiprocessing.get_context('fork')
    states = fork.Queue()
    processes = [
        fork.Process(target=one_of_two, args=(rank, tmp_path, states))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for changed, said in [states.get(timeout=120) for _ in processes]:
        assert changed == [True, False, True]
        (line,) = said  # also in the process whose own losses were finite
        assert 'iteration 2' in line and 'decode.loss_ce nan' in line
        assert 'images 1.png' in line
    for process in processes:
        process.join()
