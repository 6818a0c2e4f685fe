"""Fit a run to a number of minutes: measure its first steps, then plan the others.

A run is divided into cycles: steps, a checkpoint and a validation. The first steps and
a few validation images say how long a cycle takes; each cycle corrects this by what it
really took, at its beginning, in the middle and near its end. The learning rate follows
the end of the run: mmengine's schedulers compute each value from the one before and the
steps that are left, so it goes on without a jump.
"""

import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from statistics import mean, median

import torch
from mmengine.dist import broadcast_object_list
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict

from mmseg_fastscnn.engine.checkpoints import CheckpointHook, checkpoint_hook
from mmseg_fastscnn.engine.inference_form import validated_form
from mmseg_fastscnn.engine.loops import IterBasedTrainLoop
from mmseg_fastscnn.registry import HOOKS

LENGTHS = ('total_iters', 'T_max')  # attributes of schedulers that can be fitted
NEVER = 10**9  # `end` of mmengine's schedulers where the config gives none
FIRST, SKIPPED = 8, 2  # steps before the first plan, and of these not measured
CYCLES = 10  # validations in a run, at most
OVERHEAD = 0.15  # share of the time that validations may take
CORRECTED_AT = (0.5, 0.15)  # of a cycle is left when its plan is corrected
FINISHED = 0.1  # share of the time that may be left to a run that reached its end
# From the last validation to the end of the process: at least so many seconds, and at
# least this share of the seconds of a checkpoint and a validation.
ENDING, ENDING_SHARE = 1.0, 0.3
FEW = 20  # steps of a cycle; one with fewer, longer ones is planned anew at each
VALIDATED = 4  # batches from which the time of the first validation is estimated


def running_seconds() -> float:
    """Return how long this process has run; 0 where the system does not say."""
    if not sys.platform.startswith('linux'):
        return 0.0
    with open('/proc/self/stat') as file:
        ticks = int(file.read().rpartition(')')[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf('SC_CLK_TCK')


@HOOKS.register_module()
class TimeLimitHook(Hook):
    """End a run after a number of minutes, with its schedule fitted to them.

    A run that is resumed gets the minutes that are left.

    Args:
        minutes: From the start of the process to the end of the run.

    Raises:
        ValueError: The run counts epochs, has no checkpoints, or has a schedule that
            cannot be fitted.
    """

    priority = 'LOWEST'  # after the other hooks, whose time counts

    def __init__(self, minutes: float):
        if not minutes > 0:
            raise ValueError(f'minutes is {minutes}; it must be over 0.')
        self.seconds = 60 * minutes
        self.began = time.monotonic() - running_seconds()
        self.before = 0.0  # seconds that the run took before it was resumed
        self.cycles = 0  # that are not finished; 0 before the first plan
        self.end: int | None = None
        self.next: int | None = None  # iteration of the next validation
        self.length = 0  # steps of a cycle; 0 before the first plan of this process
        self.left_of_cycle = 1.0  # share
        self.steps: deque[float] = deque(maxlen=200)
        self.overhead = 0.0  # seconds of a checkpoint and a validation
        self.estimated = False  # whether `overhead` is estimated from a few images
        self.ended: float | None = None
        self.cycle_ends: float | None = None  # when the steps of a cycle were done

    def spent(self) -> float:
        """Return the seconds since the beginning of the run."""
        return self.before + time.monotonic() - self.began

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        state = checkpoint['meta'].get('time_limit')
        if runner.resumes and state is not None:
            self.before = state['spent']
            self.cycles, self.end, self.next = (
                int(state[key]) for key in ('cycles', 'end', 'next')
            )

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint['meta']['time_limit'] = dict(
            spent=self.spent(), cycles=self.cycles, end=self.end, next=self.next
        )

    def before_train(self, runner) -> None:
        self.checkpoints = checked_parts(runner)
        self.checkpoints.interval = -1  # they are written before each validation
        loop = runner.train_loop
        self.first = runner.iter + FIRST  # when the plan is made, and made anew
        if self.end is None:
            self.end = self.next = max(loop.max_iters, self.first + 1)
        left = self.seconds - self.spent()
        reached = runner.iter >= self.end and left < FINISHED * self.seconds
        over = [left <= 0 or reached]
        broadcast_object_list(over)  # each process has begun at a time of its own
        if runner.resumes and over[0]:
            runner.logger.info(
                'The %g minutes of this run are over; --minutes gives it more.',
                self.seconds / 60,
            )
            self.end = self.next = runner.iter
        elif self.next <= self.first:  # a plan of the run before, too near to keep
            self.next, self.end = self.first + 1, max(self.end, self.first + 1)
        self.set_plan(runner)

    def after_train_iter(self, runner, batch_idx: int, **kwargs) -> None:
        done = runner.iter + 1
        if done <= self.first and torch.cuda.is_available():
            torch.cuda.synchronize()  # else the first plan times launches alone
        now = time.monotonic()
        if self.ended is not None and done > self.first - FIRST + SKIPPED:
            self.steps.append(now - self.ended)
        self.ended = now
        if done == self.next:
            self.checkpoints.save(runner)
            self.cycle_ends, self.ended = now, None
            if runner.val_loop is None:
                self.next_cycle(runner, done)
        elif done == self.first:
            self.first_plan(runner, done)
        elif done == self.corrected_at or 0 < self.length < FEW:
            if self.estimated and done == self.corrected_at:
                # the machine may have had other work when it was estimated
                self.overhead = validation_seconds(runner)
                self.ended = time.monotonic()  # it is no part of the next step
            self.left_of_cycle = (self.next - done) / self.length
            self.plan(runner, done)

    def after_val_epoch(self, runner, metrics=None) -> None:
        if self.cycle_ends is not None:
            self.next_cycle(runner, runner.iter)

    def next_cycle(self, runner, done: int) -> None:
        """Plan again after a checkpoint and a validation."""
        self.overhead, self.estimated = time.monotonic() - self.cycle_ends, False
        self.cycle_ends = None
        self.cycles -= 1
        self.left_of_cycle = 1.0
        if self.cycles > 0:
            self.plan(runner, done)

    def first_plan(self, runner, done: int) -> None:
        """Plan from the first steps and the time of a few validation images."""
        if not self.overhead and runner.val_loop is not None:
            self.overhead, self.estimated = validation_seconds(runner), True
        left = self.seconds - self.spent()
        affordable = int(OVERHEAD * left / max(self.overhead, 1e-9))
        self.cycles = max(min(self.cycles or CYCLES, affordable), 1)
        self.left_of_cycle = 1.0
        self.plan(runner, done)
        runner.logger.info(
            'Fitted to %g minutes, of which %.1f are left: a step takes %.3f s, a '
            'validation about %.1f s; %d iterations, a validation every %d.',
            self.seconds / 60,
            left / 60,
            self.step(),
            self.overhead,
            self.end,
            self.length,
        )
        self.ended = time.monotonic()

    def step(self) -> float:
        """Return the seconds that a step takes; the first ones may vary much."""
        if 0 < self.length < FEW:  # the machine may have got slower
            return max(median(self.steps), self.steps[-1])
        return (mean if len(self.steps) >= FEW else median)(self.steps)

    def plan(self, runner, done: int) -> None:
        """Divide the time that is left into steps of equal cycles."""
        while self.cycles > 1 and self.steps_per_cycle() < 1:
            self.cycles -= 1
        length = self.steps_per_cycle()
        until = max(round(length * self.left_of_cycle), 1)
        plan = [until, max(round(length), 1), self.cycles]
        broadcast_object_list(plan)  # all processes do as the first one measures
        until, self.length, self.cycles = plan
        self.next = done + until
        self.end = self.next + (self.cycles - 1) * self.length
        self.set_plan(runner)

    def steps_per_cycle(self) -> float:
        """Return how many steps fit into a cycle."""
        ending = max(ENDING, ENDING_SHARE * self.overhead)
        left = self.seconds - ending - self.spent() - self.cycles * self.overhead
        return max(left, 0) / self.step() / (self.cycles - 1 + self.left_of_cycle)

    def set_plan(self, runner) -> None:
        """Give the plan to the loop and the schedulers."""
        loop = runner.train_loop
        loop.max_iters, loop.next_validation = self.end, self.next
        fit(runner, self.end)
        for wrapper in optim_wrappers_of(runner):
            # where mmengine steps with fewer accumulated gradients than elsewhere
            wrapper._max_counts = self.end
            wrapper._remainder_counts = self.end % wrapper._accumulative_counts
        share = next((s for s in CORRECTED_AT if s < self.left_of_cycle - 0.01), None)
        self.corrected_at = None
        if share is not None and self.length:
            self.corrected_at = self.next - round(share * self.length)


def checked_parts(runner) -> CheckpointHook:
    """Return the hook that writes checkpoints, if the run can be fitted.

    Raises:
        ValueError: It cannot.
    """
    if not isinstance(runner.train_loop, IterBasedTrainLoop):
        raise ValueError(
            '--minutes needs a run that counts iterations: train_cfg=dict(type='
            "'IterBasedTrainLoop', max_iters=N, val_interval=M)."
        )
    for scheduler in schedulers_of(runner):
        if scheduler.by_epoch or not any(hasattr(scheduler, n) for n in LENGTHS):
            raise ValueError(
                f'--minutes cannot fit {type(scheduler).__name__} in param_scheduler. '
                f'Use PolyLR, CosineAnnealingLR or LinearLR, with by_epoch=False.'
            )
    hook = checkpoint_hook(runner)
    if hook is None:
        raise ValueError(
            '--minutes needs default_hooks.checkpoint, which the config does not have.'
        )
    return hook


def schedulers_of(runner) -> Iterator:
    """Yield all schedulers, also those of several optimizers."""
    schedulers = runner.param_schedulers or []
    several = schedulers.values() if isinstance(schedulers, dict) else [schedulers]
    for some in several:
        yield from some


def optim_wrappers_of(runner) -> Iterable[OptimWrapper]:
    """Return the wrapper of the optimizer, or those of several."""
    wrapper = runner.optim_wrapper
    several = isinstance(wrapper, OptimWrapperDict)
    return wrapper.optim_wrappers.values() if several else [wrapper]


def fit(runner, end: int) -> None:
    """Let the schedulers that end last end with the run."""
    schedulers = [s for s in schedulers_of(runner) if s.end < NEVER]
    last = max((scheduler.end for scheduler in schedulers), default=0)
    for scheduler in schedulers:
        if scheduler.end != last:
            continue  # a warm-up
        scheduler.end = max(end, scheduler.begin + 2)
        length = scheduler.end - scheduler.begin
        if hasattr(scheduler, 'total_iters'):
            scheduler.total_iters = length - 1
        else:
            scheduler.T_max = length


def validation_seconds(runner) -> float:
    """Return about how long a validation takes, from a few batches."""
    loader, taken, times = runner.val_dataloader, time.monotonic(), []
    model = validated_form(runner.model)
    model.eval()
    with torch.no_grad():
        for batch in islice(loader, VALIDATED):
            model.val_step(batch)
            times.append(time.monotonic() - taken)
            taken = time.monotonic()
    runner.model.train()
    # the first one waits for the workers to start
    return times[0] + median(times[1:] or times) * (len(loader) - 1)
