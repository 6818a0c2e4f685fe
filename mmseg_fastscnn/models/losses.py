"""Pixel losses, in two forms with the same value and gradients.

`loss(logits, label)` reads logits (N, C, H, W) of the labels' size. It is one
pixel-wise difference, a normaliser minus the logit of the pixel's own class, so none
needs a one-hot label and all have a deterministic backward. What training uses is
`loss.of_upsampled(logits, label)`, which reads logits (N, C, h, w) of any other size.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_fastscnn.ops.upsample_loss import (
    upsample_cross_entropy,
    upsample_own_probability,
)
from mmseg_fastscnn.registry import MODELS


def own_logit(logits: Tensor, label: Tensor, valid: Tensor) -> Tensor:
    """Logit of each pixel's class, (N, H, W); of class 0 where not `valid`."""
    return logits.gather(1, label.masked_fill(~valid, 0)[:, None])[:, 0]


def softmax_loss(logits: Tensor, own: Tensor, weight: Tensor | None) -> Tensor:
    """Pixel-wise cross entropy of the softmax; `weight` (N, H, W) per pixel."""
    loss = logits.logsumexp(1) - own
    return loss if weight is None else weight * loss


def sigmoid_loss(logits: Tensor, own: Tensor, weight: Tensor | None) -> Tensor:
    """Binary cross entropy summed over the C classes, one of them positive.

    softplus(x) is the loss of a negative class and softplus(-x) = softplus(x) - x
    of the positive one, which alone takes the class weight (`pos_weight` of
    `F.binary_cross_entropy_with_logits`).
    """
    loss = F.softplus(logits).sum(1) - own
    return loss if weight is None else loss + (weight - 1) * F.softplus(-own)


@MODELS.register_module()
class CrossEntropyLoss(nn.Module):
    """Cross entropy, softmax or sigmoid.

    Args:
        use_sigmoid: One binary problem a class instead of one softmax.
        class_weight: One factor a class. Softmax: weighs the pixels of that class,
            in the sum and in the divisor. Sigmoid: weighs the positive term.
        loss_weight: Factor on the result.
        loss_name: The key it is logged under; must contain 'loss'.
        avg_non_ignore: Divide by the labelled pixels; by default by all pixels, as
            mmsegmentation's released Fast-SCNN was trained.
    """

    def __init__(
        self,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_ce',
        avg_non_ignore: bool = False,
    ):
        super().__init__()
        self.use_sigmoid = use_sigmoid
        self.class_weight = class_weight
        self.loss_weight = loss_weight
        self.loss_name = loss_name
        self.avg_non_ignore = avg_non_ignore

    def forward(self, logits: Tensor, label: Tensor, ignore_index: int = 255) -> Tensor:
        """Return the scalar loss."""
        valid = label != ignore_index
        own = own_logit(logits, label, valid)
        table = class_table(self.class_weight, logits)
        weight = pixel_weight(table, label, valid)
        pixel_loss = sigmoid_loss if self.use_sigmoid else softmax_loss
        total = (pixel_loss(logits, own, weight) * valid).sum()
        divisor = self._divisor(logits.shape[1], valid, weight)
        return self.loss_weight * total / divisor

    def of_upsampled(
        self,
        logits: Tensor,
        label: Tensor,
        ignore_index: int = 255,
        align_corners: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return the scalar loss of upsampled logits, and the number of correct pixels.

        Args:
            logits: (N, C, h, w).
            label: (N, H, W), of any integer type.
            ignore_index: The label that is not counted.
            align_corners: Of the interpolation.
        """
        table = class_table(self.class_weight, logits)
        total, correct = upsample_cross_entropy(
            logits, label, self.use_sigmoid, table, ignore_index, align_corners
        )
        valid = label != ignore_index
        weight = None if self.use_sigmoid else pixel_weight(table, label, valid)
        divisor = self._divisor(logits.shape[1], valid, weight)
        return self.loss_weight * total / divisor, correct

    def _divisor(self, classes: int, valid: Tensor, weight: Tensor | None) -> Tensor:
        """What the sum is divided by; never zero.

        A pixel counts 1 (softmax: its class weight), an ignored one 1 or, with
        `avg_non_ignore`, 0. Sigmoid has C terms a pixel and counts each.
        """
        count = valid if self.avg_non_ignore else torch.ones_like(valid)
        if self.use_sigmoid:
            return (count.sum() * classes).clamp(min=1)
        if weight is None:
            return count.sum().clamp(min=1)
        weight = torch.where(valid, weight, torch.ones_like(weight))
        return (count * weight).sum().clamp(min=torch.finfo(weight.dtype).tiny)


def class_table(class_weight: Sequence[float] | None, logits: Tensor) -> Tensor | None:
    """The class weights as a tensor (C,) beside the logits; None without any.

    Raises:
        ValueError: There is not one weight a class.
    """
    if class_weight is None:
        return None
    if len(class_weight) != logits.shape[1]:
        raise ValueError(
            f'class_weight has {len(class_weight)} values for {logits.shape[1]} '
            f'classes; give one a class.'
        )
    return torch.as_tensor(class_weight, dtype=torch.float32, device=logits.device)


def pixel_weight(table: Tensor | None, label: Tensor, valid: Tensor) -> Tensor | None:
    """Class weight of each pixel, (N, H, W); None without class weights."""
    return None if table is None else table[label.masked_fill(~valid, 0).long()]


@MODELS.register_module()
class OhemCrossEntropy(nn.Module):
    """Softmax cross entropy over the hard pixels only (online hard example mining).

    A pixel is hard if the probability of its own class is under `thres`, or under
    that of the `min_kept`-th hardest pixel of the batch, so that enough remain.

    Args:
        thres: Probability in (0, 1].
        min_kept: Pixels of the batch kept at least.
        class_weight: One factor a class.
        loss_weight: Factor on the result.
        loss_name: The key it is logged under; must contain 'loss'.
    """

    def __init__(
        self,
        thres: float = 0.7,
        min_kept: int = 100_000,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_ohem',
    ):
        super().__init__()
        self.thres = thres
        self.min_kept = min_kept
        self.class_weight = class_weight
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, logits: Tensor, label: Tensor, ignore_index: int = 255) -> Tensor:
        """Return the scalar loss; zero, with gradients, where nothing is labelled."""
        valid = label != ignore_index
        if not valid.any():
            return logits.sum() * 0
        table = class_table(self.class_weight, logits)
        weight = pixel_weight(table, label, valid)
        own = own_logit(logits, label, valid)
        with torch.no_grad():
            hard = self._hard((own - logits.logsumexp(1)).exp(), valid)
        loss = softmax_loss(logits, own, weight)[hard]
        return self.loss_weight * loss.sum() / max(loss.numel(), 1)

    def of_upsampled(
        self,
        logits: Tensor,
        label: Tensor,
        ignore_index: int = 255,
        align_corners: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """See `CrossEntropyLoss`. Walks twice: for the probabilities, for the loss."""
        where = dict(ignore_index=ignore_index, align_corners=align_corners)
        valid = label != ignore_index
        if not valid.any():
            return logits.sum() * 0, valid.sum()
        probability, correct = upsample_own_probability(logits, label, **where)
        hard = self._hard(probability, valid)
        total, _ = upsample_cross_entropy(
            logits,
            label.long().masked_fill(~hard, ignore_index),
            use_sigmoid=False,
            class_weight=class_table(self.class_weight, logits),
            **where,
        )
        return self.loss_weight * total / hard.sum().clamp(min=1), correct

    def _hard(self, probability: Tensor, valid: Tensor) -> Tensor:
        """Which pixels are hard, given the probability of each one's own class."""
        probability = probability[valid]
        rank = min(self.min_kept + 1, probability.numel())
        bar = probability.kthvalue(rank).values.clamp(min=self.thres)
        return valid.masked_scatter(valid, probability < bar)
