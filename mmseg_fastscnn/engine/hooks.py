"""Hooks of the training loop: losses, loading, plain checkpoints, a frozen backbone."""

import time

from mmengine.hooks import Hook, LoggerHook
from mmengine.hooks import RuntimeInfoHook as RuntimeInfoHookOfMMEngine
from torch import Tensor
from torch.utils.data import DataLoader

from mmseg_fastscnn.checkpoint.weights_hash import hashes_of
from mmseg_fastscnn.cores import cores_per_process
from mmseg_fastscnn.datasets.parts import parts_of
from mmseg_fastscnn.engine.resume.parts import plain_hub
from mmseg_fastscnn.models.segmentor import unwrapped
from mmseg_fastscnn.registry import HOOKS


def log_intervals(runner) -> set[int]:
    """Return the intervals, in iterations, at which a run logs its losses."""
    hooks = [hook for hook in runner.hooks if isinstance(hook, LoggerHook)]
    return {hook.interval for hook in hooks} or {1}


@HOOKS.register_module()
class RuntimeInfoHook(RuntimeInfoHookOfMMEngine):
    """mmengine's RuntimeInfoHook without waiting for the device in every iteration.

    mmengine reads each loss from the device as soon as it is computed, so that the CPU
    waits instead of preparing the next iteration. Here the losses of several iterations
    are read together: before a line is logged, a model validated or a file written.
    Then `after_losses_are_read` of all hooks is called.
    """

    def __init__(self):
        self.unread: list[dict[str, Tensor]] = []

    def before_train(self, runner) -> None:
        super().before_train(runner)
        self.intervals = log_intervals(runner)

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        if outputs is not None:
            self.unread.append({k: v.detach() for k, v in outputs.items()})
        # LoggerHook, whose priority is lower, may write a line after this
        on_time = any(self.every_n_inner_iters(batch_idx, n) for n in self.intervals)
        if on_time or self.end_of_epoch(runner.train_dataloader, batch_idx):
            self.read_losses(runner)

    def before_val(self, runner) -> None:
        self.read_losses(runner)
        super().before_val(runner)

    def after_train_epoch(self, runner) -> None:
        self.read_losses(runner)

    def read_losses(self, runner) -> None:
        """Read the losses since the last call; all processes call this together."""
        for outputs in self.unread:
            super().after_train_iter(runner, 0, outputs=outputs)
        self.unread.clear()
        runner.call_hook('after_losses_are_read')


@HOOKS.register_module()
class DataWaitHook(Hook):
    """Warn once if training waits for data during more than a tenth of its time.

    Args:
        iterations: Number of iterations that are timed together. The first one after a
            start, an epoch or a validation, when loading begins anew, is not timed.
    """

    priority = 'LOWEST'  # so that writing a checkpoint does not count as waiting
    WORTH_SAYING = 0.1

    def __init__(self, iterations: int = 100):
        self.iterations = iterations
        self.said = False
        self.ended: float | None = None
        self.waited, self.spent = [], []

    def before_train_epoch(self, runner) -> None:
        self.ended = None  # after an epoch a checkpoint may be written, too

    def before_val(self, runner) -> None:
        self.ended = None

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if self.ended is not None:
            self.waited.append(time.perf_counter() - self.ended)

    def after_train_iter(self, runner, batch_idx: int, **kwargs) -> None:
        now = time.perf_counter()
        if self.ended is not None:
            self.spent.append(now - self.ended)
        self.ended = now
        if len(self.spent) < self.iterations:
            return
        share = sum(self.waited) / sum(self.spent)
        self.waited.clear()
        self.spent.clear()
        if share > self.WORTH_SAYING and not self.said:
            self.said = True
            runner.logger.warning(
                'Training waits for data %.0f %% of its time. %s',
                100 * share,
                advice(runner.train_dataloader),
            )


def advice(loader: DataLoader) -> str:
    """Return what to do where loading is slower than training."""
    lines = []
    parts = parts_of(loader.dataset)
    if any(hasattr(part, 'packed') and part.packed is None for part in parts):
        lines.append('Read from a decoded copy: tools/pack_dataset.py.')
    cores = cores_per_process()
    if cores > loader.num_workers:
        lines.append(f'Set train_dataloader.num_workers={cores}.')
    return ' '.join(lines or ['Use faster disks, more cores or fewer transforms.'])


class PlainCheckpointHook(Hook):
    """Write checkpoints of tensors and plain values alone, with a hash of the weights.

    See `plain_hub` and `weights_hash.py`.
    """

    priority = 'LOWEST'  # after hooks that add to the checkpoint's message hub

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint['message_hub'] = plain_hub(checkpoint['message_hub'])
        checkpoint['meta']['images_per_step'] = runner.images_per_step
        checkpoint['meta']['sha256'] = hashes_of(checkpoint)


@HOOKS.register_module()
class FreezeBackboneHook(Hook):
    """Train only the heads for the first iterations, so that fresh ones settle.

    The backbone's gradients are dropped before each step, and its normalisation layers
    use the checkpoint's statistics without updating them.

    Args:
        iterations: Number of iterations for which the backbone stays as it is.
    """

    def __init__(self, iterations: int):
        self.iterations = iterations
        self.handle = None

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        backbone = unwrapped(runner.model).backbone
        if runner.iter < self.iterations:
            backbone.eval()
            if self.handle is None:
                optimizer = runner.optim_wrapper.optimizer
                self.handle = optimizer.register_step_pre_hook(
                    lambda *_: backbone.zero_grad(set_to_none=True)
                )
                runner.logger.info(
                    'The backbone is frozen until iteration %d.', self.iterations
                )
        elif self.handle is not None:
            self.handle.remove()
            self.handle = None
            backbone.train()  # an epoch loop does so only when an epoch begins
            runner.logger.info('The backbone is trained from here on.')
