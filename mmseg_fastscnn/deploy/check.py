"""Hold an exported file against the checkpoint it was made from."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from mmseg_fastscnn.deploy.backends import SMALLEST, Predictor
from mmseg_fastscnn.evaluation import class_ratios, count_pairs

# (h, w): the smallest, odd ones, and ones that no grid of the pyramid divides
SIZES = ((SMALLEST, SMALLEST), (97, 131), (128, 256), (203, 333), (360, 641))
EQUAL = dict(fp32=0.9995, fp16=0.99, bf16=0.97, int8=0.8)  # least share of equal labels
DIFFERENCE = 1e-2  # greatest difference of logits in fp32


@dataclass
class Comparison:
    """How a file's answers differ from those of its checkpoint.

    Attributes:
        images: Number of images compared.
        equal: Share of pixels with the same label, of all images.
        equal_at_sizes: The same for each of some sizes, (h, w).
        difference: Largest difference of logits; None where the file gives none.
        miou: mIoU in percent before and after; None without labels.
        milliseconds: Median time per image before and after.
    """

    images: int
    equal: float
    equal_at_sizes: dict[tuple[int, int], float]
    difference: float | None
    miou: tuple[float, float] | None
    milliseconds: tuple[float, float]

    def lines(self) -> list[str]:
        """Say it, one fact per line."""
        sizes = ', '.join(f'{h}x{w}' for h, w in self.equal_at_sizes)
        lines = [
            f'equal labels: {100 * self.equal:.4f} % on {self.images} images, at least '
            f'{100 * min(self.equal_at_sizes.values(), default=1):.4f} % at {sizes}'
        ]
        if self.difference is not None:
            lines.append(f'largest difference of logits: {self.difference:.2g}')
        if self.miou is not None:
            lines.append('mIoU: {:.3f} before, {:.3f} after'.format(*self.miou))
        lines.append(
            'ms per frame: {:.1f} before, {:.1f} after'.format(*self.milliseconds)
        )
        return lines

    def failures(self, precision: str, max_drop: float) -> list[str]:
        """Say which bounds do not hold.

        Args:
            precision: The file's.
            max_drop: How many points of mIoU it may lose.
        """
        bound, found = EQUAL[precision], []
        shares = {'the images': self.equal, **self.equal_at_sizes}
        for where, share in shares.items():
            if share < bound:
                found.append(
                    f'{100 * share:.3f} % of labels equal at {where}; {precision} '
                    f'needs {100 * bound:g} %'
                )
        if precision == 'fp32' and (self.difference or 0) > DIFFERENCE:
            found.append(f'logits differ by {self.difference:.2g}, over {DIFFERENCE}')
        if self.miou is not None and self.miou[0] - self.miou[1] > max_drop:
            found.append(
                f'mIoU falls by {self.miou[0] - self.miou[1]:.3f}, over {max_drop}'
            )
        return found


def compare(
    before: Predictor,
    after: Predictor,
    pairs: Iterable[tuple[np.ndarray, np.ndarray | None]],
) -> Comparison:
    """Predict the same frames with a checkpoint and with a file made from it.

    Args:
        before: The checkpoint.
        after: The file.
        pairs: Frames (H, W, C) uint8 with their labels (H, W) uint8, or None.

    Raises:
        ValueError: There are no frames.
    """
    predictors = (before, after)
    equal, seconds, difference = [], ([], []), None
    classes = len(before.classes)
    counts = torch.zeros(2, classes, classes, dtype=torch.int64)
    for frame, label in pairs:
        answers = []
        for predictor, times in zip(predictors, seconds, strict=True):
            began = time.perf_counter()
            answers.append(predictor(frame))
            times.append(time.perf_counter() - began)
        equal.append((answers[0] == answers[1]).mean())
        if label is not None:
            for count, answer in zip(counts, answers, strict=True):
                both = torch.from_numpy(label), torch.from_numpy(answer)
                count += count_pairs(*both)[:classes, :classes]
        last = frame
    if not equal:
        raise ValueError('There are no images to check the exported file with.')
    shares = {}
    for size in [after.size] if after.size else SIZES:
        frame = cv2.resize(last, size[::-1])
        shares[size] = float((before(frame) == after(frame)).mean())
        if after.description.output == 'logits':
            logits = [p.runtime(frame.reshape(1, *size, -1)) for p in predictors]
            here = float(np.abs(logits[0] - logits[1]).max())
            difference = max(difference or 0, here)
    return Comparison(
        images=len(equal),
        equal=float(np.mean(equal)),
        equal_at_sizes=shares,
        difference=difference,
        miou=tuple(map(mean_iou, counts)) if counts.any() else None,
        milliseconds=tuple(1e3 * float(np.median(times)) for times in seconds),
    )


def mean_iou(counts: Tensor) -> float:
    """Return mIoU in percent, from pixel counts [label, prediction]."""
    return float(np.nanmean(class_ratios(counts.double().numpy())[0]['IoU']))
