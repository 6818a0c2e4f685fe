"""Does a network's confidence say how often it is right, and what would mend it?

A network is calibrated if, of the pixels that it labels with a confidence of 80 %,
80 % are right. The expected calibration error (ECE; Guo et al., ICML 2017) is the mean
difference of the two over bins of confidence. Dividing logits by one temperature
changes no label, and brings most networks near to calibration.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_fastscnn.structures import IGNORED

BINS = 15
LOWEST, HIGHEST = 0.05, 20.0  # temperatures that are considered
STEPS = 12  # bisections of the range: a relative error under 0.1 %


class Bins(NamedTuple):
    """What is known of the pixels in each bin of confidence, lists of `BINS` values."""

    pixels: list[int]
    confidence: list[float]  # the mean of the bin, 0 to 1; 0 in an empty bin
    accuracy: list[float]


def calibration(logits: Tensor, label: Tensor, sigmoid: bool) -> dict:
    """Return how far confidence is from accuracy, and the temperature that corrects it.

    Args:
        logits: (P, C) of P pixels.
        label: (P,) train ids; `IGNORED` ones do not count.
        sigmoid: Whether the network was trained with one binary problem per class, so
            that its confidence is a sigmoid instead of a softmax.

    Returns:
        `pixels`, `ece` and `mended_ece` (0 to 1), `temperature` and `bins`; {} where
        nothing is labelled. Pixels with logits that are not finite have no confidence
        and do not count.
    """
    counted = (label != IGNORED) & logits.isfinite().all(1)
    logits, label = logits[counted].float(), label[counted].long()
    if not len(label):
        return {}
    temperature = best_temperature(logits, label, sigmoid)
    bins = confidence_bins(logits, label, sigmoid)
    mended = confidence_bins(logits / temperature, label, sigmoid)
    return dict(
        pixels=len(label),
        ece=expected_error(bins),
        temperature=temperature,
        mended_ece=expected_error(mended),
        bins=bins._asdict(),
    )


def confidence_bins(logits: Tensor, label: Tensor, sigmoid: bool) -> Bins:
    """Sort pixels by confidence into bins of equal width."""
    probabilities = logits.sigmoid() if sigmoid else logits.softmax(1)
    confidence, best = probabilities.max(1)
    index = (confidence * BINS).long().clamp(max=BINS - 1)
    count = torch.bincount(index, minlength=BINS)
    divisor = count.clamp(min=1)
    mean = torch.bincount(index, confidence.double(), BINS) / divisor
    right = torch.bincount(index, (best == label).double(), BINS) / divisor
    return Bins(count.tolist(), mean.tolist(), right.tolist())


def expected_error(bins: Bins) -> float:
    """Return the expected calibration error, 0 to 1."""
    differences = zip(*bins, strict=True)
    return sum(n * abs(c - a) for n, c, a in differences) / sum(bins.pixels)


def best_temperature(logits: Tensor, label: Tensor, sigmoid: bool) -> float:
    """Return the temperature at which the cross entropy of the labels is least.

    The cross entropy is convex in the inverse of the temperature, so the sign of its
    derivative says on which side the least value is.
    """
    low, high = 1 / HIGHEST, 1 / LOWEST
    target = F.one_hot(label, logits.shape[1])
    for _ in range(STEPS):
        middle = (low * high) ** 0.5
        scaled = logits * middle
        probabilities = scaled.sigmoid() if sigmoid else scaled.softmax(1)
        slope = ((probabilities - target) * logits).sum()
        low, high = (middle, high) if slope < 0 else (low, middle)
    return 1 / (low * high) ** 0.5
