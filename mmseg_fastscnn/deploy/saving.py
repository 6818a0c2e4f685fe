"""Save predictions under the names and in the folders of their inputs."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.sources import Frame
from mmseg_fastscnn.deploy.stream import Prediction
from mmseg_fastscnn.deploy.video import VideoFile
from mmseg_fastscnn.pictures import overlay
from mmseg_fastscnn.results import ResultFolder
from mmseg_fastscnn.writing import whole_file


class Saving:
    """Write what is asked for of each prediction, below one folder.

    Of an image: `overlay/NAME.png`, `labels/NAME.png` with the class of each pixel, and
    `probabilities/NAME.npy`, (C, H, W) float16. Of a video: `overlay/NAME.mp4`, and the
    others frame by frame in `NAME/000000.png`.

    Args:
        folder: The folder.
        predictor: What predicts; gives palette and probabilities.
        kinds: Which of `SAVED`.
        alpha: Opacity of the colours in an overlay, 0 to 1.
        tell: Is told of what differs from what was asked.

    Raises:
        ValueError: A result would lie among the inputs, replace the result of another
            input, or replace a file that is not a result.
    """

    def __init__(
        self,
        folder: Path,
        predictor: Predictor,
        kinds: Sequence[str],
        alpha: float,
        tell: Callable[[str], None],
    ):
        self.folders = {kind: ResultFolder(folder / kind) for kind in kinds}
        self.predictor = predictor
        self.alpha = alpha
        self.tell = tell
        self.video: tuple[str, VideoFile] | None = None

    def draw(self, prediction: Prediction) -> dict[str, np.ndarray]:
        """Make what is to be written of a prediction, by kind."""
        made = {}
        if 'overlay' in self.folders:
            palette, labels = self.predictor.palette, prediction.labels
            made['overlay'] = overlay(prediction.image, labels, palette, self.alpha)
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
            folder, name = self.folders[kind], frame.name
            if frame.video is not None and kind == 'overlay':
                self._add_to_video(folder, frame, array)
                continue
            if frame.video is not None:
                name = name / f'{frame.number:06}'
            sample = dict(rel_path=f'{name}.png', img_path=frame.source)
            if kind == 'probabilities':
                path = folder.claim(sample, folder.written, '.npy')
                with whole_file(path) as file:
                    np.save(file, array)
            else:
                folder.write(sample, array)

    def _add_to_video(
        self, folder: ResultFolder, frame: Frame, image: np.ndarray
    ) -> None:
        if self.video is None or self.video[0] != frame.source:
            self.close()
            sample = dict(rel_path=f'{frame.name}.mp4', img_path=frame.source)
            path = folder.claim(sample, folder.written, '.mp4')
            self.video = (frame.source, VideoFile(path, frame.video, self.tell))
        self.video[1].write(image)

    def close(self) -> None:
        """Complete the video that is being written, so that it is playable."""
        if self.video is not None:
            self.video[1].close()
            self.video = None
