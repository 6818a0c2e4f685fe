"""Losses that compare regions: ratios of sums over all pixels of an image.

Options and values are mmsegmentation's, with two exceptions. Ignored pixels never count
(its Dice sums the predictions there). And a single channel is the probability of class
1 (in its Dice, that of class 0).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmseg_fastscnn.models.checks import checked_reduction
from mmseg_fastscnn.models.class_weights import ClassWeights
from mmseg_fastscnn.models.losses import LossOfSums
from mmseg_fastscnn.models.targets import positive_channel, value_at
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import IGNORED, with_ignored


def overlap_and_size(
    probability: Tensor, label: Tensor, squared: bool = False
) -> Tensor:
    """Sum per image and channel over the labelled pixels, (N, 2, C).

    First the probability where the channel is positive, then that of all pixels.

    Args:
        probability: (N, C, H, W).
        label: (N, H, W) class of each pixel, or `IGNORED`.
        squared: Square the probabilities of the second sum.
    """
    index, positive = positive_channel(label, probability.shape[1])
    found = (value_at(probability, index) * positive)[:, None]
    overlap = torch.zeros_like(probability).scatter(1, index[:, None], found)
    size = probability.square() if squared else probability
    size = size * (label != IGNORED)[:, None]
    return torch.stack([overlap.sum((2, 3)), size.sum((2, 3))], dim=1)


def positive_pixels(label: Tensor, channels: int) -> Tensor:
    """Count the pixels at which each channel is positive, per image: (N, C)."""
    classes = [1] if channels == 1 else range(channels)
    return torch.stack([(label == k).sum((1, 2)) for k in classes], dim=1)


def without_class(values: Tensor, k: int) -> Tensor:
    """Return values (..., C) without those of class k, if there is one."""
    if not 0 <= k < values.shape[-1]:
        return values
    # an index by a list would be copied to the device in each step
    return torch.cat([values[..., :k], values[..., k + 1 :]], dim=-1)


@MODELS.register_module()
class DiceLoss(LossOfSums):
    """1 minus the Dice coefficient of each image, over all its pixels and classes.

    With p the probabilities and t the one-hot labels, the coefficient is
    2 sum(p t) / (sum(p^2) + sum(t^2) + 2 eps), as in V-Net
    (https://arxiv.org/abs/1606.04797).

    Args:
        use_sigmoid: Probabilities by the sigmoid of each logit instead of the softmax.
        activate: If False, the logits are taken as probabilities.
        reduction: 'mean' or 'sum' over the images of the batch. 'none' is averaged
            when losses are added up, so it is 'mean', too.
        naive_dice: (2 sum(p t) + eps) / (sum(p) + sum(t) + eps) instead.
        loss_weight: Factor of the result.
        ignore_index: A class whose channel is left out of the sums, such as that of
            the background. Its pixels stay negatives of the other classes.
        eps: Keeps the ratio defined where nothing is predicted or labelled.
        loss_name: The key it is logged under; must contain 'loss'.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        activate: bool = True,
        reduction: str = 'mean',
        naive_dice: bool = False,
        loss_weight: float = 1.0,
        ignore_index: int = IGNORED,
        eps: float = 1e-3,
        loss_name: str = 'loss_dice',
    ):
        super().__init__()
        self.use_sigmoid = use_sigmoid
        self.activate = activate
        self.reduction = checked_reduction(reduction)
        self.naive_dice = naive_dice
        self.loss_weight = loss_weight
        self.ignore_index = ignore_index
        self.eps = eps
        self.loss_name = loss_name

    def _sums(self, logits: Tensor, label: Tensor) -> Tensor:
        probability = logits
        if self.activate:
            probability = logits.sigmoid() if self.use_sigmoid else logits.softmax(1)
        return overlap_and_size(probability, label, squared=not self.naive_dice)

    def _total(self, sums: Tensor, logits: Tensor, label: Tensor) -> Tensor:
        overlap, predicted = without_class(sums, self.ignore_index).sum(2).unbind(1)
        labelled = positive_pixels(label, sums.shape[2])
        labelled = without_class(labelled, self.ignore_index).sum(1)
        if self.naive_dice:
            dice = (2 * overlap + self.eps) / (predicted + labelled + self.eps)
        else:
            dice = 2 * overlap / (predicted + labelled + 2 * self.eps)
        loss = (1 - dice).sum() if self.reduction == 'sum' else (1 - dice).mean()
        return self.loss_weight * loss


@MODELS.register_module()
class TverskyLoss(LossOfSums):
    """1 minus the Tversky index of the softmax, averaged over images and classes.

    With the true positive, false positive and false negative probability of a class in
    an image, the index is (TP + smooth) / (TP + alpha FP + beta FN + smooth)
    (https://arxiv.org/abs/1706.05721).

    Args:
        smooth: Keeps the ratio defined where nothing is predicted or labelled.
        class_weight: One factor per class; see `ClassWeights`.
        loss_weight: Factor of the result.
        ignore_index: A further label whose pixels are not counted; its class is left
            out of the sum, which is still divided by the number of all classes.
        alpha: Weight of false positives.
        beta: Weight of false negatives.
        loss_name: The key it is logged under; must contain 'loss'.
    """

    use_sigmoid = False

    def __init__(
        self,
        smooth: float = 1,
        class_weight: Sequence[float] | str | None = None,
        loss_weight: float = 1.0,
        ignore_index: int = IGNORED,
        alpha: float = 0.3,
        beta: float = 0.7,
        loss_name: str = 'loss_tversky',
    ):
        super().__init__()
        self.smooth = smooth
        self.class_weight = ClassWeights(class_weight)
        self.loss_weight = loss_weight
        self.ignore_index = ignore_index
        self.alpha = alpha
        self.beta = beta
        self.loss_name = loss_name

    def _sums(self, logits: Tensor, label: Tensor) -> Tensor:
        counted = with_ignored(label, self.ignore_index)
        return overlap_and_size(logits.softmax(1), counted)

    def _total(self, sums: Tensor, logits: Tensor, label: Tensor) -> Tensor:
        overlap, predicted = sums.unbind(1)
        channels = overlap.shape[1]
        labelled = positive_pixels(label, channels)
        wrong = self.alpha * (predicted - overlap) + self.beta * (labelled - overlap)
        index = (overlap + self.smooth) / (overlap + wrong + self.smooth)
        loss = (1 - index).mean(0)
        table = self.class_weight(sums[:, 0])
        if table is not None:
            loss = loss * table
        return (
            self.loss_weight * without_class(loss, self.ignore_index).sum() / channels
        )
