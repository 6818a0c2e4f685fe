"""Write a video: H.264 by PyAV, or what OpenCV can."""

import os
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from mmseg_fastscnn.results import VIDEO_MARK
from mmseg_fastscnn.writing import flush_folder

# x264 takes a third of the time of 'veryfast' so, for two to three times its bytes: on
# small machines the network needs the time.
X264 = dict(preset='ultrafast', crf='20')


class VideoFile:
    """An `.mp4` that takes its place when it is closed, and is playable then.

    Until then it is a hidden file beside that place, which a killed program leaves.

    Args:
        path: The file.
        size: (h, w) of the frames.
        rate: Frames per second.

    Attributes:
        codec: What the video is coded in, for people.

    Raises:
        ValueError: This OpenCV can write no known kind of video.
    """

    def __init__(self, path: Path, size: tuple[int, int], rate: float):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.size = size
        self.draft = path.with_name(f'.{path.stem}.{os.getpid()}.part.mp4')
        self.encoder = (PyAvEncoder if has_h264() else OpenCvEncoder)(
            self.draft, size, rate
        )
        self.codec: str = self.encoder.codec

    def write(self, image: np.ndarray, number: int) -> None:
        """Write a frame.

        Args:
            image: (H, W, 3) uint8, BGR; it is resized if a stream has changed its size.
            number: Place of the frame in the video. Where numbers are left out, the
                frame before is shown longer.
        """
        if image.shape[:2] != self.size:
            image = cv2.resize(image, self.size[::-1])
        self.encoder.write(image, number)

    def close(self) -> None:
        """Complete the file, and put it in its place."""
        self.encoder.close()
        with self.draft.open('ab') as file:
            file.write(VIDEO_MARK)
            file.flush()
            os.fsync(file.fileno())
        self.draft.replace(self.path)
        flush_folder(self.path.parent)


def has_h264() -> bool:
    """Return whether PyAV is installed and brings an encoder of H.264."""
    if find_spec('av') is None:
        return False
    import av

    return 'libx264' in av.codecs_available


class PyAvEncoder:
    """Encode H.264 by PyAV."""

    codec = 'H.264'

    def __init__(self, path: Path, size: tuple[int, int], rate: float):
        import av

        self.container = av.open(str(path), 'w', format='mp4')
        exact = Fraction(rate).limit_denominator(1001)  # 30000/1001 is 29.97
        self.stream = self.container.add_stream('libx264', exact, options=X264)
        self.stream.height, self.stream.width = size
        self.is_even = not any(side % 2 for side in size)
        self.stream.pix_fmt = 'yuv420p' if self.is_even else 'yuv444p'
        self.make_frame = av.VideoFrame.from_ndarray

    def write(self, image: np.ndarray, number: int) -> None:
        if self.is_even:  # OpenCV converts in a fifth of PyAV's time
            planes = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
            frame = self.make_frame(planes, format='yuv420p')
        else:
            frame = self.make_frame(image, format='bgr24')
        frame.pts = number
        self.container.mux(self.stream.encode(frame))

    def close(self) -> None:
        self.container.mux(self.stream.encode())
        self.container.close()


class OpenCvEncoder:
    """Encode what OpenCV can: H.264 in some builds, MPEG-4 in all of them."""

    CODECS = dict(avc1='H.264', mp4v='MPEG-4')

    def __init__(self, path: Path, size: tuple[int, int], rate: float):
        for code, codec in self.CODECS.items():
            fourcc = cv2.VideoWriter.fourcc(*code)
            self.writer = cv2.VideoWriter(str(path), fourcc, rate, size[::-1])
            if self.writer.isOpened():
                is_even = not any(side % 2 for side in size)
                self.codec = codec if is_even else f'{codec}, cut to an even size'
                self.next = 0
                return
        raise ValueError(
            f'{path}: this OpenCV can write neither H.264 nor MPEG-4. Install PyAV '
            f'(pip install av), or save labels instead of an overlay (--save labels).'
        )

    def write(self, image: np.ndarray, number: int) -> None:
        for _ in range(self.next, max(number, self.next) + 1):
            self.writer.write(image)
        self.next = max(number, self.next) + 1

    def close(self) -> None:
        self.writer.release()
