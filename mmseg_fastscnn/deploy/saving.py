"""Save predictions under the names and in the folders of their inputs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.frames import Frame
from mmseg_fastscnn.deploy.sources import Source, Tell
from mmseg_fastscnn.deploy.stream import Prediction
from mmseg_fastscnn.deploy.video_file import VideoFile
from mmseg_fastscnn.pictures import overlay, with_legend
from mmseg_fastscnn.results import NAME, ResultFolder, check_may_write, write_png
from mmseg_fastscnn.writing import whole_file

LEGEND = (6, 480)  # (h, w) of the white strip that the legend stands under


class Saving:
    """Write the chosen kinds of results of each prediction below one folder.

    Of an image: `overlay/NAME.png`, `labels/NAME.png` with the class of each pixel, and
    `probabilities/NAME.npy`, (C, H, W) float16. Of a video: `overlay/NAME.mp4`, and the
    others frame by frame in `NAME/000000.png`. `legend.png` says what the colours of
    overlays mean.

    Args:
        folder: The folder.
        sources: What is predicted, in whose place nothing is written.
        predictor: What predicts; gives palette and probabilities.
        kinds: Which of `SAVED`.
        alpha: Opacity of the colours in an overlay, 0 to 1.
        note: Is told what videos are coded in.

    Raises:
        ValueError: A result would replace an input, or a file that is not a result.
    """

    def __init__(
        self,
        folder: Path,
        sources: Sequence[Source],
        predictor: Predictor,
        kinds: Sequence[str],
        alpha: float,
        note: Tell,
    ):
        self.folders = {kind: ResultFolder(folder / kind) for kind in kinds}
        self.inputs = {Path(s.place).resolve() for s in sources if not s.is_live}
        self.predictor = predictor
        self.alpha = alpha
        self.note = note
        self.video: tuple[str, VideoFile] | None = None
        self.paths: dict[tuple[str, Path, bool], Path] = {}
        for source in sources:  # so that a mistake is found before any work
            for kind in kinds:
                if source.is_image or kind == 'overlay':
                    key = (kind, source.name, source.is_image)
                    self.paths[key] = self._claim(*key)
        self.legend = folder / 'legend.png' if 'overlay' in kinds else None
        if self.legend:
            check_may_write(self.legend)

    def _claim(self, kind: str, name: Path, is_image: bool) -> Path:
        """Check that a result may be written, and return where."""
        folder = self.folders[kind]
        suffix = '.npy' if kind == 'probabilities' else '.png' if is_image else '.mp4'
        path = folder.claim(dict(rel_path=f'{name}.png'), folder.written, suffix)
        if path.resolve() in self.inputs:
            raise ValueError(
                f'The result would be written over the input {path}. Choose another '
                f'--out.'
            )
        return path

    def draw(self, prediction: Prediction) -> dict[str, np.ndarray]:
        """Return what is written of a prediction, by kind."""
        made = {}
        if 'overlay' in self.folders:
            palette, labels = self.predictor.palette, prediction.labels
            image = as_bgr(prediction.image)
            made['overlay'] = overlay(image, labels, palette, self.alpha)
        if 'labels' in self.folders:
            made['labels'] = prediction.labels
        if 'probabilities' in self.folders:
            values = self.predictor.probabilities(
                prediction.result, prediction.labels.shape
            )
            made['probabilities'] = values.astype(np.float16)
        return made

    def write(self, frame: Frame, made: dict[str, np.ndarray]) -> None:
        """Write what `draw` made of a frame."""
        for kind, array in made.items():
            if frame.video is not None and kind == 'overlay':
                self._add_to_video(frame, array)
                continue
            path = self.paths.get((kind, frame.name, frame.video is None))
            if path is None:
                path = self._claim(kind, frame.name / f'{frame.number:06}', True)
            if kind == 'probabilities':
                with whole_file(path) as file:
                    np.save(file, array)
                    file.write(NAME)  # readers stop after the array
            else:
                write_png(path, array)

    def write_legend(self) -> None:
        """Write the colours and the names of the classes."""
        described = self.predictor.description
        metainfo = dict(classes=described.classes, palette=described.palette)
        empty = np.full((LEGEND[0], LEGEND[1], 3), 255, np.uint8)
        ids = range(len(described.classes))
        write_png(self.legend, with_legend(empty, metainfo, ids, unlabelled=False))

    def _add_to_video(self, frame: Frame, image: np.ndarray) -> None:
        video = frame.video
        if self.video is None or self.video[0] != frame.source:
            self.close()
            path = self.paths['overlay', frame.name, False]
            file = VideoFile(path, image.shape[:2], video.rate / video.every)
            self.video = (frame.source, file)
            self.note(f'{path}: {file.codec}, without sound.')
            if not file.codec.startswith('H.264'):
                self.note('For H.264, which browsers play: pip install av')
        self.video[1].write(image, frame.number // video.every)

    def close(self) -> None:
        """Complete the video that is being written, so that it is playable."""
        if self.video is not None:
            self.video[1].close()
            self.video = None


def as_bgr(image: np.ndarray) -> np.ndarray:
    """Return an image of any number of channels as one to draw on."""
    if image.ndim == 3 and image.shape[2] >= 3:
        return np.ascontiguousarray(image[..., :3])
    return np.repeat(image.reshape(*image.shape[:2], -1)[..., :1], 3, axis=2)
