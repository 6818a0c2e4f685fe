"""Predict a stream of frames: decoding, network and label maps overlap."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.frames import Frame, read_frames
from mmseg_fastscnn.deploy.sources import Tell, Words, find_sources
from mmseg_fastscnn.deploy.stages import Stages
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


class Result(NamedTuple):
    """What the network gave for a frame.

    Attributes:
        frame: The frame.
        scores: See `Predictor.run`.
        size: (h, w) that the frame was resized to.
    """

    frame: Frame
    scores: np.ndarray
    size: tuple[int, int]


def stream(
    predictor: Predictor,
    sources: Words,
    problem: Tell = warnings.warn,
    every: int = 1,
    smooth: float = 0,
    rate: float | None = None,
    stages: Stages | None = None,
) -> Iterator[Prediction]:
    """Predict the frames of files, videos and cameras, in their order.

    Of a live source the newest frame is taken, and those in between are skipped.

    Args:
        predictor: The predictor.
        sources: See `find_sources`.
        problem: Is told of what cannot be read or predicted and is skipped.
        every: Take only every Nth frame of a video.
        smooth: Weight of the frames before in the logits of a video, 0 to under 1.
        rate: Frames per second for which the network's resolution is lowered.
        stages: Where the time of each stage is counted; of a live source, they are set
            to be one item ahead only.

    Raises:
        FileNotFoundError, ValueError: See `find_sources`; or the options need another
            kind of file.
    """
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
    found = find_sources(sources, problem)
    is_live = any(source.is_live for source in found)
    stages = stages or Stages()
    if is_live:
        stages.ahead = 1
    channels = predictor.description.channels
    frames = read_frames(found, problem, every, channels)
    frames = stages.read('decode', fitting(predictor, frames, problem))
    if smooth or rate:
        network = network_over_time(predictor, smooth, rate, stages)
        results = stages.apply('network', network, frames)
    else:
        at_once = 1 if is_live else predictor.at_once  # the newest one, soon
        name = 'network' if at_once == 1 else f'network, {at_once} at once'
        results = stages.apply(name, network_alone(predictor), frames, at_once)

    def labelled(result: Result) -> Prediction:
        frame, scores, size = result
        labels = predictor.labels(scores, frame.image.shape[:2], size)
        return Prediction(frame, scores, labels)

    return stages.apply('labels', labelled, results)


def fitting(
    predictor: Predictor, frames: Iterator[Frame], problem: Tell
) -> Iterator[Frame]:
    """Leave out frames that cannot be predicted, and tell of each source once."""
    told = set()
    with closing(frames):
        for frame in frames:
            wrong = predictor.misfit(frame.image)
            if not wrong:
                yield frame
            elif frame.source not in told:
                told.add(frame.source)
                problem(f'{frame.source} is skipped. {wrong}')


def network_alone(predictor: Predictor) -> Callable[[Frame], Result]:
    """Return a function that runs the network, in any number of threads."""

    def run(frame: Frame) -> Result:
        size = predictor.network_size(frame.image.shape[:2])
        return Result(frame, predictor.run(frame.image), size)

    return run


def network_over_time(
    predictor: Predictor, smooth: float, rate: float | None, stages: Stages
) -> Callable[[Frame], Result]:
    """Return a function that runs the network and knows the earlier frames."""
    of_source: dict[str, tuple[Smoothing | None, FrameRate | None]] = {}

    def run(frame: Frame) -> Result:
        size = predictor.network_size(frame.image.shape[:2])
        if frame.source not in of_source:
            of_source.clear()
            is_video = frame.video is not None
            of_source[frame.source] = (
                Smoothing(smooth) if smooth and is_video else None,
                FrameRate(rate, size) if rate and is_video else None,
            )
        smoothing, budget = of_source[frame.source]
        if budget is not None:
            size = budget.size
        began, labels_before = time.perf_counter(), stages.seconds['labels']
        scores = predictor.run(frame.image, size)
        if smoothing is not None:
            scores = smoothing(scores)
        if budget is not None:  # the cores make labels of earlier frames meanwhile
            seconds = time.perf_counter() - began
            budget.adapt(seconds + stages.seconds['labels'] - labels_before)
        return Result(frame, scores, size)

    return run
