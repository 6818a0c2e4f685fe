"""Mean softmax of several views' upsampled logits, without holding any of these."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from mmseg_fastscnn.ops import host
from mmseg_fastscnn.ops.bilinear import LEAST_LOG, Upsampling, View


def mean_softmax(
    views: Sequence[View], align_corners: bool = False
) -> Iterator[tuple[slice, Tensor]]:
    """Yield (rows, (C, rows, W) mean probability) for band after band of the image.

    Args:
        views: The image's views; all end in the same size.
        align_corners: Passed to every interpolation.
    """
    ups = [
        Upsampling(view.logits[None], view.sizes, align_corners, view.window)
        for view in views
    ]
    logits = [view.logits.float() for view in views]
    logits = [image - image.amax(0) for image in logits]
    # A GPU would have to be waited for to know it, so there all take the safe way.
    far_apart = [
        image.device.type != host.HOST or bool(image.min() < LEAST_LOG)
        for image in logits
    ]
    for same_rows in zip(*(up.bands for up in ups), strict=True):
        total = None
        for image, far, up, band in zip(logits, far_apart, ups, same_rows, strict=True):
            z = band.weights @ up.widen(image[:, band.source])
            if far:  # between pixels all might come out as zero
                z.sub_(z.amax(0))
            share = z.exp_().sum(0).mul_(len(views)).reciprocal_()
            total = z.mul_(share) if total is None else total.addcmul_(z, share)
        yield band.rows, total
