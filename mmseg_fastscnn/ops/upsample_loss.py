"""Cross entropy of upsampled logits without holding the upsampled logits.

At 1/8 resolution the logits of a batch are small. Upsampled to the labels' size they
are 64 times as many, and the intermediate results of the loss are as many again. So the
rows of the labels are processed in bands: a band of logits is interpolated, its loss
and gradient are computed while it is in the cache, and the gradient is carried back to
the low resolution, which is all that is kept.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmseg_fastscnn.ops import host
from mmseg_fastscnn.ops.bilinear import LEAST_LOG, Band, Upsampling, kept_matrix
from mmseg_fastscnn.ops.has_triton import triton_works
from mmseg_fastscnn.ops.sigmoid_loss import sigmoid_loss_
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
    if logits.is_cuda and triton_works(logits.device):
        from mmseg_fastscnn.ops.upsample_triton import TritonCrossEntropy

        form = TritonCrossEntropy
    return form.apply(logits, label, use_sigmoid, class_weight, align_corners)


class UpsampleCrossEntropy(torch.autograd.Function):
    """See `upsample_cross_entropy`; the gradient is computed with the value."""

    @staticmethod
    def forward(ctx, logits, label, use_sigmoid, class_weight, align_corners):
        band_loss = sigmoid_loss_ if use_sigmoid else softmax_loss_
        gradient = torch.zeros_like(logits, dtype=torch.float32)
        sums, hits = [], []
        with torch.autocast(logits.device.type, enabled=False):
            up = LabelBands(logits, label, align_corners)
            for n, image in enumerate(logits.float()):
                image = -image if use_sigmoid else image - image.amax(0)
                slopes = image.new_zeros((*image.shape[:2], label.shape[2]))
                for band, z, class_z, index, valid in up.of_image(image, label[n]):
                    weight = None if class_weight is None else class_weight[index]
                    loss, hit = band_loss(z, class_z, index, valid, weight)
                    sums.append(loss)
                    hits.append(hit)
                    if ctx.needs_input_grad[0]:
                        slope = band.weights.T @ z
                        if use_sigmoid:  # z is 1 minus the gradient
                            slope = band.weights.sum(0)[:, None] - slope
                        slopes[:, band.source] += slope
                if ctx.needs_input_grad[0]:
                    gradient[n] = slopes @ up.columns
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


class LabelBands(Upsampling):
    """Logits interpolated to the size of labels, a band of rows at a time.

    Args:
        logits: (N, C, h, w): their shape and device.
        label: (N, H, W): its shape.
        align_corners: Passed to the interpolation.

    Attributes:
        columns: (W, w) The interpolation of a row: `slopes @ columns` carries a
            gradient (C, h, W) back to (C, h, w).
    """

    def __init__(self, logits: Tensor, label: Tensor, align_corners: bool):
        super().__init__(logits, [label.shape[1:]], align_corners)
        widths = logits.shape[3], label.shape[2]
        self.columns = kept_matrix(*widths, align_corners, logits.device)

    def of_image(
        self, image: Tensor, label: Tensor
    ) -> Iterator[tuple[Band, Tensor, Tensor, Tensor, Tensor]]:
        """Interpolate an image (C, h, w) to the size of its label (H, W).

        Yields:
            The band; its values z (C, rows, W); and for each pixel, (rows, W): z at its
            class, its class (0 where it is ignored), and whether it counts.
        """
        wide = self.widen(image)
        for band in self.bands:
            z = band.weights @ wide[:, band.source]
            index = label[band.rows].long()
            valid = index != IGNORED
            index = index.masked_fill(~valid, 0)
            yield band, z, z.gather(0, index[None])[0], index, valid


def softmax_loss_(
    z: Tensor, class_z: Tensor, index: Tensor, valid: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the summed loss of a band and its number of correct pixels.

    Args:
        z: (C, rows, W) Logits minus a per-pixel constant near their maximum;
            overwritten with the gradient.
        class_z: (rows, W) Logit of each pixel's class, minus the same constant.
        index: (rows, W) Class of each pixel.
        valid: (rows, W) False where a pixel does not count.
        weight: (rows, W) Factor of each pixel, or None.
    """
    weight = valid.float() if weight is None else weight * valid
    best = z.amax(0)
    hits = ((class_z >= best) & valid).sum()
    # the sum of exponentials might underflow to zero; reading the least would wait
    if z.device.type != host.HOST or best.min() < LEAST_LOG:
        z, class_z = z.sub_(best), class_z - best
    normaliser = z.exp_().sum(0)
    loss = (normaliser.log() - class_z).mul_(weight).sum()
    z.mul_(weight / normaliser)
    z.scatter_(0, index[None], (z.gather(0, index[None])[0] - weight)[None])
    return loss, hits
