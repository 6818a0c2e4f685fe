"""Cross entropy, in two forms with the same value and gradients.

`loss(logits, label)` reads logits (N, C, H, W) of the labels' size. Training uses
`loss.of_upsampled(logits, label)`, which reads logits (N, C, h, w) of any other size
and never holds the upsampled ones. Most other losses have both forms, too.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_fastscnn.models.class_weights import ClassWeights
from mmseg_fastscnn.models.targets import positive_channel, value_at
from mmseg_fastscnn.ops.upsample_loss import upsample_cross_entropy
from mmseg_fastscnn.ops.upsample_sums import upsample_sums
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import IGNORED


@MODELS.register_module()
class CrossEntropyLoss(nn.Module):
    """Cross entropy, softmax or sigmoid.

    Args:
        use_sigmoid: One binary problem per class instead of one softmax.
        class_weight: One factor per class; see `ClassWeights`. Softmax: weighs the
            pixels of that class, in the sum and in the divisor. Sigmoid: weighs the
            positive term.
        loss_weight: Factor of the result.
        loss_name: The key it is logged under; must contain 'loss'.
        avg_non_ignore: Divide by the number of labelled pixels; by default by that of
            all pixels, as mmsegmentation's released Fast-SCNN was trained.
    """

    def __init__(
        self,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | str | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_ce',
        avg_non_ignore: bool = False,
    ):
        super().__init__()
        self.use_sigmoid = use_sigmoid
        self.class_weight = ClassWeights(class_weight)
        self.loss_weight = loss_weight
        self.loss_name = loss_name
        self.avg_non_ignore = avg_non_ignore

    def forward(
        self, logits: Tensor, label: Tensor, counted: Tensor | None = None
    ) -> Tensor:
        """Return the scalar loss.

        Args:
            logits: (N, C, H, W).
            label: (N, H, W) class of each pixel, or `IGNORED`.
            counted: (N, H, W) bool, the pixels to sum over, where a sampler selects
                some; the divisor stays that of all pixels.
        """
        loss = self.pixel_loss(logits, label)
        if counted is not None:
            loss = loss * counted
        return self.loss_weight * loss.sum() / self._divisor(logits, label)

    def of_upsampled(
        self,
        logits: Tensor,
        label: Tensor,
        align_corners: bool = False,
        counted: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the scalar loss of upsampled logits, and the number of correct pixels.

        Args:
            logits: (N, C, h, w) with two or more channels.
            label: (N, H, W), of any integer type.
            align_corners: Passed to the interpolation.
            counted: See `forward`; only these are counted as correct, too.
        """
        target = label if counted is None else label.masked_fill(~counted, IGNORED)
        table = self.class_weight(logits)
        total, correct = upsample_cross_entropy(
            logits, target, self.use_sigmoid, table, align_corners
        )
        divisor = self._divisor(logits, label)
        return self.loss_weight * total / divisor, correct

    def pixel_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the loss of each pixel, (N, H, W), zero where it is ignored."""
        index, positive = positive_channel(label, logits.shape[1])
        class_logit = value_at(logits, index)
        table = self.class_weight(logits)
        weight = 1 if table is None else table[index]
        if not self.use_sigmoid:
            return weight * (logits.logsumexp(1) - class_logit) * positive
        # softplus(x) is the loss of a negative class, softplus(-x) = softplus(x) - x
        # that of a positive one, which alone takes the class weight.
        loss = F.softplus(logits).sum(1) - class_logit * positive
        if table is not None:
            loss = loss + (weight - 1) * F.softplus(-class_logit) * positive
        return loss * (label != IGNORED)

    def _divisor(self, logits: Tensor, label: Tensor) -> Tensor | int:
        """What the sum is divided by; never zero.

        A pixel counts 1 (softmax: its class weight); an ignored one counts 1 or, with
        `avg_non_ignore`, 0. Sigmoid has C terms per pixel and counts each.
        """
        table = None if self.use_sigmoid else self.class_weight(logits)
        if table is None:
            terms = logits.shape[1] if self.use_sigmoid else 1
            if self.avg_non_ignore:
                return ((label != IGNORED).sum() * terms).clamp(min=1)
            return label.numel() * terms
        valid = label != IGNORED
        weight = table[label.masked_fill(~valid, 0).long()]
        weight = torch.where(valid, weight, 0.0 if self.avg_non_ignore else 1.0)
        return weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)


class LossOfSums(nn.Module):
    """Both forms of a loss that is computed from sums over the pixels of each image.

    A derived class has two methods: `_sums(logits, label)` returns these sums,
    (N, ...), of logits (N, C, H, W), and `_total(sums, logits, label)` the scalar loss,
    where the logits may have any size.
    """

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the scalar loss of logits (N, C, H, W), labels (N, H, W)."""
        return self._total(self._sums(logits, label), logits, label)

    def of_upsampled(
        self, logits: Tensor, label: Tensor, align_corners: bool = False
    ) -> tuple[Tensor, Tensor]:
        """See `CrossEntropyLoss.of_upsampled`."""
        sums, correct = upsample_sums(self._sums, logits, label, align_corners)
        return self._total(sums, logits, label), correct
