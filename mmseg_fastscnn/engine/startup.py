"""The check before the first step: do the parts of a run fit together?

Each finding is one line. One with which the run cannot work stops it, a doubtful one is
a warning. Everything here compares objects that are built; what the config alone shows
is checked when it is read (`config/check.py`).
"""

from collections.abc import Iterable, Iterator

from mmengine.dataset import InfiniteSampler as InfiniteSamplerOfMMEngine
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from torch import nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm
from torch.utils.data import DataLoader

from mmseg_fastscnn.datasets.doctor.findings import Finding, learnable
from mmseg_fastscnn.datasets.doctor.splits import equal_files
from mmseg_fastscnn.datasets.doctor.survey import sample_facts
from mmseg_fastscnn.datasets.sampler import InfiniteSampler
from mmseg_fastscnn.engine.checkpoints import CheckpointHook
from mmseg_fastscnn.engine.log.header import counts_epochs
from mmseg_fastscnn.engine.startup_data import (
    classes_fit,
    crop_sizes,
    ignored_ids,
    pipeline_is_for_testing,
    same_classes,
    soft_labels_fit,
    validation_sizes,
)
from mmseg_fastscnn.engine.time_limit import NEVER, schedulers_of
from mmseg_fastscnn.models.segmentor import unwrapped

ENDLESS = (InfiniteSampler, InfiniteSamplerOfMMEngine)
SECONDS = 3  # time limit for looking at the training images and labels
SECONDS_FOR_SPLITS = 1  # for comparing validation files with training files


class StartupCheckHook(Hook):
    """Compare the parts of a run before its first step.

    Raises:
        ValueError: Some parts cannot work together; all such findings are listed.
    """

    priority = 'HIGHEST'  # before any other hook does its work or fails

    def before_train(self, runner) -> None:
        report(runner, training_findings(runner))
        report(runner, findings_in_files(runner))

    def before_test(self, runner) -> None:
        model = unwrapped(runner.model)
        report(
            runner,
            [
                *classes_fit(model, runner.test_dataloader, 'test'),
                *pipeline_is_for_testing(runner.cfg, 'test_dataloader'),
            ],
        )


def report(runner, findings: Iterable[Finding]) -> None:
    """Warn of what is doubtful; raise ValueError for what cannot work."""
    findings = list(findings)
    for finding in findings:
        if not finding.stops:
            # formatted here, since mmengine logs the same format string only once
            runner.logger.warning(f'Doubtful: {finding.text}')
    stops = [finding.text for finding in findings if finding.stops]
    if stops:
        raise ValueError('\n'.join(stops))


def training_findings(runner) -> Iterator[Finding]:
    """Compare loop, data, network, schedule and metric, without opening a file."""
    model, loader = unwrapped(runner.model), runner.train_dataloader
    if len(loader) == 0:  # nothing else can be said of such a run
        yield no_batch(loader)
        return
    yield from loop_and_sampler(runner)
    yield from scheduler_units(runner)
    yield from last_batch(model, loader)
    yield from classes_fit(model, loader, 'training')
    yield from crop_sizes(model, loader)
    yield from soft_labels_fit(runner)
    yield from unmatched_patterns(runner)
    yield from ignored_ids(runner)
    if runner.val_loop is not None:
        yield from same_classes(runner)
        yield from best_score(runner)
        yield from pipeline_is_for_testing(runner.cfg, 'val_dataloader')


def findings_in_files(runner) -> Iterator[Finding]:
    """Look at training images and labels, and at one validation image.

    `tools/check_dataset.py` looks at all of them, and for more.

    This comes second, since files are looked at in vain if other parts do not fit.
    """
    if is_main_process():  # one process is enough: all have the same files
        dataset = runner.train_dataloader.dataset
        yield from learnable(sample_facts(dataset, SECONDS))
        if runner.val_loop is not None:
            validation = runner.val_dataloader.dataset
            yield from equal_files(dataset, validation, SECONDS_FOR_SPLITS)
    if runner.val_loop is not None:
        yield from validation_sizes(runner)


def no_batch(loader: DataLoader) -> Finding:
    """Say why a loader gives no batch, for which training would wait for ever."""
    return Finding(
        True,
        f'Training has no batch: there are {len(loader.sampler)} images for each '
        f'process, the batch has {loader.batch_size}, and a smaller one is left out '
        f'(train_dataloader.drop_last=True). Lower train_dataloader.batch_size, or use '
        f"sampler=dict(type='InfiniteSampler', shuffle=True).",
    )


def loop_and_sampler(runner) -> Iterator[Finding]:
    """Find a loop of epochs over a sampler that never ends."""
    if counts_epochs(runner) and isinstance(runner.train_dataloader.sampler, ENDLESS):
        yield Finding(
            True,
            'train_cfg counts epochs, but train_dataloader.sampler is InfiniteSampler, '
            "whose first epoch never ends. Set sampler=dict(type='DefaultSampler', "
            "shuffle=True), or train_cfg=dict(type='IterBasedTrainLoop', max_iters=N, "
            'val_interval=M).',
        )


def scheduler_units(runner) -> Iterator[Finding]:
    """Find schedulers that count in another unit than the run, or end elsewhere."""
    ends = {}
    for scheduler in schedulers_of(runner):
        unit = 'epochs' if scheduler.by_epoch else 'iterations'
        if scheduler.by_epoch and not counts_epochs(runner):
            yield Finding(
                False,
                f'{type(scheduler).__name__} in param_scheduler counts epochs '
                f'(by_epoch=True) and the run counts iterations, all in one epoch: it '
                f'takes no step before the end. Set by_epoch=False.',
            )
        elif scheduler.end < NEVER:
            ends[unit] = max(scheduler.end, ends.get(unit, 0))
    if not ends:
        return
    length = dict(epochs=runner.max_epochs, iterations=runner.max_iters)
    if all(end != length[unit] for unit, end in ends.items()):
        unit, end = max(ends.items(), key=lambda item: item[1] / length[item[0]])
        yield Finding(
            False,
            f'the schedule of the learning rate is for {end} {unit} (end in '
            f'param_scheduler), not for {length[unit]}.',
        )


def last_batch(model: nn.Module, loader: DataLoader) -> Iterator[Finding]:
    """Find a batch of one image: its coarsest level has one value per channel."""
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    if all(isinstance(m, SyncBatchNorm) for m in layers):
        return  # nothing is normalised, or over the images of all processes
    reason = 'batch normalisation over the coarsest level of the pyramid needs two'
    if loader.batch_size == 1:
        yield Finding(
            True,
            f'The batch has one image, and {reason}. Set train_dataloader.batch_size '
            f'to 2 or more.',
        )
    elif (
        not isinstance(loader.sampler, ENDLESS)
        and not loader.drop_last
        and len(loader.sampler) % loader.batch_size == 1
    ):
        yield Finding(
            True,
            f'The last batch of {len(loader.sampler)} images in batches of '
            f'{loader.batch_size} has one image, and {reason}. Set '
            f'train_dataloader.drop_last=True or another batch_size.',
        )


def unmatched_patterns(runner) -> Iterator[Finding]:
    """Find learning rate factors that no parameter has."""
    paramwise = runner.cfg.optim_wrapper.get('paramwise_cfg') or {}
    names = [name for name, _ in unwrapped(runner.model).named_parameters()]
    for pattern in paramwise.get('custom_keys') or {}:
        if not any(pattern in name for name in names):
            yield Finding(
                False,
                f'optim_wrapper.paramwise_cfg.custom_keys has {pattern!r}, which no '
                f'parameter of the model has in its name, so it changes nothing.',
            )


def best_score(runner) -> Iterator[Finding]:
    """Find a score in `save_best` that validation does not give."""
    metrics = runner.val_evaluator.metrics
    if not all(hasattr(metric, 'keys') for metric in metrics):
        return  # a user's own metric does not say which values it will give
    known = [key for metric in metrics for key in metric.keys]
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    for key in [key for hook in hooks for key in hook.best.names]:
        if key != 'auto' and key not in known:
            yield Finding(
                True,
                f'default_hooks.checkpoint.save_best is {key!r}, but validation gives '
                f'{", ".join(known)}. Choose one of these, or add the metric: '
                f"val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU', ...]).",
            )
