"""Hold an exported file against the checkpoint it was made from."""

import copy
import time
from collections.abc import Collection
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from mmseg_fastscnn.deploy.backends import SMALLEST, Predictor
from mmseg_fastscnn.deploy.labelled_images import mean_iou
from mmseg_fastscnn.evaluation import count_pairs

# (h, w): the smallest, odd ones, and ones that no grid of the pyramid divides
SIZES = ((SMALLEST, SMALLEST), (97, 131), (128, 256), (203, 333), (360, 641))
BATCH = (97, 131)  # of two frames at once
EQUAL = dict(fp32=0.9995, fp16=0.99, bf16=0.97, int8=0.8)  # least share of equal labels
DIFFERENCE = 1e-2  # greatest difference of logits or probabilities in fp32


@dataclass
class Comparison:
    """How a file's answers differ from those of its checkpoint.

    Attributes:
        images: Number of images compared.
        equal: Share of pixels with the same label, of all images.
        equal_at: The same for frames of several sizes, and for a batch.
        difference: Largest difference of what the file gives at these sizes, logits or
            probabilities; None where it gives labels.
        miou: mIoU in percent before and after; None without labels.
        milliseconds: Median time per image before and after.
    """

    images: int
    equal: float
    equal_at: dict[str, float]
    difference: float | None
    miou: tuple[float, float] | None
    milliseconds: tuple[float, float]

    def lines(self) -> list[str]:
        """Say it, one fact per line."""
        lines = [
            f'equal labels: {100 * self.equal:.4f} % on {self.images} images, at least '
            f'{100 * min(self.equal_at.values()):.4f} % at {", ".join(self.equal_at)}'
        ]
        if self.difference is not None:
            lines.append(f'largest difference: {self.difference:.2g}')
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
        shares = {'the images': self.equal, **self.equal_at}
        for where, share in shares.items():
            if share < bound:
                found.append(
                    f'{100 * share:.3f} % of labels equal at {where}; {precision} '
                    f'needs {100 * bound:g} %'
                )
        if precision == 'fp32' and (self.difference or 0) > DIFFERENCE:
            found.append(f'results differ by {self.difference:.2g}, over {DIFFERENCE}')
        if self.miou is not None and self.miou[0] - self.miou[1] > max_drop:
            found.append(
                f'mIoU falls by {self.miou[0] - self.miou[1]:.3f}, over {max_drop}'
            )
        return found


def compare(
    before: Predictor,
    after: Predictor,
    pairs: Collection[tuple[np.ndarray, np.ndarray | None]],
) -> Comparison:
    """Predict the same frames with a checkpoint and with a file made from it.

    Args:
        before: The checkpoint.
        after: The file.
        pairs: Frames (H, W, C) uint8 with their labels (H, W) uint8, or None.

    Raises:
        ValueError: There are no frames.
    """
    if not len(pairs):
        raise ValueError('There are no images to check the exported file with.')
    answers, seconds = ([], []), ([], [])
    classes = len(before.classes)
    counts = torch.zeros(2, classes, classes, dtype=torch.int64)
    # one after the other: threads of two runtimes would wait for each other
    for k, predictor in enumerate((before, after)):
        for frame, label in pairs:
            began = time.perf_counter()
            answer = predictor(frame)
            seconds[k].append(time.perf_counter() - began)
            answers[k].append(answer)
            if label is not None:
                both = torch.from_numpy(label), torch.from_numpy(answer)
                counts[k] += count_pairs(*both)[:classes, :classes]
    equal = [(one == other).mean() for one, other in zip(*answers, strict=True)]
    equal_at, difference = compare_batches(before, after, frame)
    return Comparison(
        images=len(equal),
        equal=float(np.mean(equal)),
        equal_at=equal_at,
        difference=difference,
        miou=tuple(map(mean_iou, counts)) if counts.any() else None,
        milliseconds=tuple(1e3 * float(np.median(times)) for times in seconds),
    )


def compare_batches(
    before: Predictor, after: Predictor, frame: np.ndarray
) -> tuple[dict[str, float], float | None]:
    """Compare at several sizes and with two frames at once, without `Resize`.

    Args:
        before, after: See `compare`.
        frame: (H, W, C) uint8.

    Returns:
        The share of equal labels of each, and the largest difference of all: see
        `Comparison`.
    """
    shares, differences = {}, []
    for name, batch in batches_of(frame, after.size).items():
        size = batch.shape[1:3]
        pair = [at_size(predictor, size) for predictor in (before, after)]
        results = [predictor.runtime(batch) for predictor in pair]
        labels = [
            np.stack([predictor.labels(one, size) for one in result])
            for predictor, result in zip(pair, results, strict=True)
        ]
        shares[name] = float((labels[0] == labels[1]).mean())
        if after.description.output == 'labels':
            continue
        if after.description.output == 'probabilities':  # the checkpoint gives logits
            results[0] = np.stack([pair[0].probabilities(r, size) for r in results[0]])
        differences.append(float(np.abs(results[0] - results[1]).max()))
    return shares, max(differences, default=None)


def batches_of(
    frame: np.ndarray, fixed: tuple[int, int] | None
) -> dict[str, np.ndarray]:
    """Return frames (N, h, w, C) of several sizes, made of one; by their sizes.

    Args:
        frame: (H, W, C) uint8.
        fixed: The only (h, w) that the file takes, one frame at once; or None.
    """
    batches = {}
    for h, w in [fixed] if fixed else SIZES:
        batches[f'{h}x{w}'] = cv2.resize(frame, (w, h)).reshape(1, h, w, -1)
    if not fixed:
        one = batches['{}x{}'.format(*BATCH)]
        batches['2 frames of {}x{}'.format(*BATCH)] = np.concatenate(
            [one, one[:, ::-1]]
        )
    return batches


def at_size(predictor: Predictor, size: tuple[int, int]) -> Predictor:
    """Return the predictor for frames that are not resized; it shares the network."""
    predictor = copy.copy(predictor)
    predictor.size = size
    return predictor
