"""The part of the start-up check that compares data, network and metric."""

from collections.abc import Iterable, Iterator

from mmengine.config import Config
from torch import nn
from torch.utils.data import DataLoader

from mmseg_fastscnn.config import all_datasets
from mmseg_fastscnn.datasets.doctor.crops import crops_of
from mmseg_fastscnn.datasets.doctor.findings import Finding
from mmseg_fastscnn.datasets.parts import infos_of, parts_of
from mmseg_fastscnn.datasets.test_pipeline import (
    label_is_flipped,
    resized_after_padding,
    training_steps,
)
from mmseg_fastscnn.models.data_preprocessor import SegDataPreProcessor
from mmseg_fastscnn.models.distillation import DistillationLoss
from mmseg_fastscnn.models.fast_scnn import FastSCNN
from mmseg_fastscnn.models.segmentor import EncoderDecoder, unwrapped
from mmseg_fastscnn.ops.sampled import cells
from mmseg_fastscnn.structures import COARSEST, IGNORED, SegDataSample

TOLERATED = 0.01  # difference of the sizes of coarse maps between training and test


def classes_fit(
    model: nn.Module, loader: DataLoader, purpose: str
) -> Iterator[Finding]:
    """Find heads with another number of classes than the data has."""
    classes = loader.dataset.metainfo['classes']
    wrong: dict[int, list[str]] = {}
    for place, head in heads_of(model).items():
        if head.num_classes != len(classes):
            wrong.setdefault(head.num_classes, []).append(f'model.{place}')
    for number, places in wrong.items():
        yield Finding(
            True,
            f'{", ".join(places)} {"have" if len(places) > 1 else "has"} '
            f'num_classes={number}, the {purpose} data {len(classes)} classes '
            f'({", ".join(classes)}). Set model=dict(num_classes={len(classes)}), '
            f'which reaches all heads that set none themselves.',
        )


def heads_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return the heads of a segmentor by their place in the config.

    A user's own model may have other parts; what has no `num_classes` is left out.
    """
    auxiliary = getattr(model, 'auxiliary_head', None)
    if isinstance(auxiliary, nn.ModuleList):
        others = {f'auxiliary_head.{k}': head for k, head in enumerate(auxiliary)}
    else:
        others = {'auxiliary_head': auxiliary}
    heads = {'decode_head': getattr(model, 'decode_head', None), **others}
    return {place: h for place, h in heads.items() if hasattr(h, 'num_classes')}


def same_classes(runner) -> Iterator[Finding]:
    """Find validation data with other classes than the training data."""
    training = list(runner.train_dataloader.dataset.metainfo['classes'])
    validation = list(runner.val_dataloader.dataset.metainfo['classes'])
    if training != validation:
        yield Finding(
            True,
            f'Training has the classes {training}, validation {validation}. Give both '
            f'data sets the same metainfo.',
        )


def ignored_ids(runner) -> Iterator[Finding]:
    """Find heads, metrics or data sets that ignore another id than the others."""
    heads = heads_of(unwrapped(runner.model))
    readers = [(f'model.{place}', head) for place, head in heads.items()]
    loaders = {'train_dataloader': runner.train_dataloader}
    if runner.val_loop is not None:
        loaders['val_dataloader'] = runner.val_dataloader
        readers += [('val_evaluator', m) for m in runner.val_evaluator.metrics]
    for place, loader in loaders.items():
        readers += [(f'{place}.dataset', p) for p in parts_of(loader.dataset)]
    ids = [
        (place, getattr(reader, 'ignore_index', IGNORED)) for place, reader in readers
    ]
    if len({index for _, index in ids}) > 1:
        # several data sets or metrics of one place are named once per id
        found = ', '.join(f'{place} {index}' for place, index in dict.fromkeys(ids))
        yield Finding(
            True,
            f'ignore_index differs: {found}. Set one id everywhere; simplest is to '
            f'leave it out and map what is not labelled to {IGNORED} in label_map.',
        )


def soft_labels_fit(runner) -> Iterator[Finding]:
    """Check what soft labels are of; find a loss without them, and the reverse.

    Raises:
        FileNotFoundError, ValueError: See `SoftLabels.check`.
    """
    learned = any(isinstance(m, DistillationLoss) for m in runner.model.modules())
    for part in parts_of(runner.train_dataloader.dataset):
        soft_labels = getattr(part, 'soft_labels', None)
        if soft_labels is not None:
            soft_labels.check(infos_of(part), part.metainfo['classes'])
            runner.logger.info('%s.', soft_labels)
            if not learned:
                yield Finding(
                    False,
                    'soft labels are read and no loss learns from them. Add a '
                    'DistillationLoss to model.decode_head.loss_decode, or remove '
                    'soft_labels from train_dataloader.dataset.',
                )
        elif learned:
            yield Finding(
                True,
                f'The model has a DistillationLoss, and {type(part).__name__} in '
                f'train_dataloader has no soft labels. Set soft_labels there to a '
                f'folder that tools/soft_labels.py wrote, or remove the loss.',
            )


def crop_sizes(model: nn.Module, loader: DataLoader) -> Iterator[Finding]:
    """Find crops of another size than the padded batch or the sliding window."""
    size = getattr(model.data_preprocessor, 'size', None)
    window = (getattr(model, 'test_cfg', None) or {}).get('crop_size')
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


def pipeline_is_for_testing(config: Config, loader: str) -> Iterator[Finding]:
    """Find steps of a test pipeline that prediction cannot undo."""
    for dataset in all_datasets(config, [loader]):
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
                f'{resize} stands after Pad in the pipeline of {loader}: prediction '
                f'cuts the padding off as it was added, not resized. Put Pad last.',
            )


def validation_sizes(runner) -> Iterator[Finding]:
    """Find validation labels or images of a size that does not fit."""
    first = runner.val_dataloader.dataset[0]
    if isinstance(first['data_samples'], list):
        return  # ms+flip
    yield from changed_label_size(first['data_samples'])
    crops = crops_of(runner.train_dataloader.dataset)
    yield from moved_maps(unwrapped(runner.model), crops, first['inputs'].shape[1:])


def changed_label_size(sample: SegDataSample) -> Iterator[Finding]:
    """Find a validation pipeline that changes the size of the labels."""
    if 'gt_sem_seg' not in sample:
        return
    found, needed = tuple(sample.gt_sem_seg.shape), tuple(sample.ori_shape)
    if found != needed:
        yield Finding(
            True,
            f'In validation the label of {sample.get("img_path")} is {found}, its '
            f'image {needed} (h, w): predictions are compared at the size of the file. '
            f'Put LoadAnnotations after Resize and Pad in the validation pipeline.',
        )


def moved_maps(
    model: nn.Module, crops: Iterable[tuple[int, int]], size: tuple[int, int]
) -> Iterator[Finding]:
    """Find validation images whose coarse maps are stretched unlike those of crops.

    A map of cells of 32 pixels reaches over the edge of an image that is no multiple of
    32, and is resized to the map of cells of 8, which does not.

    Args:
        model: The model.
        crops: (h, w) of training crops.
        size: (h, w) of a validation image.
    """
    if not isinstance(model, EncoderDecoder) or model.test_cfg['mode'] != 'whole':
        return
    ours = isinstance(model.data_preprocessor, SegDataPreProcessor)
    if not ours or not isinstance(model.backbone, FastSCNN):
        return
    preprocessor = model.data_preprocessor
    padded = preprocessor.padded_size(size)
    for crop in [preprocessor.size] if preprocessor.size else crops:
        shrinking = [
            shrink_factor(a) / shrink_factor(b)
            for a, b in zip(padded, crop, strict=True)
        ]
        if max(abs(1 - factor) for factor in shrinking) > TOLERATED:
            yield Finding(
                False,
                f'Coarse maps lie over validation images such as the first, '
                f'{size[0]}x{size[1]} (h x w), otherwise than over training crops of '
                f'{crop[0]}x{crop[1]}: they are stretched where a side is no multiple '
                f'of {COARSEST}. On CamVid this cost up to 5 points of mIoU. Set '
                f'model.data_preprocessor.test_cfg=dict(size_divisor={COARSEST}), and '
                f'train on crops of such a size.',
            )
            return


def shrink_factor(length: int) -> float:
    """Return the factor by which coarse maps are shrunk to fit this length."""
    return length / (cells(length, COARSEST) * COARSEST)
