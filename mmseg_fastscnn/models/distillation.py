"""Learning from a teacher's soft labels beside the labels (arXiv:1503.02531).

Student and teacher are compared at the resolution of the logits, so that no upsampled
logits are needed, and the loss takes hardly any of a step's time.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_fastscnn.ops.bilinear import source_position
from mmseg_fastscnn.ops.image_batch import batch_of
from mmseg_fastscnn.ops.sampled import cell_of, cells, sampled
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import STRIDE, SegDataSample


class SoftTargets(NamedTuple):
    """The class probabilities that a teacher gives for a batch.

    Attributes:
        probabilities: (N, C, h, w), for each cell of 8x8 pixels; 0 where images are
            padded.
        temperature: The teacher's logits were divided by it.
        size: (H, W) of the images.
    """

    probabilities: Tensor
    temperature: float
    size: tuple[int, int]

    def at_logits(self, size: tuple[int, int], align_corners: bool) -> Tensor:
        """Return the probabilities at the places of logits, (N, C, h, w).

        Args:
            size: (h, w) of the logits.
            align_corners: How these are interpolated to the images' size.
        """
        exact = tuple(STRIDE * length for length in size) == self.size
        if exact and not align_corners:
            return self.probabilities
        return sampled(
            self.probabilities,
            *(
                cell_of(source_position(pixels, count, align_corners), STRIDE)
                for pixels, count in zip(self.size, size, strict=True)
            ),
        )


def soft_targets(
    samples: Sequence[SegDataSample], size: tuple[int, int], device: torch.device
) -> SoftTargets | None:
    """Return the soft labels of a batch, padded like its images; None without any.

    Args:
        samples: One per image.
        size: (H, W) of the images.
        device: Where the result is to be.

    Raises:
        ValueError: Only some of the images have soft labels, or of several
            temperatures.
    """
    having = [sample for sample in samples if 'soft_sem_seg' in sample]
    if not having:
        return None
    temperatures = {sample.soft_temperature for sample in having}
    if len(having) < len(samples) or len(temperatures) > 1:
        raise ValueError(
            f'{len(having)} of {len(samples)} images of a batch have soft labels, of '
            f'the temperatures {sorted(temperatures)}. Give all training data sets '
            f'soft_labels of one temperature.'
        )
    soft = [sample.soft_sem_seg.data for sample in samples]
    grid = tuple(cells(length, STRIDE) for length in size)
    return SoftTargets(batch_of(soft, grid, 0, device), temperatures.pop(), size)


@MODELS.register_module()
class DistillationLoss(nn.Module):
    """Kullback-Leibler divergence of the student's softmax from soft labels.

    It is the mean over the cells of 8x8 pixels, labelled or not, times the square of
    the soft labels' temperature, so that gradients are as large at any temperature. It
    stands in `loss_decode` beside a loss of the labels.

    Args:
        loss_weight: Factor of the result.
        loss_name: The key it is logged under; must contain 'loss'.
    """

    use_sigmoid = False  # a single channel has no softmax

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_soft'):
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self, logits: Tensor, soft: SoftTargets | None, align_corners: bool = False
    ) -> Tensor:
        """Return the scalar loss.

        Args:
            logits: (N, C, h, w), not upsampled.
            soft: Soft labels of these images.
            align_corners: How the logits are interpolated.

        Raises:
            ValueError: There are no soft labels.
        """
        if soft is None:
            raise ValueError(
                'The model has a DistillationLoss and the training images have no soft '
                'labels. Set train_dataloader.dataset.soft_labels to a folder that '
                'tools/soft_labels.py wrote, or remove the loss.'
            )
        target = soft.at_logits(logits.shape[2:], align_corners)
        total = target.sum(1, keepdim=True)
        counted = total > 0.5  # not what lies in the padding, by its larger part
        target = target / total.clamp(min=0.5) * counted
        student = F.log_softmax(logits.float() / soft.temperature, 1)
        divergence = torch.xlogy(target, target) - target * student
        factor = self.loss_weight * soft.temperature**2
        return factor * divergence.sum() / counted.sum().clamp(min=1)
