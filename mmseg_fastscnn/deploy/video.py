"""What video adds to prediction: calm labels, a frame rate that is kept, a file."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from mmseg_fastscnn.deploy.sources import Video

CODECS = ('avc1', 'mp4v')  # H.264, and what every OpenCV can write


class Smoothing:
    """Average logits over time: `keep` of the average, the rest of the new frame.

    Args:
        keep: Weight of what was before, from 0 to under 1.
    """

    def __init__(self, keep: float):
        if not 0 <= keep < 1:
            raise ValueError(f'--smooth is {keep}; it must be from 0 to under 1.')
        self.keep = keep
        self.mean: np.ndarray | None = None

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Return the average logits after a frame; a change of size begins anew."""
        if self.mean is None or self.mean.shape != logits.shape:
            self.mean = logits.copy()
        else:
            self.mean += (1 - self.keep) * (logits - self.mean)
        return self.mean


class Flicker:
    """Share of pixels whose label changes from one frame of a video to the next."""

    def __init__(self):
        self.before: np.ndarray | None = None
        self.shares: list[float] = []

    def see(self, labels: np.ndarray) -> None:
        if self.before is not None and self.before.shape == labels.shape:
            self.shares.append(float((self.before != labels).mean()))
        self.before = labels

    @property
    def mean(self) -> float:
        return float(np.mean(self.shares)) if self.shares else 0.0


class FrameRate:
    """Lower the network's resolution as far as a frame rate needs.

    Args:
        rate: Frames per second that are to be kept.
        shape: (H, W) of the network's input at full resolution.
        least: Factor on height and width that is not gone below.
    """

    STEP = 0.9

    def __init__(self, rate: float, shape: tuple[int, int], least: float = 0.25):
        self.budget = 1 / rate
        self.shape = shape
        self.least = least
        self.factor = 1.0

    def after(self, seconds: float) -> tuple[int, int]:
        """Return the (h, w) for the next frame, after one that took `seconds`."""
        if seconds > self.budget:
            self.factor = max(self.least, self.factor * self.STEP)
        elif seconds < self.budget * self.STEP**3:  # so that it does not go to and fro
            self.factor = min(1.0, self.factor / self.STEP)
        return tuple(max(64, int(side * self.factor) // 32 * 32) for side in self.shape)


class VideoFile:
    """A video that is written frame by frame and playable whenever it is closed.

    Args:
        path: The file, `.mp4`.
        video: Rate and size of the frames.
        tell: Is told when H.264 is not to be had.

    Raises:
        ValueError: This OpenCV can write no known kind of video.
    """

    def __init__(self, path: Path, video: Video, tell: Callable[[str], None]):
        path.parent.mkdir(parents=True, exist_ok=True)
        for codec in CODECS:
            code = cv2.VideoWriter.fourcc(*codec)
            self.writer = cv2.VideoWriter(str(path), code, video.rate, video.size[::-1])
            if self.writer.isOpened():
                if codec != CODECS[0]:
                    tell(f'{path} is MPEG-4 video: this OpenCV cannot write H.264.')
                return
        raise ValueError(
            f'{path}: this OpenCV can write neither H.264 nor MPEG-4. Save pictures '
            f'instead (--frames).'
        )

    def write(self, image: np.ndarray) -> None:
        self.writer.write(image)

    def close(self) -> None:
        self.writer.release()
