"""What video adds to prediction: calm labels, and a frame rate that is kept."""

import math
from collections import defaultdict

import numpy as np


class Smoothing:
    """Average logits over time: `keep` of the average, the rest of the new frame.

    Args:
        keep: Weight of what was before, from 0 to under 1.
    """

    def __init__(self, keep: float):
        if not 0 <= keep < 1:
            raise ValueError(f'The smoothing is {keep}; it must be from 0 to under 1.')
        self.keep = keep
        self.mean: np.ndarray | None = None

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Return the average logits after a frame; a change of size begins anew."""
        if self.mean is None or self.mean.shape != logits.shape:
            self.mean = logits.copy()
        else:
            self.mean += (1 - self.keep) * (logits - self.mean)
        return self.mean.copy()


class Flicker:
    """Share of pixels whose label changes from one frame of a video to the next."""

    def __init__(self):
        self.before: dict[str, np.ndarray] = {}
        self.shares: defaultdict[str, list[float]] = defaultdict(list)

    def see(self, source: str, labels: np.ndarray) -> None:
        """Take note of the labels of the next frame of a source."""
        before = self.before.get(source)
        if before is not None and before.shape == labels.shape:
            self.shares[source].append(float((before != labels).mean()))
        self.before = {source: labels}

    def means(self) -> dict[str, float]:
        """Return the mean share of each source, 0 to 1."""
        return {source: float(np.mean(s)) for source, s in self.shares.items()}


class FrameRate:
    """Lower the network's resolution as far as a frame rate needs.

    Args:
        rate: Frames per second that are to be kept.
        shape: (H, W) of the network's input at full resolution.
    """

    STEP, LEAST = 0.9, 0.25  # factors on height and width: of a step, and the smallest

    def __init__(self, rate: float, shape: tuple[int, int]):
        self.budget = 1 / rate
        self.shape = shape
        self.most_steps = int(math.log(self.LEAST) / math.log(self.STEP))
        self.steps = 0

    def adapt(self, seconds: float) -> None:
        """Take note of how long the last frame took."""
        if seconds > self.budget:
            self.steps = min(self.most_steps, self.steps + 1)
        elif seconds < self.budget * self.STEP**3:  # so that it does not go to and fro
            self.steps = max(0, self.steps - 1)

    @property
    def size(self) -> tuple[int, int]:
        """The (h, w) for the next frame."""
        if self.steps == 0:
            return self.shape
        factor = self.STEP**self.steps
        return tuple(max(64, int(side * factor) // 32 * 32) for side in self.shape)
