"""The loss of a band of `upsample_cross_entropy` as binary problems, one per class."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_fastscnn.ops import host
from mmseg_fastscnn.ops.bilinear import LEAST_LOG


def sigmoid_loss_(
    z: Tensor, class_z: Tensor, index: Tensor, valid: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return what `upsample_loss.softmax_loss_` does, for one binary problem per class.

    z and class_z are minus the logits here, and z is overwritten with 1 minus the
    gradient.

    The loss, binary cross entropy summed over the classes, is minus the logarithm of a
    product of probabilities: that each negative class is absent and that the positive
    one is there. As many factors as cannot underflow share one logarithm, which is the
    slowest operation here.
    """
    least = z.amin(0)
    hits = ((class_z <= least) & valid).sum()
    lowest = LEAST_LOG
    if z.device.type == host.HOST:
        lowest = min(float(least.min()), -float(class_z.max()), 0.0)  # or NaN
    together = int(LEAST_LOG / (lowest - 1)) if lowest > LEAST_LOG else 0
    if not together:
        loss = F.softplus(-z).sum(0) + class_z
    right = z.sigmoid_().scatter_(0, index[None], torch.sigmoid(-class_z)[None])
    if together:
        first, *others = right.split(-(-len(right) // together))
        product = first.clone()
        for factor in others:
            product[: len(factor)] *= factor
        loss = -product.log_().sum(0)
    class_slope = class_z.sigmoid()
    if weight is not None:
        loss += (weight - 1) * F.softplus(class_z)
        class_slope *= weight
    z.scatter_(0, index[None], (1 + class_slope)[None])
    if z.device.type != host.HOST or not valid.all():
        z.masked_fill_(~valid, 1)
        loss.mul_(valid)
    return loss.sum(), hits
