"""The training loops: mmengine's, which can also go on in the middle of a run.

They count the images that the run has drawn, over all its processes, and begin to load
at that place. mmengine's loops begin to load before they know where the run goes on.
"""

import bisect
import itertools
import math
from collections.abc import Iterator, Sequence

from mmengine.dist import get_world_size
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from mmseg_fastscnn.datasets.sampler import (
    DefaultSampler,
    RunSampler,
    seed_each_sample,
)
from mmseg_fastscnn.registry import LOOPS

Intervals = Sequence[tuple[int, int]]


class TrainLoop(BaseLoop):
    """What both loops share.

    Args:
        runner: The run.
        dataloader: The training data or its config.
        val_begin: First epoch or iteration after which there may be a validation.
        val_interval: Number of epochs or iterations from one validation to the next.
        dynamic_intervals: Pairs of an epoch or iteration and the `val_interval` from
            there on.

    Attributes:
        images: Number of images that the run has drawn.
        validated: Number of iterations after which the last validation ended.
        stop_training: Whether to stop before the end of the schedule.
        next_validation: Iteration of the next validation, where a plan says it instead
            of `val_interval`.
    """

    next_validation: int | None = None

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        val_begin: int,
        val_interval: int,
        dynamic_intervals: Intervals | None,
    ):
        super().__init__(runner, dataloader)
        seed_each_sample(self.dataloader.dataset)
        self._epoch = self._iter = 0  # `Runner.resume` sets them
        self.images = self.validated = 0
        self.stop_training = False
        self.val_begin = val_begin
        self.val_interval = val_interval
        intervals = [(0, val_interval), *(dynamic_intervals or ())]
        for _, interval in intervals:
            check_positive('val_interval', interval)
        self.dynamic_milestones, self.dynamic_intervals = zip(*intervals, strict=True)
        metainfo = getattr(self.dataloader.dataset, 'metainfo', None)
        runner.visualizer.dataset_meta = metainfo

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return self._epoch

    @property
    def iter(self) -> int:
        """Number of finished iterations."""
        return self._iter

    @property
    def images_per_iter(self) -> int:
        """Number of images of an iteration, over all processes."""
        return self.dataloader.batch_size * get_world_size()

    def images_before(self, epoch: int, iterations: int) -> int:
        """Return how many images a run has drawn, if its data and batch are these."""
        return iterations * self.images_per_iter

    def run_iter(self, batch_idx: int, data_batch: dict) -> None:
        """Train on one batch."""
        runner, batch = self.runner, dict(batch_idx=batch_idx, data_batch=data_batch)
        runner.call_hook('before_train_iter', **batch)
        outputs = runner.model.train_step(
            data_batch, optim_wrapper=runner.optim_wrapper
        )
        runner.call_hook('after_train_iter', **batch, outputs=outputs)
        self._iter += 1

    def validate_if_due(self, done: int, length: int) -> None:
        """Validate, unless that was done before the run was interrupted.

        Args:
            done: Number of finished epochs or iterations.
            length: Their number in the whole run.
        """
        current = bisect.bisect(self.dynamic_milestones, done + 1) - 1
        self.val_interval = self.dynamic_intervals[current]
        due = done % self.val_interval == 0 or done == length
        if self.next_validation is not None:
            due = done in (self.next_validation, length)
        if (
            self.runner.val_loop is not None
            and done >= max(self.val_begin, 1)
            and due
            and self.validated != self._iter
        ):
            self.runner.val_loop.run()

    def rest_of_epoch(self, epoch: int, done: int) -> Iterator[dict]:
        """Load the batches of an epoch that the run has not had.

        Args:
            epoch: Number of the epoch.
            done: How many batches of it the run has had. They are loaded once more if
                the order of images is a user's own sampler.
        """
        sampler = self.dataloader.sampler
        if hasattr(sampler, 'set_epoch'):
            sampler.set_epoch(epoch)
        if isinstance(sampler, RunSampler):
            sampler.start, done = self.images, 0
        end = getattr(sampler, 'end', None) or math.inf
        for batch in itertools.islice(self.dataloader, done, None):
            # the last batch of an epoch may be smaller
            self.images = min(self.images + self.images_per_iter, end)
            yield batch
        if end < math.inf:
            self.images = end


@LOOPS.register_module()
class IterBasedTrainLoop(TrainLoop):
    """Train for a number of iterations.

    Args:
        runner, dataloader, val_begin, dynamic_intervals: See `TrainLoop`.
        max_iters: Number of iterations.
        val_interval: See `TrainLoop`.
    """

    max_epochs = 1  # for hooks, all iterations are one epoch

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        max_iters: int,
        val_begin: int = 1,
        val_interval: int = 1000,
        dynamic_intervals: Intervals | None = None,
    ):
        super().__init__(runner, dataloader, val_begin, val_interval, dynamic_intervals)
        self.max_iters = int(max_iters)
        check_positive('max_iters', self.max_iters)

    def run(self) -> nn.Module:
        """Train, and return the model."""
        runner = self.runner
        runner.call_hook('before_train')
        runner.call_hook('before_train_epoch')
        batches = self.batches()
        self.validate_if_due(self._iter, self.max_iters)
        while self._iter < self.max_iters and not self.stop_training:
            runner.model.train()
            self.run_iter(self._iter, next(batches))
            self.validate_if_due(self._iter, self.max_iters)
        runner.call_hook('after_train_epoch')
        runner.call_hook('after_train')
        return runner.model

    def batches(self) -> Iterator[dict]:
        """Load batches without an end, from where the run is."""
        epoch, done = 0, self._iter
        if isinstance(self.dataloader.sampler, DefaultSampler):
            epoch = self.images // self.dataloader.sampler.size
        while True:
            yield from self.rest_of_epoch(epoch, done)
            epoch, done = epoch + 1, max(done - len(self.dataloader), 0)


@LOOPS.register_module()
class EpochBasedTrainLoop(TrainLoop):
    """Train for a number of epochs.

    Args:
        runner, dataloader, val_begin, dynamic_intervals: See `TrainLoop`.
        max_epochs: Number of epochs.
        val_interval: See `TrainLoop`.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        max_epochs: int,
        val_begin: int = 1,
        val_interval: int = 1,
        dynamic_intervals: Intervals | None = None,
    ):
        super().__init__(runner, dataloader, val_begin, val_interval, dynamic_intervals)
        self.max_epochs = int(max_epochs)
        check_positive('max_epochs', self.max_epochs)
        self.max_iters = self.max_epochs * len(self.dataloader)

    def run(self) -> nn.Module:
        """Train, and return the model."""
        runner = self.runner
        runner.call_hook('before_train')
        if self._done_in_epoch() == 0:
            self.validate_if_due(self._epoch, self.max_epochs)
        while self._epoch < self.max_epochs and not self.stop_training:
            self.run_epoch()
            self.validate_if_due(self._epoch, self.max_epochs)
        runner.call_hook('after_train')
        return runner.model

    def run_epoch(self) -> None:
        """Train on the rest of an epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._done_in_epoch()
        for k, batch in enumerate(self.rest_of_epoch(self._epoch, done), start=done):
            self.run_iter(k, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def images_before(self, epoch: int, iterations: int) -> int:
        in_epoch = iterations - epoch * len(self.dataloader)
        begin = epoch * len(self.dataloader.dataset)
        return begin + in_epoch * self.images_per_iter

    def _done_in_epoch(self) -> int:
        if isinstance(self.dataloader.sampler, RunSampler):
            begin = self._epoch * self.dataloader.sampler.size
            return (self.images - begin) // self.images_per_iter
        return self._iter - self._epoch * len(self.dataloader)


def check_positive(name: str, value: int) -> None:
    """Raise ValueError if a setting of a loop is not positive."""
    if value < 1:
        raise ValueError(f'train_cfg.{name} is {value}; it must be 1 or more.')
