"""Online hard example mining: sum a loss over the pixels that are hard to classify."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmseg_fastscnn.models.class_weights import ClassWeights
from mmseg_fastscnn.models.losses import CrossEntropyLoss
from mmseg_fastscnn.models.targets import positive_channel, value_at
from mmseg_fastscnn.ops.upsample_loss import upsample_cross_entropy
from mmseg_fastscnn.ops.upsample_sums import upsample_values
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import IGNORED


def class_probability(logits: Tensor, label: Tensor) -> Tensor:
    """Return the softmax probability of each pixel's class, (N, H, W).

    Args:
        logits: (N, C, H, W).
        label: (N, H, W); where it is `IGNORED`, the probability is that of class 0.
    """
    index, _ = positive_channel(label, logits.shape[1])
    return (value_at(logits, index) - logits.logsumexp(1)).exp()


def hard_pixels(
    score: Tensor, valid: Tensor, min_kept: int, threshold: float | None
) -> Tensor:
    """Return which pixels of a batch are hard, (N, H, W) bool.

    These are the pixels whose score is under `threshold` or, where they are fewer than
    `min_kept`, the `min_kept` pixels of the lowest scores. Without a threshold, always
    the latter. Everything stays on the device: no size depends on the labels, so no
    step waits for it.

    Args:
        score: (N, H, W), low where a pixel is hard.
        valid: (N, H, W) False where a pixel does not count.
        min_kept: Number of pixels of the batch, at least 1.
        threshold: See above.
    """
    # with a threshold, the first pixel that is not kept sets the bar
    rank = min_kept if threshold is None else min_kept + 1
    scores = score.masked_fill(~valid, torch.inf).flatten()
    lowest = scores.topk(min(rank, len(scores)), largest=False, sorted=False).values
    bar = lowest.masked_fill(lowest == torch.inf, -torch.inf).amax()
    if threshold is None:
        return valid & ~(score > bar)  # so that what is not a number is hard
    return valid & ~(score >= bar.clamp(min=threshold))


@MODELS.register_module()
class OhemCrossEntropy(nn.Module):
    """Mean softmax cross entropy of the hard pixels only.

    A pixel is hard if the probability of its own class is under `thres`, or under that
    of the pixel that is number `min_kept` + 1 in the batch, hardest first.

    Args:
        thres: Probability in (0, 1].
        min_kept: Number of pixels of the batch that are kept at least.
        class_weight: One factor per class; see `ClassWeights`.
        loss_weight: Factor of the result.
        loss_name: The key it is logged under; must contain 'loss'.
    """

    use_sigmoid = False

    def __init__(
        self,
        thres: float = 0.7,
        min_kept: int = 100_000,
        class_weight: Sequence[float] | str | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_ohem',
    ):
        super().__init__()
        self.thres = thres
        self.min_kept = min_kept
        self.class_weight = ClassWeights(class_weight)
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the scalar loss; zero, with gradients, where nothing is labelled."""
        probability = class_probability(logits.detach(), label)
        hard = self._hard(probability, label)
        index, _ = positive_channel(label, logits.shape[1])
        loss = logits.logsumexp(1) - value_at(logits, index)
        table = self.class_weight(logits)
        if table is not None:
            loss = loss * table[index]
        return self.loss_weight * (loss * hard).sum() / hard.sum().clamp(min=1)

    def of_upsampled(
        self, logits: Tensor, label: Tensor, align_corners: bool = False
    ) -> tuple[Tensor, Tensor]:
        """See `CrossEntropyLoss.of_upsampled`.

        The bands are computed twice: for the probabilities and for the loss.
        """
        probability, correct = upsample_values(
            class_probability, logits, label, align_corners
        )
        hard = self._hard(probability, label)
        total, _ = upsample_cross_entropy(
            logits,
            label.masked_fill(~hard, IGNORED),
            use_sigmoid=False,
            class_weight=self.class_weight(logits),
            align_corners=align_corners,
        )
        return self.loss_weight * total / hard.sum().clamp(min=1), correct

    def _hard(self, probability: Tensor, label: Tensor) -> Tensor:
        return hard_pixels(probability, label != IGNORED, self.min_kept, self.thres)


@MODELS.register_module()
class OHEMPixelSampler:
    """Select the hard pixels that a head's cross entropy is summed over.

    The sum is divided as without a sampler, by the number of all pixels
    (`OhemCrossEntropy` divides by that of the hard ones).

    Args:
        thresh: Probability of a pixel's own class under which the pixel is hard. By
            default the pixels of the highest loss are hard.
        min_kept: Number of pixels per image that are kept at least; with no `thresh`,
            exactly (pixels of equal loss aside). The batch is looked at as a whole.
    """

    def __init__(self, thresh: float | None = None, min_kept: int = 100_000):
        self.thresh = thresh
        self.min_kept = min_kept

    @torch.no_grad()
    def sample(
        self,
        logits: Tensor,
        label: Tensor,
        losses: Sequence[CrossEntropyLoss],
        align_corners: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return which pixels are hard, (N, H, W) bool, and the number of correct ones.

        Args:
            logits: (N, C, h, w) of any size, C at least 2.
            label: (N, H, W) class of each pixel, or `IGNORED`.
            losses: The head's losses.
            align_corners: Passed to the interpolation.
        """

        def confidence(logits: Tensor, label: Tensor) -> Tensor:
            if self.thresh is not None:
                return class_probability(logits, label)
            return -sum(f.loss_weight * f.pixel_loss(logits, label) for f in losses)

        score, correct = upsample_values(confidence, logits, label, align_corners)
        kept = self.min_kept * len(label)
        return hard_pixels(score, label != IGNORED, kept, self.thresh), correct
