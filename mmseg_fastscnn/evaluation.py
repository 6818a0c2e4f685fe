"""One confusion matrix, then ratios."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.dist import all_reduce
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor

from mmseg_fastscnn.evaluation_report import (
    as_json,
    check_metric,
    gathered,
    refuse_number,
    refuse_other_ids,
    say_unmeasured,
)
from mmseg_fastscnn.ops import host
from mmseg_fastscnn.registry import METRICS
from mmseg_fastscnn.results import ResultFolder
from mmseg_fastscnn.structures import IGNORED, with_ignored

EXTRA = {'mDice': ('Dice',), 'mFscore': ('Fscore', 'Precision', 'Recall')}


@METRICS.register_module()
class IoUMetric(BaseMetric):
    """Intersection over union and its relatives, in percent.

    The matrix counts pixels over the whole data set, as Cityscapes' own evaluation
    does, and is summed over all processes. Means leave out classes that occur
    neither in the labels nor in the predictions.

    Args:
        ignore_index: A label that is not counted, besides `IGNORED`.
        iou_metrics: What to measure besides mIoU, mAcc and aAcc, which are always
            there: `mDice`, `mFscore` (mFscore, mPrecision, mRecall). The F-score of a
            class that is never predicted is 0; mmsegmentation leaves it out of the
            mean.
        nan_to_num: Ratio (1 is 100 percent) of a class where it is not defined. By
            default such classes are left out of the means.
        beta: Weight of recall in the F-score.
        output_dir: Folder for predictions: one PNG per image, under its relative path
            and in the data set's raw ids.
        format_only: Write the predictions and measure nothing.
        per_image: Keep the pixel counts of each image.
        kwargs: Arguments of mmengine's `BaseMetric`, such as `prefix`, which the
            names of all results then begin with.

    Attributes:
        per_class: {class name: {'IoU', 'Acc', ...}} of the last evaluation; nan where
            the class does not occur.
        confusion: (num_classes, num_classes) int64 pixel counts, [label, prediction],
            of the last evaluation.
        image_counts: {relative path: (3, num_classes) uint32 correct, labelled and
            predicted pixels} of the last evaluation if `per_image`, else {}.
    """

    default_prefix = ''

    def __init__(
        self,
        ignore_index: int = IGNORED,
        iou_metrics: Sequence[str] | str = ('mIoU',),
        nan_to_num: float | None = None,
        beta: float = 1,
        output_dir: str | None = None,
        format_only: bool = False,
        per_image: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        names = [iou_metrics] if isinstance(iou_metrics, str) else iou_metrics
        check_metric(set(names) - {'mIoU', *EXTRA}, format_only, output_dir)
        self.ignore_index = ignore_index
        self.columns = ['IoU', 'Acc']
        self.columns += [c for name in names for c in EXTRA.get(name, ())]
        self.mean_names = [*(f'm{column}' for column in self.columns), 'aAcc']
        self.nan_to_num = nan_to_num
        self.beta = beta
        self.folder = None if output_dir is None else ResultFolder(output_dir)
        self.format_only = format_only
        self.per_image = per_image
        self.means: dict[str, float] = {}
        self.per_class: dict[str, dict[str, float]] = {}
        self.image_counts: dict[str, np.ndarray] = {}
        self.num_images = 0
        self._reset()

    def _reset(self) -> None:
        self.counts: Tensor | None = None  # on the device, read when all are counted
        self.seen = 0
        self.of_images: dict[str, Tensor] = {}
        if self.folder is not None:
            self.folder.written.clear()

    @property
    def keys(self) -> list[str]:
        """Names of the values that `evaluate` returns."""
        prefix = f'{self.prefix}/' if self.prefix else ''
        return [] if self.format_only else [prefix + name for name in self.mean_names]

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch; samples without labels count as images only."""
        for sample in data_samples:
            self.seen += 1
            pred = sample['pred_sem_seg']['data']
            if self.folder is not None:
                train_ids = pred[0].cpu().numpy().astype(np.uint8)
                self.folder.write(sample, sample['raw_ids'][train_ids])
            if 'gt_sem_seg' in sample and not self.format_only:
                self._count(sample, pred)

    def _count(self, sample: dict, pred: Tensor) -> None:
        label = with_ignored(sample['gt_sem_seg']['data'], self.ignore_index)
        counts = count_pairs(label.to(pred.device), pred)
        self.counts = counts if self.counts is None else self.counts + counts
        if self.per_image:
            classes = len(self.dataset_meta['classes'])
            matrix = counts[:classes, :classes]
            parts = [matrix.diag(), matrix.sum(1), matrix.sum(0)]
            self.of_images[sample['rel_path']] = torch.stack(parts)

    def evaluate(self, size: int) -> dict[str, float]:
        """Sum over all processes and return the means; {} where nothing is labelled.

        Args:
            size: Images of the data set.

        Raises:
            RuntimeError: The processes together saw another number of images.
            ValueError: There are other ids than those of the classes.
        """
        counts = self.counts
        if counts is None:  # nothing is labelled
            counts = torch.zeros(256, 256, dtype=torch.int64)
        seen = torch.tensor([self.seen], device=counts.device)
        total = torch.cat([counts.flatten(), seen])
        all_reduce(total)
        self.image_counts = gathered(self.of_images) if self.per_image else {}
        self._reset()
        self.num_images = int(total[-1])
        if self.num_images != size:
            refuse_number(self.num_images, size)
        counts = total[:-1].view(256, 256).cpu()
        self.confusion = confusion_matrix(counts, len(self.dataset_meta['classes']))
        self.means = self.compute_metrics(self.confusion)
        # there are no means where nothing is labelled
        return dict(zip(self.keys, self.means.values(), strict=False))

    def compute_metrics(self, results: Tensor) -> dict[str, float]:
        """Log the table of classes and return the means.

        Args:
            results: (num_classes, num_classes) pixel counts, [label, prediction].
        """
        self.per_class = {}
        if self.format_only or results.sum() == 0:
            say_unmeasured(self.folder.folder if self.format_only else None)
            return {}
        table, accuracy = class_ratios(results.double().numpy(), self.beta)
        if self.nan_to_num is not None:
            default = 100 * self.nan_to_num
            table = {name: np.nan_to_num(v, nan=default) for name, v in table.items()}
        self.per_class = {
            name: {column: float(table[column][k]) for column in self.columns}
            for k, name in enumerate(self.dataset_meta['classes'])
        }
        logger = MMLogger.get_current_instance()
        logger.info('\n%s', format_table(self.per_class, self.columns))
        means = [float(np.nanmean(table[column])) for column in self.columns]
        return dict(zip(self.mean_names, [*means, accuracy], strict=True))

    def report(self) -> dict:
        """Return the last evaluation as JSON can hold it; {} where nothing is labelled.

        The means without a prefix, `per_class` and `num_images`. A ratio that is not
        defined, of a class that does not occur, is None.
        """
        return as_json(self.means, self.per_class, self.num_images)


def count_pairs(label: Tensor, pred: Tensor) -> Tensor:
    """Count the pixels of each pair of ids: (256, 256) int64, [label, prediction].

    Args:
        label: uint8 train ids or `IGNORED`.
        pred: uint8 train ids, of the same shape and on the same device.
    """
    code = (label.int() * 256 + pred).flatten()
    if code.device.type == host.HOST:
        return torch.bincount(code, minlength=256**2).view(256, 256)
    # elsewhere bincount would be waited for: the size of its result is read
    ones = torch.ones_like(code, dtype=torch.int64)
    return ones.new_zeros(256**2).scatter_add_(0, code.long(), ones).view(256, 256)


def confusion_matrix(counts: Tensor, num_classes: int) -> Tensor:
    """Return the (num_classes, num_classes) part of what `count_pairs` counts.

    Raises:
        ValueError: There are other ids than those of the classes and `IGNORED`.
    """
    counted = counts.clone()
    counted[IGNORED] = 0
    inside = counted[:num_classes, :num_classes]
    if counted.sum() != inside.sum():
        refuse_other_ids(counted, num_classes)
    return inside


def class_ratios(
    confusion: np.ndarray, beta: float = 1
) -> tuple[dict[str, np.ndarray], float]:
    """Return every ratio of every class, and the accuracy of all pixels, in percent.

    Args:
        confusion: (num_classes, num_classes) pixel counts, [label, prediction].
        beta: Weight of recall in the F-score.
    """
    hit = np.diag(confusion)
    labelled, predicted = confusion.sum(1), confusion.sum(0)
    with np.errstate(divide='ignore', invalid='ignore'):
        ratios = {
            'IoU': hit / (labelled + predicted - hit),
            'Acc': hit / labelled,
            'Dice': 2 * hit / (labelled + predicted),
            'Fscore': (1 + beta**2) * hit / (beta**2 * labelled + predicted),
            'Precision': hit / predicted,
            'Recall': hit / labelled,
        }
    percent = {name: 100 * ratio for name, ratio in ratios.items()}
    return percent, 100 * float(hit.sum() / confusion.sum())


def format_table(per_class: dict[str, dict[str, float]], columns: Sequence[str]) -> str:
    """Return one line per class, with two decimals."""
    width = max(len('class'), *map(len, per_class))
    lines = [f'{"class":<{width}}' + ''.join(f'{c:>11}' for c in columns)]
    for name, row in per_class.items():
        lines.append(f'{name:<{width}}' + ''.join(f'{row[c]:11.2f}' for c in columns))
    return '\n'.join(lines)
