"""A loss that sorts pixels: the surrogate of the IoU."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_fastscnn.models.checks import checked_reduction
from mmseg_fastscnn.models.class_weights import ClassWeights
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import IGNORED


@MODELS.register_module()
class LovaszLoss(nn.Module):
    """Lovasz extension of 1 minus the IoU (https://arxiv.org/abs/1705.08790).

    It sorts all pixels of the batch for each class, so it has no form in bands: the
    logits are upsampled and held.

    Args:
        loss_type: 'multi_class', of the softmax; or 'binary', the hinge form for one
            channel.
        classes: Which classes to average: those 'present' in the labels, 'all', or
            a list.
        per_image: Compute the loss of each image instead of that of the batch.
        reduction: 'mean' or 'sum' over the images if `per_image`; 'none' is averaged
            when losses are added up, so it is 'mean', too.
        class_weight: One factor per class; see `ClassWeights`. Multi-class only.
        loss_weight: Factor of the result.
        loss_name: The key it is logged under; must contain 'loss'.
    """

    def __init__(
        self,
        loss_type: str = 'multi_class',
        classes: str | Sequence[int] = 'present',
        per_image: bool = False,
        reduction: str = 'mean',
        class_weight: Sequence[float] | str | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_lovasz',
    ):
        super().__init__()
        if loss_type not in ('multi_class', 'binary'):
            raise ValueError(
                f"loss_type is {loss_type!r}; it must be 'multi_class' or 'binary'."
            )
        if isinstance(classes, str) and classes not in ('present', 'all'):
            raise ValueError(
                f"classes is {classes!r}; it must be 'present', 'all' or a list of ids."
            )
        self.use_sigmoid = loss_type == 'binary'
        self.classes = classes
        self.per_image = per_image
        self.reduction = checked_reduction(reduction)
        self.class_weight = ClassWeights(class_weight)
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the scalar loss of logits (N, C, H, W), labels (N, H, W).

        Raises:
            ValueError: The binary form gets more than one channel.
        """
        if self.use_sigmoid and logits.shape[1] > 1:
            raise ValueError(
                f"LovaszLoss(loss_type='binary') got {logits.shape[1]} channels and "
                f'needs one. Set out_channels=1 on the head, or use '
                f"loss_type='multi_class'."
            )
        one_loss = self._hinge if self.use_sigmoid else self._multi_class
        if not self.per_image:
            return self.loss_weight * one_loss(logits, label)
        images = zip(logits.split(1), label.split(1), strict=True)
        losses = torch.stack([one_loss(*image) for image in images])
        return self.loss_weight * (
            losses.sum() if self.reduction == 'sum' else losses.mean()
        )

    def _hinge(self, logits: Tensor, label: Tensor) -> Tensor:
        positive = label == 1
        errors = F.relu(1 - logits[:, 0] * (2.0 * positive - 1))
        return lovasz_extension(errors * (label != IGNORED), positive)

    def _multi_class(self, logits: Tensor, label: Tensor) -> Tensor:
        probability, valid = logits.softmax(1), label != IGNORED
        listed = not isinstance(self.classes, str)
        table = self.class_weight(logits)
        losses, counted = [], []
        for k in self.classes if listed else range(logits.shape[1]):
            positive = label == k
            errors = (positive.float() - probability[:, k]).abs() * valid
            loss = lovasz_extension(errors, positive)
            losses.append(loss if table is None else loss * table[k])
            counted.append(positive.any() | (self.classes != 'present'))
        counted = torch.stack(counted)
        return (torch.stack(losses) * counted).sum() / counted.sum().clamp(min=1)


def lovasz_extension(errors: Tensor, positive: Tensor) -> Tensor:
    """Return the scalar product of the sorted errors and the slopes of 1 minus IoU.

    Args:
        errors: How wrong each pixel is, at least 0; 0 where it does not count: those
            come last, and add nothing.
        positive: Whether each pixel is of the class, in the same shape.
    """
    errors, positive = errors.flatten(), positive.flatten()
    order = errors.detach().argsort(descending=True, stable=True)
    found = positive[order]
    total = found.sum()
    # counts, so that the sum is exact and the same every time
    missed, wrong = found.cumsum(0), (~found).cumsum(0)
    loss = 1 - (total - missed).double() / (total + wrong)
    loss[1:] = loss[1:] - loss[:-1]  # slopes: differences near 1, hence the doubles
    slopes = torch.zeros_like(errors).scatter(0, order, loss.to(errors.dtype))
    return (errors * slopes).sum()
