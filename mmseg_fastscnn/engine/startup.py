"""What is compared before the first step, with one line for each finding.

A finding that cannot work stops the run; a doubtful one is a warning. Everything here
compares built objects: what the config alone shows is checked when it is read
(`config/check.py`).
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mmengine.config import Config
from mmengine.dataset import InfiniteSampler as InfiniteSamplerOfMMEngine
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from torch import nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm
from torch.utils.data import DataLoader

from mmseg_fastscnn.config import all_datasets
from mmseg_fastscnn.datasets.inspect_labels import (
    LabelFacts,
    occurring_classes,
    parts_of,
)
from mmseg_fastscnn.datasets.sampler import InfiniteSampler
from mmseg_fastscnn.datasets.test_pipeline import (
    label_is_flipped,
    resized_after_padding,
    training_steps,
)
from mmseg_fastscnn.engine.header import counts_epochs
from mmseg_fastscnn.models.segmentor import unwrapped
from mmseg_fastscnn.registry import HOOKS
from mmseg_fastscnn.structures import IGNORED

ENDLESS = (InfiniteSampler, InfiniteSamplerOfMMEngine)
SECONDS = 3  # that looking at the training data may take
NEVER = 10**9  # what mmengine's schedulers have as `end` where none is given


class Finding(NamedTuple):
    """Something that does not fit together.

    Attributes:
        stops: Whether the run cannot work with it.
        text: What was found, and what to do.
    """

    stops: bool
    text: str


@HOOKS.register_module()
class StartupCheckHook(Hook):
    """Compare the parts of a run before its first step.

    Raises:
        ValueError: Some parts cannot work together; all findings are listed.
    """

    priority = 'HIGHEST'

    def before_train(self, runner) -> None:
        report(runner, training_findings(runner))

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
    findings = list(findings)
    for finding in findings:
        if not finding.stops:
            # as one string: mmengine shows a format string only once
            runner.logger.warning(f'Doubtful: {finding.text}')
    stops = [finding.text for finding in findings if finding.stops]
    if stops:
        raise ValueError('\n'.join(stops))


def training_findings(runner) -> Iterator[Finding]:
    model = unwrapped(runner.model)
    yield from loop_and_sampler(runner)
    yield from scheduler_units(runner)
    yield from last_batch(model, runner.train_dataloader)
    yield from classes_fit(model, runner.train_dataloader, 'training')
    yield from crop_sizes(model, runner.train_dataloader)
    yield from unmatched_patterns(runner)
    yield from ignored_ids(runner)
    if is_main_process():
        yield from learnable(
            occurring_classes(runner.train_dataloader.dataset, SECONDS)
        )
    if runner.val_loop is not None:
        yield from classes_fit(model, runner.val_dataloader, 'validation')
        yield from same_classes(runner)
        yield from best_score(runner)
        yield from pipeline_is_for_testing(runner.cfg, 'val_dataloader')
        yield from validation_sizes(runner.val_dataloader)


def loop_and_sampler(runner) -> Iterator[Finding]:
    if counts_epochs(runner) and isinstance(runner.train_dataloader.sampler, ENDLESS):
        yield Finding(
            True,
            'train_cfg counts epochs, but train_dataloader.sampler is InfiniteSampler, '
            "whose first epoch never ends. Set sampler=dict(type='DefaultSampler', "
            "shuffle=True), or train_cfg=dict(type='IterBasedTrainLoop', max_iters=N, "
            'val_interval=M).',
        )


def scheduler_units(runner) -> Iterator[Finding]:
    schedulers = runner.param_schedulers or ()
    if isinstance(schedulers, dict):  # of several optimizers
        schedulers = [s for several in schedulers.values() for s in several]
    ends = {}
    for scheduler in schedulers:
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
    """Find a batch of one image, whose coarsest level has one value per channel."""
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    if all(isinstance(m, SyncBatchNorm) for m in layers):
        return
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


def classes_fit(
    model: nn.Module, loader: DataLoader, purpose: str
) -> Iterator[Finding]:
    classes = loader.dataset.metainfo['classes']
    for place, head in heads_of(model).items():
        if head.num_classes != len(classes):
            yield Finding(
                True,
                f'model.{place} has num_classes={head.num_classes}, the {purpose} data '
                f'{len(classes)} classes ({", ".join(classes)}). Set '
                f'model=dict(num_classes={len(classes)}), which reaches all heads '
                f'that set none themselves.',
            )


def heads_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return the heads of a segmentor by their place in the config."""
    auxiliary = model.auxiliary_head
    if isinstance(auxiliary, nn.ModuleList):
        others = {f'auxiliary_head.{k}': head for k, head in enumerate(auxiliary)}
    else:
        others = {'auxiliary_head': auxiliary}
    return {'decode_head': model.decode_head, **others}


def same_classes(runner) -> Iterator[Finding]:
    training = list(runner.train_dataloader.dataset.metainfo['classes'])
    validation = list(runner.val_dataloader.dataset.metainfo['classes'])
    if training != validation:
        yield Finding(
            True,
            f'Training has the classes {training}, validation {validation}. Give both '
            f'data sets the same metainfo.',
        )


def crop_sizes(model: nn.Module, loader: DataLoader) -> Iterator[Finding]:
    """Compare the crop of the pipeline with the padded size and the sliding window."""
    size = getattr(model.data_preprocessor, 'size', None)
    window = model.test_cfg.get('crop_size')
    for crop in crops_of(loader.dataset):
        if size is not None and crop != tuple(size):
            padding = 1 - min(crop[0] / size[0], 1) * min(crop[1] / size[1], 1)
            yield Finding(
                crop[0] > size[0] or crop[1] > size[1],
                f'RandomCrop.crop_size in the training pipeline is {crop}, '
                f'model.data_preprocessor.size {tuple(size)} (h, w): '
                f'{100 * padding:.1f} % of each image would be padding. Set both to '
                f'one size.',
            )
        if window is not None and crop != tuple(window):
            yield Finding(
                False,
                f'RandomCrop.crop_size in the training pipeline is {crop}, '
                f'model.test_cfg.crop_size {tuple(window)} (h, w): the network is '
                f'tested on windows of another size than it is trained on.',
            )


def crops_of(dataset: object) -> set[tuple[int, int]]:
    """Return every crop size of the training pipelines, (h, w)."""
    result = set()
    for part in parts_of(dataset):
        for step in getattr(getattr(part, 'pipeline', None), 'transforms', ()):
            crop = getattr(getattr(step, 'crop', step), 'crop_size', None)
            if isinstance(crop, list | tuple):
                result.add(tuple(crop))
    return result


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
    known = [key for metric in runner.val_evaluator.metrics for key in metric.keys]
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    for key in [key for hook in hooks for key in hook.save_best or ()]:
        if key != 'auto' and key not in known:
            yield Finding(
                True,
                f'default_hooks.checkpoint.save_best is {key!r}, but validation gives '
                f'{", ".join(known)}. Choose one of these, or add the metric: '
                f"val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU', ...]).",
            )


def validation_sizes(loader: DataLoader) -> Iterator[Finding]:
    """Find a validation pipeline that changes the size of the labels."""
    sample = loader.dataset[0]['data_samples']
    if isinstance(sample, list) or 'gt_sem_seg' not in sample:
        return  # several views, or nothing to compare with
    found, needed = tuple(sample.gt_sem_seg.shape), tuple(sample.ori_shape)
    if found != needed:
        yield Finding(
            True,
            f'In validation the label of {sample.get("img_path")} is {found}, its '
            f'image {needed} (h, w): predictions are compared at the size of the file. '
            f'Put LoadAnnotations after Resize and Pad in the validation pipeline.',
        )


def pipeline_is_for_testing(config: Config, loader: str) -> Iterator[Finding]:
    """Find steps of a test pipeline that prediction or the label do not undo."""
    for dataset in all_datasets(Config({loader: config[loader]})):
        pipeline = dataset.get('pipeline') or ()
        for step in training_steps(pipeline):
            yield Finding(
                True,
                f'{step} in the pipeline of {loader} is a step of training, which '
                f'prediction cannot undo. Remove it.',
            )
        flip, resize = label_is_flipped(pipeline), resized_after_padding(pipeline)
        if flip:
            yield Finding(
                True,
                f'{flip} stands after LoadAnnotations in the pipeline of {loader}: the '
                f'prediction is flipped back and the label is not. Put LoadAnnotations '
                f'after it.',
            )
        if resize:
            yield Finding(
                True,
                f'{resize} stands after Pad in the pipeline of {loader}: the padding '
                f'would be resized, and prediction cuts it off as it was added. Put Pad '
                f'last.',
            )


def ignored_ids(runner) -> Iterator[Finding]:
    """Compare the ids that heads, metric and data do not count."""
    heads = heads_of(unwrapped(runner.model))
    ids = {f'model.{place}': head.ignore_index for place, head in heads.items()}
    loaders = {'train_dataloader': runner.train_dataloader}
    if runner.val_loop is not None:
        loaders['val_dataloader'] = runner.val_dataloader
        for metric in runner.val_evaluator.metrics:
            ids['val_evaluator'] = getattr(metric, 'ignore_index', IGNORED)
    for place, loader in loaders.items():
        for part in parts_of(loader.dataset):
            ids[f'{place}.dataset'] = getattr(part, 'ignore_index', IGNORED)
    if len(set(ids.values())) > 1:
        found = ', '.join(f'{place} {index}' for place, index in ids.items())
        yield Finding(
            True,
            f'ignore_index differs: {found}. Set it to one id everywhere; simplest is '
            f'to leave it out and to map what is not labelled to {IGNORED} in label_map.',
        )


def learnable(facts: LabelFacts) -> Iterator[Finding]:
    """Judge what was found in a sample of the training data."""
    if facts.errors:
        more = f' ({len(facts.errors)} such files)' if facts.errors[1:] else ''
        yield Finding(True, f'{facts.errors[0]}{more}')
    if not facts.labelled:
        return
    seen = f'{facts.labelled} training labels looked at, of {facts.total}'
    occurring = [name for name, pixels in facts.pixels.items() if pixels]
    if len(occurring) < 2:
        way = 'Correct label_map or metainfo.classes.'
        if facts.suggestion:
            way = (
                f'The files hold 0 and 255, and 255 is ignored: label_map='
                f'{facts.suggestion} reads 255 as {facts.absent[-1]!r}.'
            )
        yield Finding(
            facts.looked_at == facts.total,
            f'There is nothing to tell apart: of the classes {list(facts.pixels)} only '
            f'{occurring} occur in the {seen}. {way}',
        )
    elif facts.absent:
        yield Finding(False, f'no pixel of {", ".join(facts.absent)} in {seen}.')
