"""Files of results: never written over an input, nor over another result of the run."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np

INPUTS = ('img_path', 'seg_map_path')


class ResultFolder:
    """A folder of PNGs, one per image, under the image's own relative path.

    Files of an earlier run are replaced.

    Args:
        folder: The folder; it is made when the first file is written.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.written: dict[Path, str] = {}

    def check(self, samples: Iterable[Mapping]) -> None:
        """Check all results of a run before the first one is written.

        Args:
            samples: Facts of each image; see `write`.

        Raises:
            ValueError: See `write`; or a result would replace any image or label.
        """
        samples = list(samples)
        inputs = {
            Path(sample[key]).resolve()
            for sample in samples
            for key in INPUTS
            if sample.get(key)
        }
        targets: dict[Path, str] = {}
        for sample in samples:
            path = self._claim(sample, targets)
            if path.resolve() in inputs:
                raise ValueError(
                    f'The result {path} would be written over a file that is read. '
                    f'Choose another folder for results.'
                )

    def write(self, sample: Mapping, image: np.ndarray) -> None:
        """Write the result of one image.

        Args:
            sample: Facts of the image: `rel_path`, and `img_path` and `seg_map_path`
                where there are such files.
            image: (H, W) or (H, W, 3) BGR, uint8 or uint16.

        Raises:
            ValueError: The file would replace the result of another image, lie outside
                the folder, or in the folder of the image or of its label.
        """
        write_png(self._claim(sample, self.written), image)

    def _claim(self, sample: Mapping, claimed: dict[Path, str]) -> Path:
        """Return where a result goes, and note in `claimed` whose result it is."""
        path = (self.folder / sample['rel_path']).with_suffix('.png')
        source = str(sample.get('img_path', sample['rel_path']))
        if self.folder.resolve() not in path.resolve().parents:
            raise ValueError(
                f'The result of {source} would be written to {path}, outside '
                f'{self.folder}. Rename the image, or correct the split file.'
            )
        for key in INPUTS:
            used = sample.get(key)
            if used and Path(used).resolve().parent == path.resolve().parent:
                raise ValueError(
                    f'Results would be written to {path.parent}, where the data set '
                    f'has {used}. Choose another folder for results.'
                )
        other = claimed.setdefault(path, source)
        if other != source:
            raise ValueError(
                f'{other} and {source} would both be written to {path}. Test the data '
                f'sets one by one, each with a folder of its own.'
            )
        return path


def write_png(path: Path, image: np.ndarray) -> None:
    """Write a PNG, its suffix in place of any other, making folders as needed."""
    path = path.with_suffix('.png')
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image):
        raise OSError(f'{path} could not be written; is the disk full?')
