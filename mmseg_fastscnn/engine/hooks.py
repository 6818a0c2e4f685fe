"""What happens around the training loop."""

import os
import time

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.model.test_time_aug import BaseTTAModel
from torch import nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm
from torch.utils.data import DataLoader

from mmseg_fastscnn.engine.resume import plain_hub
from mmseg_fastscnn.machine import describe_device, usable_cores
from mmseg_fastscnn.registry import HOOKS


@HOOKS.register_module()
class RunHeaderHook(Hook):
    """Say in a few lines what is about to run, and where its results go."""

    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        training = check_classes(runner.model, runner.train_dataloader, 'training')
        check_batch(runner.model, runner.train_dataloader)
        lr = runner.optim_wrapper.get_lr()
        lr = next(iter(lr.values()))[0]
        loader = runner.train_dataloader
        lines = {
            'data': describe_data(loader, 'training'),
            'batch': f'{loader.batch_size} images x {get_world_size()} processes, '
            f'{loader.num_workers} workers each',
            'schedule': f'{runner.max_iters} iterations from {runner.iter}, '
            f'lr {lr:g} now, {type(runner.optim_wrapper).__name__}',
        }
        ends = [scheduler.end for scheduler in runner.param_schedulers or ()]
        if ends and max(ends) != runner.max_iters:
            lines['lr'] = (
                f'its schedule is for {max(ends)} iterations (param_scheduler), '
                f'not for {runner.max_iters}'
            )
        if runner.iter >= runner.max_iters:
            lines['note'] = 'there is nothing left to train'
        if runner.val_loop is not None:
            found = check_classes(runner.model, runner.val_dataloader, 'validation')
            if found != training:
                raise ValueError(
                    f'Training has the classes {training}, validation {found}. Give '
                    f'both data sets the same metainfo.'
                )
            lines['validation'] = (
                f'{describe_data(runner.val_dataloader, "validation")}, every '
                f'{runner.val_interval} iterations'
            )
        self._say(runner, lines)

    def before_test(self, runner) -> None:
        check_classes(runner.model, runner.test_dataloader, 'test')
        views = ', ms+flip' if isinstance(runner.model, BaseTTAModel) else ''
        data = describe_data(runner.test_dataloader, 'test')
        self._say(runner, {'data': data + views})

    def _say(self, runner, lines: dict[str, str]) -> None:
        model = getattr(runner.model, 'module', runner.model)
        count = sum(p.numel() for p in model.parameters())
        lines = {
            'config': runner.cfg.filename,
            **lines,
            'device': describe_device(),
            'model': f'{type(model).__name__}, {count / 1e6:.2f} M parameters',
            'results': runner.work_dir,
            'log': runner.logger.log_file,
        }
        text = '\n'.join(f'  {key:<11}{value}' for key, value in lines.items())
        runner.logger.info('\n%s', text)


def check_classes(model: nn.Module, loader: DataLoader, purpose: str) -> list[str]:
    """Return the data's classes; ValueError if the model has another number of them."""
    while hasattr(model, 'module'):  # of data parallel training, of ms+flip
        model = model.module
    classes = loader.dataset.metainfo['classes']
    if model.num_classes != len(classes):
        raise ValueError(
            f'The model has num_classes={model.num_classes}, the {purpose} data '
            f'{len(classes)} classes ({", ".join(classes)}). Set '
            f'model=dict(num_classes={len(classes)}).'
        )
    return list(classes)


def check_batch(model: nn.Module, loader: DataLoader) -> None:
    """Raise ValueError if normalisation would see one value a channel."""
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    alone = any(not isinstance(m, SyncBatchNorm) for m in layers)
    if loader.batch_size == 1 and alone:
        raise ValueError(
            'The batch has one image, and batch normalisation over the coarsest level '
            'of the pyramid needs two. Set train_dataloader.batch_size to 2 or more.'
        )


def describe_data(loader: DataLoader, purpose: str) -> str:
    dataset = loader.dataset
    classes = len(dataset.metainfo['classes'])
    kind = type(dataset).__name__
    return f'{len(dataset)} {purpose} images of {kind}, {classes} classes'


@HOOKS.register_module()
class DataWaitHook(Hook):
    """Say, once, when training waits for data more than a tenth of its time.

    Args:
        iterations: How many are timed together. One after a start or a validation,
            when loading begins anew, is not timed.
    """

    priority = 'LOWEST'  # so that writing a checkpoint is no waiting
    WORTH_SAYING = 0.1

    def __init__(self, iterations: int = 100):
        self.iterations = iterations
        self.said = False
        self.ended: float | None = None
        self.waited, self.spent = [], []

    def before_val(self, runner) -> None:
        self.ended = None

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if self.ended is not None:
            self.waited.append(time.perf_counter() - self.ended)

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
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
    """What to do where loading is the slower part."""
    lines = []
    parts = getattr(loader.dataset, 'datasets', [loader.dataset])
    if any(getattr(part, 'packed', 'none to be had') is None for part in parts):
        lines.append('Read from a decoded copy: tools/pack_dataset.py.')
    cores = usable_cores() // int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    if cores > loader.num_workers:
        lines.append(f'Set train_dataloader.num_workers={cores}.')
    return ' '.join(lines or ['Use faster disks, more cores or fewer transforms.'])


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Write checkpoints of tensors and plain values alone; see `plain_hub`."""

    priority = 'LOWEST'

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint['message_hub'] = plain_hub(checkpoint['message_hub'])


@HOOKS.register_module()
class FreezeBackboneHook(Hook):
    """Train only the heads for the first iterations, so that fresh ones settle.

    The backbone's gradients are dropped before each step and its normalisation uses,
    and keeps, the checkpoint's statistics.

    Args:
        iterations: How many.
    """

    def __init__(self, iterations: int):
        self.iterations = iterations
        self.handle = None

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        backbone = getattr(runner.model, 'module', runner.model).backbone
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
            runner.logger.info('The backbone is trained from here on.')
