"""A run that is fitted to minutes, with a clock of its own."""

import itertools
from collections import deque
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler import CosineAnnealingLR, LinearLR, MultiStepLR, PolyLR
from test_inference import small_model
from test_segmentor import facts

from mmseg_fastscnn.engine import time_limit
from mmseg_fastscnn.engine.checkpoints import CheckpointHook
from mmseg_fastscnn.engine.loops import IterBasedTrainLoop
from mmseg_fastscnn.engine.resume.parts import known_meta
from mmseg_fastscnn.engine.time_limit import TimeLimitHook

VALIDATION = 7.0  # seconds


class Killed(Exception):
    pass


class Run:
    """A run of nothing but time: mmengine's schedulers, our loop, our hook."""

    resumes, val_loop = False, None

    def __init__(self, monkeypatch, minutes, seconds_of_step, scheduler=PolyLR):
        self.now = 1000.0
        self.seconds_of_step, self.killed_at = seconds_of_step, None
        self.saved, self.validations, self.rates = [], [], []
        monkeypatch.setattr(
            time_limit,
            'time',
            SimpleNamespace(monotonic=lambda: self.now, clock_gettime=lambda _: 0.0),
        )
        monkeypatch.setattr(time_limit, 'running_seconds', lambda: 5.0)
        monkeypatch.setattr(time_limit, 'validation_seconds', lambda _: VALIDATION / 2)
        self.optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        last = scheduler(self.optimizer, eta_min=0, begin=50, end=4000, by_epoch=False)
        warm_up = LinearLR(self.optimizer, 0.01, begin=0, end=50, by_epoch=False)
        self.param_schedulers = [warm_up, last]
        self.hook = TimeLimitHook(minutes)
        self.checkpoints = CheckpointHook(interval=4000, by_epoch=False)
        self.checkpoints.save = self.save
        self.hooks = [self.checkpoints, self.hook]
        self.logger = SimpleNamespace(info=lambda *_: None)
        self.val_loop = SimpleNamespace(run=self.validate)
        loop = IterBasedTrainLoop.__new__(IterBasedTrainLoop)
        loop._runner, loop.max_iters, loop.val_begin = self, 4000, 1
        loop.dynamic_milestones, loop.dynamic_intervals = [0], [4000]
        loop._iter, loop.validated, loop.stop_training = 0, 0, False
        loop.batches = lambda: itertools.repeat(None)
        self.train_loop = loop
        self.model = SimpleNamespace(train=lambda: None, train_step=self.step)
        self.optim_wrapper = OptimWrapper(self.optimizer)

    @property
    def iter(self) -> int:
        return self.train_loop.iter

    def call_hook(self, name, **kwargs):
        if name == 'after_train_iter':
            self.rates.append(self.optimizer.param_groups[0]['lr'])
            for scheduler in self.param_schedulers:
                scheduler.step()
        if hasattr(self.hook, name):
            getattr(self.hook, name)(self, **kwargs)

    def step(self, *_, **__):
        self.now += self.seconds_of_step(self.iter)
        self.optimizer.step()
        if self.iter == self.killed_at:
            raise Killed

    def save(self, _):
        checkpoint = dict(meta=dict(epoch=0, iter=self.iter + 1))
        self.hook.before_save_checkpoint(self, checkpoint)
        states = [scheduler.state_dict() for scheduler in self.param_schedulers]
        self.saved.append((checkpoint, states, self.optimizer.state_dict()))

    def validate(self):
        self.validations.append(self.iter)
        self.now += VALIDATION
        self.train_loop.validated = self.iter
        self.hook.after_val_epoch(self)

    def train(self) -> float:
        """Return the seconds that the run took."""
        self.train_loop.run()
        return self.now - 1000 + 5

    def go_on_from(self, checkpoint, states, optimizer) -> float:
        """Resume what another run saved; return the seconds that the rest took."""
        self.resumes = True
        meta = known_meta(checkpoint['meta'], 'file')
        self.hook.after_load_checkpoint(self, dict(meta=meta))
        self.train_loop._iter = self.train_loop.validated = meta['iter']
        self.optimizer.load_state_dict(optimizer)
        for scheduler, state in zip(self.param_schedulers, states, strict=True):
            scheduler.load_state_dict(state)
        return self.train()


def uneven(k: int) -> float:
    """Fast at first, as what is loaded ahead; later another program disturbs."""
    return 0.1 if k < 20 else 0.3 if k < 700 else 0.5


@pytest.mark.parametrize('scheduler', [PolyLR, CosineAnnealingLR])
@pytest.mark.parametrize('minutes', [3, 10, 60])
def test_a_run_ends_on_time(monkeypatch, minutes, scheduler):
    run = Run(monkeypatch, minutes, uneven, scheduler)
    took = run.train()
    assert abs(took / 60 / minutes - 1) < 0.05
    assert 2 <= len(run.validations) <= 10 and run.validations[-1] == run.iter
    assert [c['meta']['iter'] for c, *_ in run.saved] == run.validations
    assert run.rates[60] > 0.9  # after the warm-up
    assert run.rates[-1] < 0.02
    falls = [b - a for a, b in itertools.pairwise(run.rates[51:])]
    assert max(falls) <= 0 and min(falls) > -0.1  # without a jump


def test_accumulated_gradients_are_divided_by_how_many_there_are(monkeypatch):
    """Also after the iteration that was the last one before the plan, 4000."""
    run = Run(monkeypatch, 10, lambda _: 0.1)
    run.optim_wrapper = OptimWrapper(run.optimizer, accumulative_counts=3)
    run.optim_wrapper.initialize_count_status(torch.nn.Linear(1, 1), 0, 4000)
    shares = []

    def step(*_, **__):
        shares.append(run.optim_wrapper.scale_loss(torch.ones(())).item())
        run.optim_wrapper._inner_count += 1
        run.step()

    run.model.train_step = step
    run.train()
    assert len(shares) == run.iter > 4500
    rest = run.iter % 3
    assert shares[: run.iter - rest] == pytest.approx([1 / 3] * (run.iter - rest))
    assert shares[run.iter - rest :] == pytest.approx([1 / max(rest, 1)] * rest)


def test_the_first_validation_is_timed_as_it_runs():
    """In the inference form, whose layers a compiled model need not compile again."""
    model, compiled = small_model().train(), []
    model.backbone.compile(backend=lambda graph, _: compiled.append(1) or graph.forward)
    facts_of = facts(ori_shape=(64, 96))
    batch = dict(
        inputs=[torch.zeros(3, 64, 96, dtype=torch.uint8)], data_samples=[facts_of]
    )
    run = SimpleNamespace(model=model, val_dataloader=[batch] * 9)
    assert 0 < time_limit.validation_seconds(run) < 60
    assert not compiled and model.training and model.backbone.training


def test_a_few_long_steps_on_a_machine_that_gets_busy(monkeypatch):
    run = Run(monkeypatch, 4, lambda k: 12.0 if k < 8 else 25.0)
    took = run.train()
    assert 240 - 25 < took < 240 * 1.05
    assert run.validations[-1] == run.iter


def test_a_validation_that_was_estimated_on_a_busy_machine(monkeypatch):
    run = Run(monkeypatch, 5, lambda _: 0.5)
    estimates = itertools.chain([200.0], itertools.repeat(VALIDATION))

    def estimate(_) -> float:
        run.now += 3.0
        return next(estimates)

    monkeypatch.setattr(time_limit, 'validation_seconds', estimate)
    run.hook.steps = deque()
    assert abs(run.train() / 300 - 1) < 0.05
    assert max(run.hook.steps) == pytest.approx(0.5)  # no estimate is taken for a step


def test_a_run_without_validation_ends_on_time(monkeypatch):
    run = Run(monkeypatch, 10, uneven)
    run.val_loop = None
    assert abs(run.train() / 600 - 1) < 0.05
    assert len(run.saved) == 10 and run.saved[-1][0]['meta']['iter'] == run.iter


def test_a_resumed_run_gets_what_is_left(monkeypatch):
    whole = Run(monkeypatch, 10, uneven)
    whole.killed_at = 900
    with pytest.raises(Killed):
        whole.train()
    state = whole.saved[-1]
    spent = state[0]['meta']['time_limit']['spent']
    assert 200 < spent < 500
    rest = Run(monkeypatch, 10, lambda _: 0.7)  # on a slower machine
    took = rest.go_on_from(*state)
    assert abs((spent + took) / 600 - 1) < 0.05
    assert rest.rates[0] < whole.rates[100] and rest.rates[-1] < 0.02
    finished = Run(monkeypatch, 10, uneven)
    finished.go_on_from(*rest.saved[-1])
    assert finished.iter == rest.iter  # nothing is left
    longer = Run(monkeypatch, 20, uneven)
    assert abs((600 + longer.go_on_from(*rest.saved[-1])) / 1200 - 1) < 0.05


def test_a_schedule_that_cannot_be_fitted_is_refused(monkeypatch):
    run = Run(monkeypatch, 10, uneven)
    run.param_schedulers.append(
        MultiStepLR(run.optimizer, milestones=[5], by_epoch=False)
    )
    with pytest.raises(ValueError, match='cannot fit MultiStepLR in param_scheduler'):
        run.train()
