"""One confusion matrix, then ratios."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.dist import all_reduce
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor

from mmseg_fastscnn.registry import METRICS

EXTRA = {'mDice': ('Dice',), 'mFscore': ('Fscore', 'Precision', 'Recall')}


@METRICS.register_module()
class IoUMetric(BaseMetric):
    """Intersection over union and its relatives, in percent.

    The matrix counts pixels over the whole data set, as Cityscapes' own evaluation
    does, and is summed over all processes. Means leave out classes that occur
    neither in the labels nor in the predictions.

    Args:
        ignore_index: The label that is not counted.
        iou_metrics: Beside mIoU, mAcc and aAcc, which are always there: `mDice`,
            `mFscore` (mFscore, mPrecision, mRecall). The F-score of a class that is
            never predicted is 0; mmsegmentation leaves it out of the mean.
        kwargs: `prefix` of the logged names.

    Attributes:
        per_class: {class name: {'IoU', 'Acc', ...}} of the last evaluation; nan where
            the class does not occur.
    """

    default_prefix = ''

    def __init__(
        self,
        ignore_index: int = 255,
        iou_metrics: Sequence[str] = ('mIoU',),
        **kwargs,
    ):
        super().__init__(**kwargs)
        unknown = set(iou_metrics) - {'mIoU', *EXTRA}
        if unknown:
            raise ValueError(
                f'iou_metrics has {sorted(unknown)}; known are mIoU, mDice, mFscore.'
            )
        self.ignore_index = ignore_index
        self.columns = ['IoU', 'Acc']
        self.columns += [c for name in iou_metrics for c in EXTRA.get(name, ())]
        self.per_class: dict[str, dict[str, float]] = {}
        self._reset()

    @property
    def keys(self) -> list[str]:
        """Names of the values that `evaluate` returns."""
        return [*(f'm{column}' for column in self.columns), 'aAcc']

    def _reset(self) -> None:
        self.confusion: Tensor | None = None
        self.num_images = 0

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch; samples without labels count as images only."""
        classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            self.num_images += 1
            if 'gt_sem_seg' in sample:
                pred = sample['pred_sem_seg']['data']
                label = sample['gt_sem_seg']['data'].to(pred.device)
                counted = confusion_matrix(label, pred, classes, self.ignore_index)
                total = 0 if self.confusion is None else self.confusion
                self.confusion = total + counted

    def evaluate(self, size: int) -> dict[str, float]:
        """Sum over all processes and return the means; {} where nothing is labelled.

        Args:
            size: Images of the data set.

        Raises:
            RuntimeError: The processes together saw another number of images.
        """
        classes = len(self.dataset_meta['classes'])
        confusion = self.confusion
        if confusion is None:
            confusion = torch.zeros(classes, classes, dtype=torch.int64)
        count = torch.tensor([self.num_images], device=confusion.device)
        total = torch.cat([confusion.flatten(), count])
        all_reduce(total)
        self._reset()
        if total[-1] != size:
            raise RuntimeError(
                f'{int(total[-1])} images were evaluated of a data set of {size}. '
                f'Samplers of several processes must not repeat images: set '
                f'sampler=dict(round_up=False).'
            )
        return self.compute_metrics(total[:-1].view(classes, classes).cpu())

    def compute_metrics(self, results: Tensor) -> dict[str, float]:
        """Log the table of classes and return the means.

        Args:
            results: (num_classes, num_classes) pixel counts, [label, prediction].
        """
        logger = MMLogger.get_current_instance()
        if results.sum() == 0:
            logger.info('There are no labels here, so nothing was measured.')
            return {}
        table, accuracy = class_ratios(results.double().numpy())
        self.per_class = {
            name: {column: float(table[column][k]) for column in self.columns}
            for k, name in enumerate(self.dataset_meta['classes'])
        }
        logger.info('\n%s', format_table(self.per_class, self.columns))
        means = {f'm{c}': float(np.nanmean(table[c])) for c in self.columns}
        return {**means, 'aAcc': accuracy}


def confusion_matrix(
    label: Tensor, pred: Tensor, num_classes: int, ignore_index: int
) -> Tensor:
    """Count pixels: (num_classes, num_classes) int64, [label, prediction].

    Args:
        label: uint8 train ids or `ignore_index`.
        pred: uint8 train ids, of the same shape.

    Raises:
        ValueError: There are other ids than those of the classes.
    """
    code = label.int() * 256 + pred
    counts = torch.bincount(code.flatten(), minlength=256**2).view(256, 256)
    counts[ignore_index] = 0
    inside = counts[:num_classes, :num_classes]
    if counts.sum() != inside.sum():
        raise ValueError(
            f'Labels or predictions have ids outside 0 to {num_classes - 1}, the '
            f'classes of the data set. Correct num_classes or label_map.'
        )
    return inside


def class_ratios(confusion: np.ndarray) -> tuple[dict[str, np.ndarray], float]:
    """Return every ratio of every class, and the accuracy of all pixels, in percent."""
    hit = np.diag(confusion)
    labelled, predicted = confusion.sum(1), confusion.sum(0)
    with np.errstate(divide='ignore', invalid='ignore'):
        dice = 2 * hit / (labelled + predicted)
        ratios = {
            'IoU': hit / (labelled + predicted - hit),
            'Acc': hit / labelled,
            'Dice': dice,
            'Fscore': dice,  # the same for beta 1
            'Precision': hit / predicted,
            'Recall': hit / labelled,
        }
    percent = {name: 100 * ratio for name, ratio in ratios.items()}
    return percent, 100 * float(hit.sum() / confusion.sum())


def format_table(per_class: dict[str, dict[str, float]], columns: Sequence[str]) -> str:
    """A line a class, two decimals."""
    width = max(len('class'), *map(len, per_class))
    lines = ['  '.join([f'{"class":<{width}}', *(f'{c:>9}' for c in columns)])]
    for name, row in per_class.items():
        lines.append(
            '  '.join([f'{name:<{width}}', *(f'{row[c]:9.2f}' for c in columns)])
        )
    return '\n'.join(lines)
