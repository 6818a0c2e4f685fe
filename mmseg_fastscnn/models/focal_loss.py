"""A loss that weighs well classified pixels down."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_fastscnn.models.checks import checked_reduction
from mmseg_fastscnn.models.class_weights import ClassWeights
from mmseg_fastscnn.models.losses import LossOfSums
from mmseg_fastscnn.models.targets import positive_channel, value_at
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import IGNORED


@MODELS.register_module()
class FocalLoss(LossOfSums):
    """Focal loss (Lin et al., https://arxiv.org/abs/1708.02002), one binary per class.

    With p the sigmoid of a logit, a positive term is -alpha (1 - p)^gamma log(p) and a
    negative one -(1 - alpha) p^gamma log(1 - p).

    Args:
        use_sigmoid: Only True; the softmax form is not defined by mmsegmentation.
        gamma: How strongly well classified pixels are weighed down, at least 0.
        alpha: Weight of positive terms, 0 to 1; one value or one per class.
        reduction: 'mean' over all pixels and classes, ignored pixels included as in
            mmsegmentation, or 'sum'. 'none' is averaged when losses are added up, so
            it is 'mean', too.
        class_weight: One factor per class, of positive and negative terms; see
            `ClassWeights`.
        loss_weight: Factor of the result.
        loss_name: The key it is logged under; must contain 'loss'.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        gamma: float = 2.0,
        alpha: float | Sequence[float] = 0.5,
        reduction: str = 'mean',
        class_weight: Sequence[float] | str | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_focal',
    ):
        super().__init__()
        if not use_sigmoid:
            raise ValueError(
                'FocalLoss has use_sigmoid=False, a form that mmsegmentation has not '
                'either. Set use_sigmoid=True.'
            )
        self.use_sigmoid = use_sigmoid
        self.gamma = gamma
        alphas = torch.tensor(alpha, dtype=torch.float32)
        self.register_buffer('alpha', alphas, persistent=False)
        self.reduction = checked_reduction(reduction)
        self.class_weight = ClassWeights(class_weight)
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def _sums(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the sum of each image, (N,): negative terms, and what differs."""
        index, positive = positive_channel(label, logits.shape[1])
        table = self.class_weight(logits)
        weight = torch.ones_like(logits[0, :, 0, 0]) if table is None else table
        alpha = self._alphas(logits)
        negative = weight * (1 - alpha)
        class_logit = value_at(logits, index)
        right = (weight * alpha)[index] * self._negative_term(-class_logit)
        wrong = negative[index] * self._negative_term(class_logit)
        loss = (negative.view(-1, 1, 1) * self._negative_term(logits)).sum(1)
        loss = loss + (right - wrong) * positive
        return (loss * (label != IGNORED)).sum((1, 2))

    def _alphas(self, logits: Tensor) -> Tensor:
        """Return alpha per channel, (C,)."""
        alpha = self.alpha.to(logits.device)
        if alpha.ndim and len(alpha) != logits.shape[1]:
            raise ValueError(
                f'alpha has {len(alpha)} values for {logits.shape[1]} classes; give '
                f'one value, or one per class.'
            )
        return alpha.expand(logits.shape[1])

    def _negative_term(self, logits: Tensor) -> Tensor:
        """Return -p^gamma log(1 - p); that of -x is the positive term of x."""
        # p^gamma as an exponential: its gradient is finite for a small p, too
        return torch.exp(-self.gamma * F.softplus(-logits)) * F.softplus(logits)

    def _total(self, sums: Tensor, logits: Tensor, label: Tensor) -> Tensor:
        terms = 1 if self.reduction == 'sum' else label.numel() * logits.shape[1]
        return self.loss_weight * sums.sum() / terms
