"""Pixel losses. All read logits (N, C, H, W) and labels (N, H, W), at one size.

Every form is one pixel-wise difference, a normaliser minus the logit of the pixel's
own class, so none needs a one-hot label and all have a deterministic backward.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
        weight = pixel_weight(self.class_weight, logits, label, valid)
        pixel_loss = sigmoid_loss if self.use_sigmoid else softmax_loss
        total = (pixel_loss(logits, own, weight) * valid).sum()
        return self.loss_weight * total / self._divisor(logits, valid, weight)

    def _divisor(self, logits: Tensor, valid: Tensor, weight: Tensor | None) -> Tensor:
        """What the sum is divided by; never zero.

        A pixel counts 1 (softmax: its class weight), an ignored one 1 or, with
        `avg_non_ignore`, 0. Sigmoid has C terms a pixel and counts each.
        """
        count = valid if self.avg_non_ignore else torch.ones_like(valid)
        if self.use_sigmoid:
            return (count.sum() * logits.shape[1]).clamp(min=1)
        if weight is None:
            return count.sum().clamp(min=1)
        weight = torch.where(valid, weight, torch.ones_like(weight))
        return (count * weight).sum().clamp(min=torch.finfo(weight.dtype).tiny)


def pixel_weight(
    class_weight: Sequence[float] | None, logits: Tensor, label: Tensor, valid: Tensor
) -> Tensor | None:
    """Class weight of each pixel, (N, H, W); None without class weights.

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
    table = torch.as_tensor(class_weight, dtype=torch.float32, device=logits.device)
    return table[label.masked_fill(~valid, 0)]


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
        weight = pixel_weight(self.class_weight, logits, label, valid)
        own = own_logit(logits, label, valid)
        with torch.no_grad():
            probability = (own - logits.logsumexp(1)).exp()[valid]
            rank = min(self.min_kept + 1, probability.numel())
            bar = probability.kthvalue(rank).values.clamp(min=self.thres)
            hard = valid.masked_scatter(valid, probability < bar)
        loss = softmax_loss(logits, own, weight)[hard]
        return self.loss_weight * loss.sum() / max(loss.numel(), 1)
