"""Frames from files, cameras and network streams."""

import itertools
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from mmseg_fastscnn.deploy.sources import Source, Tell
from mmseg_fastscnn.deploy.stages import newest

SECONDS = 5  # that an address may take to answer, and to give its next frame
MOST_DAMAGED = 1000  # frames in a row, after which a video is taken to have ended
UNKNOWN_RATE = 25  # frames per second, of a source that does not say it
NO_IMAGE = 'cannot be read as an image: it is damaged, or no image'


@dataclass(frozen=True)
class Video:
    """What a video, a camera or a stream says of itself, and what is taken of it.

    Attributes:
        rate: Frames per second.
        every: Of how many frames one is taken.
        frames: Number of frames, as the file says it; 0 if it does not.
    """

    rate: float
    every: int
    frames: int


@dataclass(frozen=True)
class Frame:
    """An image, and where it comes from.

    Attributes:
        image: (H, W, 3) uint8, BGR; or (H, W) or (H, W, C) for networks of other
            numbers of channels.
        source: The file, camera or address.
        name: Relative path of results, without suffix.
        number: Which frame of a video it is, from 0. Of a live source by the clock:
            the seconds since its first frame, times its rate.
        video: The video that it is of, if it is of one.
        skipped: How many frames of a live source came after the one before this, and
            are left out so that results do not lag.
    """

    image: np.ndarray
    source: str
    name: Path
    number: int = 0
    video: Video | None = None
    skipped: int = 0


def silence_opencv() -> None:
    """Keep OpenCV and FFmpeg from printing: this module says it in one sentence."""
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')  # read at first use
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_frames(
    sources: Sequence[Source], problem: Tell, every: int = 1, channels: int = 3
) -> Iterator[Frame]:
    """Read frames one after the other, in the order of the sources.

    Images are read in the grid that the file stores, never turned by EXIF.

    Args:
        sources: From `find_sources`.
        problem: Is told of each source and frame that cannot be read and is skipped.
        every: Take only every Nth frame of a video.
        channels: Number of channels that the network reads.
    """
    for source in sources:
        if source.is_image:
            image = read_image(source.place, channels)
            if isinstance(image, str):
                problem(f'{source.place} {image}; it is skipped.')
            else:
                yield Frame(image, source.place, source.name)
        else:
            yield from video_frames(source, problem, every, channels)


def read_image(path: str, channels: int) -> np.ndarray | str:
    """Return an image, or why it cannot be read."""
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        return f'cannot be read ({error.strerror})'
    return decode_image(content, channels)


def decode_image(content: np.ndarray, channels: int) -> np.ndarray | str:
    """Return the image in the bytes (N,) of a file, or why there is none."""
    flags = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR}
    flag = flags.get(channels, cv2.IMREAD_UNCHANGED) | cv2.IMREAD_IGNORE_ORIENTATION
    if not content.size:
        return 'is empty'
    try:
        image = cv2.imdecode(content, flag)
    except cv2.error as error:  # it is larger than OpenCV's limit
        return f'cannot be read as an image ({error.err})'
    return NO_IMAGE if image is None else image


def video_frames(
    source: Source, problem: Tell, every: int, channels: int
) -> Iterator[Frame]:
    """Yield the frames of a video, a camera or a stream."""
    capture = open_capture(source)
    try:
        if not capture.isOpened():
            problem(why_not_opened(source))
            return
        video = describe(capture, source, every)
        frames = captured(capture, source, video, problem)
        if source.is_live:
            frames = (replace(frame, skipped=n) for frame, n in newest(frames))
        for frame in frames:
            if channels == 1:
                gray = cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY)
                frame = replace(frame, image=gray)
            yield frame
    finally:
        capture.release()


def open_capture(source: Source) -> cv2.VideoCapture:
    """Open a video, a camera or a stream, as far as it can be opened."""
    if source.is_camera:
        return cv2.VideoCapture(int(source.place))
    if not source.is_live:
        return cv2.VideoCapture(source.place)
    limits = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 1000 * SECONDS),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, 1000 * SECONDS),
    ]
    return cv2.VideoCapture(source.place, cv2.CAP_FFMPEG, limits)


def why_not_opened(source: Source) -> str:
    """Say what to do about a source that cannot be opened."""
    if source.is_camera:
        there = sorted(Path('/dev').glob('video*')) if sys.platform == 'linux' else []
        return (
            f'Camera {source.place} cannot be opened: there is none of this number, or '
            f'another program uses it. This machine has '
            f'{", ".join(map(str, there)) or "none that can be listed"}.'
        )
    if source.is_live:
        return (
            f'{source.place} does not answer within {SECONDS} s as a video stream. '
            f'Check address, password and network.'
        )
    if not os.access(source.place, os.R_OK):
        return f'{source.place} may not be read by this user; it is skipped.'
    return (
        f'{source.place} cannot be opened as a video; it is skipped. It is damaged, or '
        f'this OpenCV lacks its codec: convert it to H.264 in an .mp4 file.'
    )


def describe(capture: cv2.VideoCapture, source: Source, every: int) -> Video:
    """Return what an opened source says of itself."""
    rate = capture.get(cv2.CAP_PROP_FPS)
    frames = 0 if source.is_live else int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    is_rate = 1 <= rate <= 1000  # some streams say 0 or 90000
    return Video(rate if is_rate else UNKNOWN_RATE, every, max(frames, 0))


def captured(
    capture: cv2.VideoCapture, source: Source, video: Video, problem: Tell
) -> Iterator[Frame]:
    """Yield the frames that a capture gives, and tell which cannot be decoded.

    Decoding goes on after damaged frames. A file may end a few frames earlier than it
    says, since many files state an estimate.
    """
    good, began = -1, time.monotonic()  # `good` is the last frame that was decoded
    number = -1
    for count in itertools.count():
        if not capture.grab():
            if count >= video.frames or count - good > MOST_DAMAGED:
                break
            continue
        if count > good + 1:
            problem(damaged(source, good + 1, count - 1))
        good = count
        if count % video.every:
            continue
        by_clock = int((time.monotonic() - began) * video.rate)
        number = max(number + 1, by_clock) if source.is_live else count
        ok, image = capture.retrieve()
        if ok:
            yield Frame(image, source.place, source.name, number, video)
        else:
            problem(damaged(source, count, count))
    lacking = video.frames - good - 1
    if source.is_live:
        problem(f'{source.place} gives no more frames after {good + 1}.')
    elif good < 0:
        problem(f'{source.place} has no frame that can be decoded; it is skipped.')
    elif lacking > max(2, video.frames // 50):
        problem(damaged(source, good + 1, video.frames - 1))


def damaged(source: Source, first: int, last: int) -> str:
    """Say which frames of a video, from `first` to `last`, cannot be decoded."""
    return (
        f'{source.place}: frames {first} to {last} are damaged or missing; they are '
        f'skipped.'
    )
