"""Anything that is computed pixel by pixel from upsampled logits, a band at a time.

`upsample_cross_entropy` computes its gradient by hand, with the value. The functions
here take the pixels' computation as an argument and leave its gradient to autograd, one
band at a time: half as fast, and no more memory.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmseg_fastscnn.ops.upsample_loss import LabelBands

# (logits (N, C, H, W), label (N, H, W)) -> a result with N in front
PixelFunction = Callable[[Tensor, Tensor], Tensor]


def upsample_sums(
    pixel_sums: PixelFunction, logits: Tensor, label: Tensor, align_corners: bool
) -> tuple[Tensor, Tensor]:
    """Sum over the pixels of bilinearly upsampled logits, image by image.

    Args:
        pixel_sums: Returns sums over the pixels, (N, ...), differentiable in the
            logits. The sums over an image must be those over its bands, added up.
        logits: (N, C, h, w); may require gradients.
        label: (N, H, W) class of each pixel, or `IGNORED`, of any integer type.
        align_corners: Passed to the interpolation.

    Returns:
        The sums, (N, ...), and the number of pixels whose best logit is that of their
        class.
    """
    return UpsampleSums.apply(logits, label, pixel_sums, align_corners)


class UpsampleSums(torch.autograd.Function):
    """See `upsample_sums`; the backward pass interpolates each band once more."""

    @staticmethod
    def forward(ctx, logits, label, pixel_sums, align_corners):
        ctx.save_for_backward(logits, label)
        ctx.settings = pixel_sums, align_corners
        sums, hits = [], []
        with torch.autocast(logits.device.type, enabled=False):
            up = LabelBands(logits, label, align_corners)
            for image, target in zip(logits.float(), label, strict=True):
                bands = []
                for band, z, class_z, _, valid in up.of_image(image, target):
                    hits.append(((class_z >= z.amax(0)) & valid).sum())
                    bands.append(pixel_sums(z[None], target[None, band.rows])[0])
                sums.append(torch.stack(bands).sum(0))
        correct = sum(hits)
        ctx.mark_non_differentiable(correct)
        return torch.stack(sums), correct

    @staticmethod
    @once_differentiable
    def backward(ctx, factor, _):
        logits, label = ctx.saved_tensors
        pixel_sums, align_corners = ctx.settings
        gradient = torch.empty_like(logits)
        with torch.autocast(logits.device.type, enabled=False):
            up = LabelBands(logits, label, align_corners)
            for n, image in enumerate(logits.float()):
                slopes = image.new_zeros((*image.shape[:2], label.shape[2]))
                for band, z, *_ in up.of_image(image, label[n]):
                    with torch.enable_grad():
                        z = z[None].requires_grad_()
                        sums = pixel_sums(z, label[n, band.rows][None])[0]
                    (slope,) = torch.autograd.grad(sums, z, factor[n])
                    slopes[:, band.source] += band.weights.T @ slope[0]
                gradient[n] = slopes @ up.columns
        return gradient, None, None, None


@torch.no_grad()
def upsample_values(
    pixel_values: PixelFunction, logits: Tensor, label: Tensor, align_corners: bool
) -> tuple[Tensor, Tensor]:
    """Return one value per pixel of upsampled logits, and the number of correct pixels.

    Args:
        pixel_values: Returns (N, H, W) float32.
        logits, label, align_corners: See `upsample_sums`; nothing is differentiated.
    """
    values, hits = torch.empty(label.shape, device=logits.device), []
    with torch.autocast(logits.device.type, enabled=False):
        up = LabelBands(logits, label, align_corners)
        for n, image in enumerate(logits.float()):
            for band, z, class_z, _, valid in up.of_image(image, label[n]):
                hits.append(((class_z >= z.amax(0)) & valid).sum())
                target = label[n, band.rows][None]
                values[n, band.rows] = pixel_values(z[None], target)[0]
    return values, sum(hits)
