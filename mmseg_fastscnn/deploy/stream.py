"""Predict a stream of frames: decoding and the network overlap."""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.sources import Frame, Problem, is_live, read_frames
from mmseg_fastscnn.deploy.stages import Stages, newest
from mmseg_fastscnn.deploy.video import FrameRate, Smoothing


@dataclass(frozen=True)
class Prediction:
    """A frame and its label map.

    Attributes:
        frame: The frame.
        result: What the network gave for it.
        labels: (H, W) uint8.
    """

    frame: Frame
    result: np.ndarray
    labels: np.ndarray

    @property
    def image(self) -> np.ndarray:
        """The frame's image, (H, W, 3) uint8, BGR."""
        return self.frame.image


def stream(
    predictor: Predictor,
    sources: str | Sequence[str],
    problem: Problem = warnings.warn,
    every: int = 1,
    smooth: float = 0,
    rate: float | None = None,
    stages: Stages | None = None,
) -> Iterator[Prediction]:
    """Predict the frames of files, videos and cameras, in their order.

    Of a live source the newest frame is taken, and those in between are skipped.

    Args:
        predictor: The predictor.
        sources: See `read_frames`.
        problem: Is told of what cannot be read and is skipped.
        every: Take only every Nth frame of a video.
        smooth: Weight of the frames before in the logits of a video, 0 to under 1.
        rate: Frames per second for which the network's resolution is lowered.
        stages: Where the time of each stage is counted.

    Raises:
        FileNotFoundError, ValueError: See `read_frames`; or the options need another
            kind of file.
    """
    sources = [sources] if isinstance(sources, str) else list(sources)
    if smooth and predictor.description.output != 'logits':
        raise ValueError(
            'Smoothing averages logits. Give a checkpoint, or a file exported with '
            '--output logits.'
        )
    if rate and predictor.description.size:
        raise ValueError(
            f'The file is for frames of {predictor.description.size} (h, w) only, so '
            f'its resolution cannot be lowered to keep a frame rate.'
        )
    live = any(map(is_live, sources))
    stages = stages or Stages(ahead=1 if live else 3)
    frames = read_frames(sources, problem, every)
    frames = stages.read('decode', newest(frames) if live else frames)
    work = worker(predictor, smooth, rate)
    return stages.apply('network and labels', work, frames)


def worker(
    predictor: Predictor, smooth: float, rate: float | None
) -> Callable[[Frame], Prediction]:
    """Return what predicts one frame after the other."""
    of_source: dict[str, tuple[Smoothing | None, FrameRate | None]] = {}

    def predict(frame: Frame) -> Prediction:
        shape = frame.image.shape[:2]
        if frame.source not in of_source:
            of_source.clear()
            is_video = frame.video is not None
            of_source[frame.source] = (
                Smoothing(smooth) if smooth and is_video else None,
                FrameRate(rate, predictor.network_size(shape)) if rate else None,
            )
        smoothing, budget = of_source[frame.source]
        began = time.perf_counter()
        result = predictor.run(frame.image)
        if smoothing is not None:
            result = smoothing(result).copy()
        labels = predictor.labels(result, shape)
        if budget is not None:
            predictor.size = budget.after(time.perf_counter() - began)
        return Prediction(frame, result, labels)

    return predict
