"""Cross entropy of upsampled logits without holding the upsampled logits.

At 1/8 resolution the logits of a batch are small; upsampled to the labels they are 64
times as many, and the loss's own intermediate results as many again. So the labels'
rows are walked over in bands: a band of logits is interpolated, its loss and gradient
are computed in the cache, and the gradient is carried back to the low resolution, which
is all that is kept.
"""

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmseg_fastscnn.ops.bilinear import Upsampling, has_triton

TOGETHER = 4
MODERATE = 20.0  # exp(-TOGETHER * MODERATE) is still a normal float32


def upsample_cross_entropy(
    logits: Tensor,
    label: Tensor,
    use_sigmoid: bool,
    class_weight: Tensor | None = None,
    ignore_index: int = 255,
    align_corners: bool = False,
) -> tuple[Tensor, Tensor]:
    """Sum the cross entropy of bilinearly upsampled logits over the labelled pixels.

    Args:
        logits: (N, C, h, w); may require gradients.
        label: (N, H, W) class of each pixel, of any integer type.
        use_sigmoid: One binary problem a class, summed, instead of one softmax.
        class_weight: (C,). Softmax: factor of the pixels of a class; sigmoid: factor
            of the positive term.
        ignore_index: The label that is not counted.
        align_corners: Of the interpolation.

    Returns:
        The sum (a scalar), and the number of pixels whose best logit is their class
        (of equal best logits any may be the pixel's).
    """
    form = UpsampleCrossEntropy
    if has_triton(logits):
        from mmseg_fastscnn.ops.upsample_triton import TritonCrossEntropy

        form = TritonCrossEntropy
    return form.apply(
        logits, label, use_sigmoid, class_weight, ignore_index, align_corners
    )


class UpsampleCrossEntropy(torch.autograd.Function):
    """See `upsample_cross_entropy`; the gradient is computed with the value."""

    @staticmethod
    def forward(
        ctx, logits, label, use_sigmoid, class_weight, ignore_index, align_corners
    ):
        pixel_loss = sigmoid_loss_ if use_sigmoid else softmax_loss_
        needs_grad = ctx.needs_input_grad[0]
        gradient = torch.zeros_like(logits, dtype=torch.float32)
        sums, hits = [], []
        with torch.autocast(logits.device.type, enabled=False):
            up = Upsampling(logits, [label.shape[1:]], align_corners)
            for n, image in enumerate(logits.float()):
                wide = up.widen(image)
                wide_gradient = torch.zeros_like(wide)
                for band in up.bands:
                    z = band.weights @ wide[:, band.low]  # (C, rows, W)
                    valid, index = split(label[n, band.rows], ignore_index)
                    own, best = z.gather(0, index[None])[0], z.amax(0)
                    hits.append(((own >= best) & valid).sum())
                    weight = None if class_weight is None else class_weight[index]
                    sums.append(pixel_loss(z, own, best, index, valid, weight))
                    if needs_grad:
                        wide_gradient[:, band.low] += band.weights.T @ z
                if needs_grad:
                    gradient[n] = up.narrow(wide_gradient)
        ctx.save_for_backward(gradient)
        ctx.dtype = logits.dtype
        total, correct = torch.stack(sums).sum(), sum(hits)
        ctx.mark_non_differentiable(correct)
        return total, correct

    @staticmethod
    @once_differentiable
    def backward(ctx, factor, _):
        (gradient,) = ctx.saved_tensors
        return (gradient * factor).to(ctx.dtype), None, None, None, None, None


@torch.no_grad()
def upsample_own_probability(
    logits: Tensor, label: Tensor, ignore_index: int = 255, align_corners: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the softmax probability of each pixel's own class, and the correct pixels.

    Arguments as above. The first is (N, H, W) float32, of class 0 where the label is
    ignored; the second a number.
    """
    hits = []
    result = torch.empty(label.shape, device=logits.device)
    with torch.autocast(logits.device.type, enabled=False):
        up = Upsampling(logits, [label.shape[1:]], align_corners)
        for n, image in enumerate(logits.float()):
            wide = up.widen(image)
            for band in up.bands:
                z = band.weights @ wide[:, band.low]
                valid, index = split(label[n, band.rows], ignore_index)
                own = z.gather(0, index[None])[0]
                hits.append(((own >= z.amax(0)) & valid).sum())
                result[n, band.rows] = (own - z.logsumexp(0)).exp()
    return result, sum(hits)


def split(label: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Return which pixels are labelled, and their class (0 for the others)."""
    label = label.long()
    valid = label != ignore_index
    return valid, label.masked_fill(~valid, 0)


def softmax_loss_(z, own, best, index, valid, weight) -> Tensor:
    """Return the summed loss of a band, and leave its gradient in `z` (C, rows, W)."""
    weight = valid.float() if weight is None else weight * valid
    z.sub_(best).exp_()
    normaliser = z.sum(0)
    loss = (normaliser.log() + best - own).mul_(weight).sum()
    z.mul_(weight / normaliser)
    z.scatter_(0, index[None], (z.gather(0, index[None])[0] - weight)[None])
    return loss


def sigmoid_loss_(z, own, best, index, valid, weight) -> Tensor:
    """Likewise; binary cross entropy summed over the classes.

    The loss is minus the logarithm of a product of probabilities, of each negative
    class to be absent and of the positive one to be there. So one logarithm serves
    `TOGETHER` classes, where the product of theirs cannot underflow.
    """
    extreme = max(best.max(), -own.min()) > MODERATE
    if extreme:
        loss = F.softplus(z).sum(0) - own
    right = z.neg_().sigmoid_()
    own_right = own.sigmoid()
    right.scatter_(0, index[None], own_right[None])
    if not extreme:
        groups, rest = len(right) // TOGETHER, len(right) % TOGETHER
        grouped, single = right.split([TOGETHER * groups, rest])
        products = reduce(torch.mul, grouped.unflatten(0, (TOGETHER, groups)))
        loss = -(products.log_().sum(0) + single.log().sum(0))
    torch.sub(1, right, out=z)
    own_gradient = own_right - 1
    if weight is not None:
        loss += (weight - 1) * F.softplus(-own)
        own_gradient *= weight
    z.scatter_(0, index[None], own_gradient[None])
    if not valid.all():
        z.mul_(valid)
        loss.mul_(valid)
    return loss.sum()
