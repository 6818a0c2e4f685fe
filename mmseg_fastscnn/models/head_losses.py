"""The losses of a head: whether they fit it, and those that need upsampled logits."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_fastscnn.models.distillation import DistillationLoss
from mmseg_fastscnn.models.losses import CrossEntropyLoss
from mmseg_fastscnn.structures import IGNORED


def check_losses(
    losses: Sequence[nn.Module], sampled: bool, single_channel: bool
) -> None:
    """Raise ValueError if a head's losses do not fit it, or would not train it.

    Args:
        losses: The head's losses, ours or a user's own.
        sampled: Whether a sampler selects pixels for them.
        single_channel: Whether the head predicts two classes by one channel.
    """
    if not losses:
        raise ValueError('loss_decode is an empty list; a head needs a loss.')
    of_labels = [x for x in losses if not isinstance(x, DistillationLoss)]
    if not of_labels:
        raise ValueError(
            'loss_decode has a DistillationLoss alone; it stands beside a loss of the '
            "labels, such as dict(type='CrossEntropyLoss')."
        )
    if sampled and single_channel:
        raise ValueError('sampler needs one channel per class; remove out_channels=1.')
    for loss in losses:
        kind, name = type(loss).__name__, getattr(loss, 'loss_name', None)
        if 'loss' not in str(name):
            raise ValueError(
                f"{kind} has loss_name={name!r}. A value without 'loss' in its name is "
                f'logged but not trained; set loss_name={f"loss_{name or kind}"!r}.'
            )
        if single_channel and not getattr(loss, 'use_sigmoid', True):
            raise ValueError(
                f'{kind} is of a softmax, which is 1 everywhere with out_channels=1. '
                f'Use a loss with use_sigmoid=True (LovaszLoss: '
                f"loss_type='binary'), or remove out_channels."
            )
        if sampled and loss in of_labels and not isinstance(loss, CrossEntropyLoss):
            raise ValueError(
                f'sampler selects pixels for CrossEntropyLoss only, and the head has '
                f'{kind}. Remove one of the two.'
            )


def loss_at_full_size(
    loss: nn.Module,
    threshold: float | None,
    logits: Tensor,
    label: Tensor,
    align_corners: bool,
    **options: Tensor,
) -> tuple[Tensor, Tensor]:
    """Upsample the logits; return the loss and the number of correct pixels.

    Args:
        loss: Any loss; it is called with logits (N, C, H, W), labels (N, H, W) int64.
        threshold: Probability over which a single channel means class 1, else None.
        logits: (N, C, h, w).
        label: (N, H, W) class of each pixel, or `IGNORED`.
        align_corners: Passed to the interpolation.
        options: Further arguments of the loss.
    """
    logits = F.interpolate(
        logits.float(), label.shape[1:], mode='bilinear', align_corners=align_corners
    )
    label = label.long()
    best = logits.argmax(1) if threshold is None else logits[:, 0].sigmoid() > threshold
    correct = (best == label) & (label != IGNORED)
    return loss(logits, label, **options), correct.sum()
