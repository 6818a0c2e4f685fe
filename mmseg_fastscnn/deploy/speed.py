"""Measure how long each stage of a prediction takes. No torch needed.

`torch_speed.py` does it for a model of `init_model`.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import cv2

from mmseg_fastscnn.deploy.backends import Predictor

STAGES = ('decode', 'preprocess', 'network', 'upsample and argmax', 'copy back')


class StageTimes:
    """The seconds that each stage took, image by image.

    Args:
        finish: Is called at the end of a stage, before the clock is read.
    """

    def __init__(self, finish: Callable[[], None] = lambda: None):
        self.finish = finish
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.finish()
        self.seconds[stage].append(time.perf_counter() - began)

    def last(self, count: int) -> dict[str, list[float]]:
        """Return the seconds of the last images, and in `all` those of all stages."""
        result = {stage: values[-count:] for stage, values in self.seconds.items()}
        return result | dict(all=list(map(sum, zip(*result.values(), strict=True))))


def warm_up(repeat: int) -> int:
    """Return how many images come before those that are timed."""
    return min(5, repeat)


def frame_seconds(
    predictor: Predictor, paths: Sequence[str], repeat: int
) -> dict[str, list[float]]:
    """Predict one image file after the other and time each stage.

    Where the file gives label maps, these are part of the network.

    Args:
        predictor: The predictor; where it resizes frames, that is part of the network.
        paths: Image files that OpenCV reads, used in turn.
        repeat: Number of timed images, after up to five that are not timed.

    Returns:
        For each stage the seconds that it took for each image.

    Raises:
        ValueError: OpenCV cannot read an image.
    """
    stages = StageTimes()
    for k in range(warm_up(repeat) + repeat):
        path = paths[k % len(paths)]
        with stages.timed('decode'):
            frame = cv2.imread(path)
        if frame is None:
            raise ValueError(f'{path} cannot be read as an image by OpenCV.')
        with stages.timed('network'):
            result = predictor.run(frame)
        with stages.timed('upsample and argmax'):
            predictor.labels(result, frame.shape[:2])
    return stages.last(repeat)
