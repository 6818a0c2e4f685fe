"""Frames from anything: image files, folders, videos, cameras, network streams."""

import glob
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

IMAGES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
VIDEOS = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm')
STREAMS = ('rtsp://', 'rtmp://', 'http://', 'https://')

Problem = Callable[[str], None]  # what is told of a file or a frame that is skipped


@dataclass(frozen=True)
class Video:
    """What a video or a camera says of itself.

    Attributes:
        rate: Frames per second.
        size: (h, w) of its frames.
        is_live: Whether frames come as time passes, from a camera or a network stream.
    """

    rate: float
    size: tuple[int, int]
    is_live: bool


@dataclass(frozen=True)
class Frame:
    """An image, and where it comes from.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        source: The file, camera or address.
        name: Relative path of results, without suffix: a file's place in the folder
            that was given, or else its name.
        number: Which frame of a video it is, from 0.
        video: The video that it is of, if it is of one.
    """

    image: np.ndarray
    source: str
    name: Path
    number: int = 0
    video: Video | None = None


def is_live(source: str) -> bool:
    """Return whether frames of a source come as time passes."""
    return source.isdecimal() or source.startswith(STREAMS)


def read_frames(
    sources: Sequence[str], problem: Problem, every: int = 1
) -> Iterator[Frame]:
    """Read frames one after the other, in the order in which sources are given.

    Args:
        sources: Files, patterns, folders (all images and videos in them, at any
            depth), videos, numbers of cameras, addresses of network streams, or `-`
            for a list of these on the standard input, one per line.
        problem: Is told of each file and video that cannot be read (to the end).
        every: Take only every Nth frame of a video.

    Raises:
        FileNotFoundError: A source does not exist, or a pattern or a folder has no
            images.
        ValueError: A source is of no known kind, or a camera cannot be opened.
    """
    for source, name in named_sources(sources):
        suffix = Path(source).suffix.lower()
        if suffix in IMAGES:
            image = cv2.imread(source)
            if image is None:
                problem(f'{source} cannot be read as an image; it is skipped.')
            else:
                yield Frame(image, source, name)
        else:
            yield from video_frames(source, name, problem, every)


def named_sources(sources: Sequence[str]) -> list[tuple[str, Path]]:
    """Return each file, camera or stream with the name of its results.

    Raises:
        FileNotFoundError, ValueError: See `read_frames`.
    """
    found: list[tuple[str, Path]] = []
    for source in listed(sources):
        if source.isdecimal():
            found.append((source, Path(f'camera_{source}')))
        elif is_live(source):  # its name has no password and no slashes
            address = source.partition('://')[2].rpartition('@')[2]
            name = ''.join(c if c.isalnum() else '_' for c in address)
            found.append((source, Path(name)))
        elif Path(source).is_dir():
            found += in_folder(Path(source))
        elif Path(source).exists():
            found.append((source, Path(Path(source).stem)))
        else:
            matches = sorted(glob.glob(source, recursive=True))
            if not matches:
                raise FileNotFoundError(f'{source} does not exist, nor does it match.')
            found += [(match, Path(Path(match).stem)) for match in matches]
    for source, _ in found:
        known = Path(source).suffix.lower() in IMAGES + VIDEOS
        if not (known or is_live(source)):
            raise ValueError(
                f'{source} is of no known kind; known are images ({" ".join(IMAGES)}), '
                f'videos ({" ".join(VIDEOS)}), folders, numbers of cameras and '
                f'addresses of streams ({" ".join(STREAMS)}).'
            )
    return found


def listed(sources: Sequence[str]) -> Iterator[str]:
    """Yield the sources, with the standard input's lines in place of `-`."""
    for source in sources:
        if source == '-':
            yield from filter(None, (line.strip() for line in sys.stdin))
        else:
            yield source


def in_folder(folder: Path) -> list[tuple[str, Path]]:
    """Return the images and videos of a folder, with their places in it."""
    files = sorted(
        path
        for path in folder.rglob('*')
        if path.suffix.lower() in IMAGES + VIDEOS and path.is_file()
    )
    if not files:
        raise FileNotFoundError(f'{folder} has no images and no videos.')
    return [(str(file), file.relative_to(folder).with_suffix('')) for file in files]


def video_frames(
    source: str, name: Path, problem: Problem, every: int
) -> Iterator[Frame]:
    """Yield the frames of a video, a camera or a stream."""
    is_camera = source.isdecimal()
    capture = cv2.VideoCapture(int(source) if is_camera else source)
    try:
        if not capture.isOpened():
            raise ValueError(
                f'There is no camera {source}, or another program uses it.'
                if is_camera
                else f'{source} cannot be opened as a video: it is damaged, or this '
                f'OpenCV lacks its codec (cv2.getBuildInformation() lists them).'
            )
        size = tuple(
            int(capture.get(k))
            for k in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
        )
        rate = capture.get(cv2.CAP_PROP_FPS) or 25
        video = Video(rate / every, size, is_live(source))
        stated = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        number = 0
        while capture.grab():
            if number % every == 0:
                ok, image = capture.retrieve()
                if ok:
                    yield Frame(image, source, name, number, video)
                else:
                    problem(f'{source}: frame {number} cannot be decoded; skipped.')
            number += 1
        if number == 0 or (not video.is_live and number < stated):
            problem(f'{source} ends after {number} frames of {stated}.')
    finally:
        capture.release()
