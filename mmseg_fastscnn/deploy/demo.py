"""What the demo shows of one model: overlays of images and videos, shares, times."""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmseg_fastscnn.datasets.image_header import UnreadableImage, read_header
from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.frames import NO_IMAGE, Frame, decode_image, read_frames
from mmseg_fastscnn.deploy.saving import as_bgr
from mmseg_fastscnn.deploy.sources import Source, Tell
from mmseg_fastscnn.deploy.stages import Stages
from mmseg_fastscnn.deploy.video_file import VideoFile
from mmseg_fastscnn.pictures import overlay

MOST_PIXELS = 2**25  # a frame of 8K video; a file of kilobytes may claim gigabytes


class Tally:
    """Class shares and times, of one image or over the frames of a video.

    Args:
        num_classes: Number of classes.
    """

    def __init__(self, num_classes: int):
        self.pixels = np.zeros(num_classes, np.int64)
        self.frames = 0
        self.stages = Stages()

    def add(self, labels: np.ndarray) -> None:
        """Count the pixels of a frame's labels, (H, W) uint8."""
        self.pixels += np.bincount(labels.ravel(), minlength=len(self.pixels))
        self.frames += 1

    def shares(self) -> np.ndarray:
        """Return the share of the pixels that each class has, 0 to 1."""
        return self.pixels / self.pixels.sum()

    def milliseconds(self) -> dict[str, float]:
        """Return the mean time of each stage per frame."""
        seconds = self.stages.seconds
        return {name: 1000 * seconds[name] / self.frames for name in seconds}


class Segmented(NamedTuple):
    """An image, (H, W, 3) uint8 BGR, its labels, (H, W) uint8, and their tally."""

    image: np.ndarray
    labels: np.ndarray
    tally: Tally


class DemoModel:
    """A model that several users share.

    Args:
        name: What it is called on the page.
        file: See `Predictor`.
        config: Config of a checkpoint that does not hold its own.

    Raises:
        FileNotFoundError, ImportError, ValueError: See `Predictor`.
    """

    def __init__(self, name: str, file: Path, config: Path | None = None):
        self.name = name
        self.predictor = Predictor(file, config)
        self.channels = self.predictor.description.channels
        # OpenVINO's result lies in memory that its next request writes to
        self.lock = threading.Lock()

    def segment(self, name: str, content: bytes) -> Segmented:
        """Segment an image.

        Args:
            name: What messages call the file.
            content: What is in it.

        Raises:
            ValueError: It is no image, or of a size that cannot be predicted.
        """
        tally = Tally(len(self.predictor.classes))
        check_header(name, content)
        with tally.stages.timed('decode'):
            image = decode_image(np.frombuffer(content, np.uint8), self.channels)
        if isinstance(image, str):
            raise ValueError(f'{name} {image}.')
        return Segmented(as_bgr(image), self._labels(image, tally), tally)

    def draw(self, segmented: Segmented, opacity: float) -> np.ndarray:
        """Return the overlay of an image, (H, W, 3) uint8 BGR.

        Args:
            segmented: From `segment`; the time is noted in its tally.
            opacity: Opacity of the colours, 0 to 1.
        """
        image, labels, tally = segmented
        tally.stages.seconds.pop('draw', None)  # of another opacity
        return self._overlay(image, labels, opacity, tally)

    def write_video(
        self,
        video: Path,
        target: Path,
        opacity: float,
        problem: Tell,
        progress: Callable[[tuple[int, int | None]], None],
    ) -> Tally:
        """Write the overlay of a video as another video.

        Args:
            video: The video.
            target: The file that is written.
            opacity: Opacity of the colours, 0 to 1.
            problem: Is told what cannot be read and is skipped.
            progress: Is told how many frames are done, and of how many if known.

        Raises:
            ValueError: Its frames are too large or too small, or cannot be read at all.
        """
        tally, file = Tally(len(self.predictor.classes)), None
        told: list[str] = []
        with closing(self._drawn(video, opacity, tally, told.append)) as drawn:
            for frame, picture in drawn:
                if file is None:
                    file = VideoFile(target, picture.shape[:2], frame.video.rate)
                with tally.stages.timed('encode'):
                    file.write(picture, frame.number)
                progress((tally.frames, frame.video.frames or None))
        told = [text.replace(str(video), video.name) for text in told]
        if file is None:
            raise ValueError(' '.join(told))
        file.close()
        for text in told:
            problem(text)
        return tally

    def _drawn(
        self, video: Path, opacity: float, tally: Tally, problem: Tell
    ) -> Iterator[tuple[Frame, np.ndarray]]:
        """Yield the frames of a video, each with its overlay, (H, W, 3) uint8 BGR."""
        source = Source(str(video), Path(video.name))
        frames = read_frames([source], problem, channels=self.channels)
        with closing(tally.stages.read('decode', frames)) as frames:
            for frame in frames:
                check_size(video.name, frame.image.shape[:2])
                labels = self._labels(frame.image, tally)
                image = as_bgr(frame.image)
                yield frame, self._overlay(image, labels, opacity, tally)

    def _overlay(
        self, image: np.ndarray, labels: np.ndarray, opacity: float, tally: Tally
    ) -> np.ndarray:
        with tally.stages.timed('draw'):
            return overlay(image, labels, self.predictor.palette, opacity)

    def _labels(self, image: np.ndarray, tally: Tally) -> np.ndarray:
        """Return the labels of a frame, (H, W) uint8, and count them in a tally."""
        with self.lock, tally.stages.timed('network and labels'):
            labels = self.predictor(image)
        tally.add(labels)
        return labels


def check_header(name: str, content: bytes) -> None:
    """Check an image before its pixels are decoded.

    Raises:
        ValueError: It is no image, damaged, or larger than a demo takes.
    """
    try:
        header = read_header(io.BytesIO(content), name)
    except UnreadableImage:
        header = None
    if header is None:
        raise ValueError(f'{name} {NO_IMAGE}.')
    check_size(name, (header.height, header.width))


def check_size(name: str, shape: tuple[int, int]) -> None:
    """Raise ValueError if a frame of (H, W) is larger than a demo takes."""
    height, width = shape
    if height * width > MOST_PIXELS:
        raise ValueError(
            f'{name} is {width}x{height} (w x h); this page takes {MOST_PIXELS:,} '
            f'pixels at most. Make it smaller, or use fastscnn predict.'
        )
