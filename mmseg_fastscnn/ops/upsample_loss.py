"""Cross entropy of upsampled logits without holding the upsampled logits.

At 1/8 resolution the logits of a batch are small. Upsampled to the labels' size they
are 64 times as many, and the intermediate results of the loss are as many again. So the
rows of the labels are processed in bands: a band of logits is interpolated, its loss
and gradient are computed while it is in the cache, and the gradient is carried back to
the low resolution, which is all that is kept.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmseg_fastscnn.ops.bilinear import LEAST_LOG, Band, Upsampling
from mmseg_fastscnn.ops.has_triton import has_triton
from mmseg_fastscnn.ops.host import on_host
from mmseg_fastscnn.structures import IGNORED


def upsample_cross_entropy(
    logits: Tensor,
    label: Tensor,
    use_sigmoid: bool,
    class_weight: Tensor | None = None,
    align_corners: bool = False,
) -> tuple[Tensor, Tensor]:
    """Sum the cross entropy of bilinearly upsampled logits over the labelled pixels.

    Args:
        logits: (N, C, h, w); may require gradients.
        label: (N, H, W) class of each pixel, or `IGNORED`, of any integer type.
        use_sigmoid: One binary problem per class, summed, instead of one softmax.
        class_weight: (C,). Softmax: factor of the pixels of a class. Sigmoid: factor
            of the positive term.
        align_corners: Passed to the interpolation.

    Returns:
        The sum (a scalar), and the number of pixels whose best logit is that of their
        class (where several logits are equally good, any of them counts).
    """
    form = UpsampleCrossEntropy
    if has_triton(logits):
        from mmseg_fastscnn.ops.upsample_triton import TritonCrossEntropy

        form = TritonCrossEntropy
    return form.apply(logits, label, use_sigmoid, class_weight, align_corners)


class UpsampleCrossEntropy(torch.autograd.Function):
    """See `upsample_cross_entropy`; the gradient is computed with the value."""

    @staticmethod
    def forward(ctx, logits, label, use_sigmoid, class_weight, align_corners):
        pixel_loss = sigmoid_loss_ if use_sigmoid else softmax_loss_
        needs_grad = ctx.needs_input_grad[0]
        gradient = torch.zeros_like(logits, dtype=torch.float32)
        sums, hits = [], []
        with torch.autocast(logits.device.type, enabled=False):
            up = Upsampling(logits, [label.shape[1:]], align_corners)
            for n, image in enumerate(logits.float()):
                image = -image if use_sigmoid else image - image.amax(0)
                slopes = gradient.new_zeros((*image.shape[:2], up.widths[-1]))
                for band, z, own, index, valid in walk(image, label[n], up):
                    weight = None if class_weight is None else class_weight[index]
                    loss, hit = pixel_loss(z, own, index, valid, weight)
                    sums.append(loss)
                    hits.append(hit)
                    if needs_grad:
                        slope = band.weights.T @ z
                        if use_sigmoid:  # z is 1 minus the gradient
                            slope = band.weights.sum(0)[:, None] - slope
                        slopes[:, band.low] += slope
                if needs_grad:
                    gradient[n] = up.narrow(slopes)
        ctx.save_for_backward(gradient)
        ctx.dtype = logits.dtype
        total, correct = torch.stack(sums).sum(), sum(hits)
        ctx.mark_non_differentiable(correct)
        return total, correct

    @staticmethod
    @once_differentiable
    def backward(ctx, factor, _):
        (gradient,) = ctx.saved_tensors
        return (gradient * factor).to(ctx.dtype), None, None, None, None


def walk(
    image: Tensor, label: Tensor, up: Upsampling
) -> Iterator[tuple[Band, Tensor, Tensor, Tensor, Tensor]]:
    """Interpolate (C, h, w) to the size of `label`, one band after the other.

    Yields:
        The band; its values z (C, rows, W); and for each pixel, (rows, W): the value
        of its class, its class (0 where it is ignored), and whether it counts.
    """
    wide = up.widen(image)
    for band in up.bands:
        z = band.weights @ wide[:, band.low]
        index = label[band.rows].long()
        valid = index != IGNORED
        index = index.masked_fill(~valid, 0)
        yield band, z, z.gather(0, index[None])[0], index, valid


def softmax_loss_(
    z: Tensor, own: Tensor, index: Tensor, valid: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the summed loss of a band and its number of correct pixels.

    Args:
        z: (C, rows, W) Logits minus a per-pixel constant near their maximum;
            overwritten with the gradient.
        own: (rows, W) Logit of each pixel's class, minus the same constant.
        index: (rows, W) Class of each pixel.
        valid: (rows, W) False where a pixel does not count.
        weight: (rows, W) Factor of each pixel, or None.
    """
    weight = valid.float() if weight is None else weight * valid
    best = z.amax(0)
    hits = ((own >= best) & valid).sum()
    # the sum of exponentials might underflow to zero; reading the least would wait
    if not on_host(z.device) or best.min() < LEAST_LOG:
        z, own = z.sub_(best), own - best
    normaliser = z.exp_().sum(0)
    loss = (normaliser.log() - own).mul_(weight).sum()
    z.mul_(weight / normaliser)
    z.scatter_(0, index[None], (z.gather(0, index[None])[0] - weight)[None])
    return loss, hits


def sigmoid_loss_(
    z: Tensor, own: Tensor, index: Tensor, valid: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return what `softmax_loss_` does, for one binary problem per class.

    z and own are minus the logits here, and z is overwritten with 1 minus the gradient.

    The loss, binary cross entropy summed over the classes, is minus the logarithm of a
    product of probabilities: that each negative class is absent and that the positive
    one is there. As many factors as cannot underflow share one logarithm, which is the
    slowest operation here.
    """
    least = z.amin(0)
    hits = ((own <= least) & valid).sum()
    lowest = LEAST_LOG
    if on_host(z.device):
        lowest = min(float(least.min()), -float(own.max()), 0.0)  # or NaN
    together = int(LEAST_LOG / (lowest - 1)) if lowest > LEAST_LOG else 0
    if not together:
        loss = F.softplus(-z).sum(0) + own
    right = z.sigmoid_().scatter_(0, index[None], torch.sigmoid(-own)[None])
    if together:
        first, *others = right.split(-(-len(right) // together))
        product = first.clone()
        for factor in others:
            product[: len(factor)] *= factor
        loss = -product.log_().sum(0)
    own_slope = own.sigmoid()
    if weight is not None:
        loss += (weight - 1) * F.softplus(own)
        own_slope *= weight
    z.scatter_(0, index[None], (1 + own_slope)[None])
    if not on_host(z.device) or not valid.all():
        z.masked_fill_(~valid, 1)
        loss.mul_(valid)
    return loss.sum(), hits
