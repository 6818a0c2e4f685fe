"""The loss of a validation, from the logits that its predictions come from.

Logits are compared with the labels at their own places, a pixel in every 8 x 8, instead
of being interpolated to all pixels. That takes a hundredth of the time of the forward
pass, and with all images of a validation the mean hardly differs.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from mmseg_fastscnn.models.decode_heads import FCNHead
from mmseg_fastscnn.models.distillation import DistillationLoss
from mmseg_fastscnn.models.prediction import BaseSegmentor
from mmseg_fastscnn.models.views import content_size, with_background
from mmseg_fastscnn.structures import STRIDE, SegDataSample, with_ignored


class AtLogits(NamedTuple):
    """An image's logits (C, h, w), and the labels (h, w) at their places."""

    logits: Tensor
    label: Tensor


class LogitsKept:
    """Keeps the logits from which a model predicts.

    Args:
        model: The copy that validates. Its method `coarse_logits` is replaced.

    Attributes:
        kept: Logits of batches, each with the (H, W) of the network's input. Those of a
            validation step come first, if the list was empty before it; those that
            hooks compute may follow.
    """

    def __init__(self, model: BaseSegmentor):
        self.compute = model.coarse_logits
        self.kept: list[tuple[Tensor, tuple[int, int]]] = []
        model.coarse_logits = self._computed

    def _computed(self, inputs: Tensor) -> Tensor:
        logits = self.compute(inputs)
        self.kept.append((logits, tuple(inputs.shape[2:])))
        return logits

    def take(self, samples: Iterable[SegDataSample]) -> list[AtLogits]:
        """Return the logits of a batch with the labels there, of labelled samples.

        Samples that were flipped are left out: no validation flips them.
        """
        images = [(image, size) for logits, size in self.kept for image in logits]
        return [
            at_logits(logits, size, sample)
            for (logits, size), sample in zip(images, samples, strict=False)
            if 'gt_sem_seg' in sample and not sample.get('flip', False)
        ]


def at_logits(logits: Tensor, size: tuple[int, int], sample: SegDataSample) -> AtLogits:
    """Return an image's logits, without those of padding, and the labels there.

    Args:
        logits: (C, h, w).
        size: (H, W) of the network's input, which was padded at the right and bottom.
        sample: Has labels at the size of the image.
    """
    label = sample.gt_sem_seg.data[0]
    content = content_size(sample, size)
    (rows, label_rows), (columns, label_columns) = (
        places(logits.shape[1 + k], size[k], content[k], label.shape[k], label.device)
        for k in range(2)
    )
    return AtLogits(logits[:, rows][:, :, columns], label[label_rows][:, label_columns])


def places(
    count: int, length: int, content: int, pixels: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return, along one axis, which logits are used, and the pixels at their places.

    Args:
        count: Number of logits.
        length: Pixels of the input.
        content: Pixels of the input that are not padding.
        pixels: Pixels of the label.
        device: Where the result is needed.
    """
    per_logit = length / count
    step = max(round(STRIDE / per_logit), 1)  # sliding windows give all pixels
    index = torch.arange(step // 2, count, step, device=device)
    centre = (index + 0.5) * per_logit
    # how many are in the content is known here, so that no device is asked
    inside = sum((k + 0.5) * per_logit < content for k in range(step // 2, count, step))
    index, centre = index[:inside], centre[:inside]
    return index, (centre * (pixels / content)).long().clamp(max=pixels - 1)


def losses_of(head: FCNHead, image: AtLogits) -> dict[str, Tensor]:
    """Return the losses of a decode head, without its sampler, for one image."""
    label = with_ignored(image.label[None], head.ignore_index).long()
    result: dict[str, Tensor] = {}
    for loss in head.loss_decode:
        if isinstance(loss, DistillationLoss):
            continue  # a validation has no soft labels
        value = loss(image.logits[None], label)
        name = f'decode.{loss.loss_name}'
        result[name] = result.get(name, 0) + value
    return result


def some_pixels(image: AtLogits, head: FCNHead, count: int) -> AtLogits:
    """Return the logits (P, C) and labels (P,) at about `count` places of an image.

    Those of a single channel get the logits of both classes.
    """
    logits = image.logits
    if len(logits) == 1:
        logits = with_background(logits[None], 0.5)[0]
    label = with_ignored(image.label, head.ignore_index).flatten()
    step = max(len(label) // max(count, 1), 1)
    # copies, since parts of tensors keep the whole ones in memory
    some = logits.flatten(1).T[step // 2 :: step].contiguous()
    return AtLogits(some, label[step // 2 :: step].clone())


def has_sigmoid(head: FCNHead) -> bool:
    """Return whether several channels are trained as one binary problem each."""
    several = head.out_channels > 1
    return several and any(getattr(x, 'use_sigmoid', False) for x in head.loss_decode)
