"""Results are written never over a file of the user, told by what is in the file."""

import json
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np

from mmseg_fastscnn.structures import SegDataSample
from mmseg_fastscnn.writing import whole_file


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG file: length, kind, content and check sum."""
    check = zlib.crc32(kind + content)
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', check)


# What tells our files from a user's: a PNG ends in a text chunk, a JPEG begins with a
# comment, metrics have these keys, a config begins with this line, pages have this
# mark near their beginning.
END = png_chunk(b'IEND', b'')
SIGNATURE = png_chunk(b'tEXt', b'Software\0mmseg_fastscnn') + END
COMMENT = b'\xff\xd8' + b'\xff\xfe\0\x10mmseg_fastscnn'
METRICS = {'num_images', 'config', 'checkpoint'}
PAGE = 'a report written by mmseg_fastscnn'
CONFIG = b'# The whole config of a run, written by mmseg_fastscnn.\n'


def is_ours(path: Path) -> bool:
    """Return whether a file's content says that this program wrote it."""
    content = path.read_bytes()
    if path.suffix == '.png':
        return content.endswith(SIGNATURE)
    if path.suffix in ('.jpg', '.jpeg'):
        return content.startswith(COMMENT)
    if path.suffix == '.py':
        return content.startswith(CONFIG)
    if path.suffix == '.html':
        return PAGE.encode() in content[:200]
    try:
        return path.suffix == '.json' and set(json.loads(content)) >= METRICS
    except (ValueError, TypeError):  # no JSON, or one number
        return False


def check_may_write(path: Path) -> None:
    """Check that a file does not exist, or may be replaced since it is ours.

    Raises:
        ValueError: It is something else.
    """
    if os.path.lexists(path) and not (path.is_file() and is_ours(path)):
        raise ValueError(
            f'{path} exists and is not a result of this program. Choose another '
            f'place for results, or remove the file.'
        )


class ResultFolder:
    """A folder of PNGs, one per image, each under the image's own relative path.

    Files of an earlier run are replaced. A text chunk in them tells them from images,
    labels and files of other programs, which are never written over.

    Args:
        folder: The folder; it is made when the first file is written.

    Attributes:
        written: The paths of the files written so far.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.written: set[Path] = set()

    def check(self, samples: Iterable[Mapping], claimed: set[Path]) -> None:
        """Check where the results of a run would go, before the first one is written.

        Args:
            samples: What is known of each image, as in `write`.
            claimed: Paths that other results of the run have; those of this folder are
                added.

        Raises:
            ValueError: See `write`.
        """
        for sample in samples:
            self.claim(sample, claimed)

    def write(self, sample: SegDataSample | Mapping, image: np.ndarray) -> None:
        """Write the result of one image.

        Args:
            sample: The paths of the image: `rel_path`, and `img_path` and
                `seg_map_path` if there are such files.
            image: The result, (H, W) or (H, W, 3) BGR, uint8 or uint16.

        Raises:
            ValueError: The file would lie outside the folder, or in the folder of the
                image or its label; or it would replace the result of another image of
                this run, or a file that is not a result.
        """
        write_png(self.claim(sample, self.written), image)

    def claim(
        self, sample: SegDataSample | Mapping, claimed: set[Path], suffix: str = '.png'
    ) -> Path:
        """Return where a result goes, and add the path to those claimed in this run."""
        name = sample.get('rel_path')
        path = (self.folder / name).with_suffix(suffix)
        if self.folder.resolve() not in path.resolve().parents:
            raise ValueError(
                f'The result of {name} would be written to {path}, outside of '
                f'{self.folder}. Rename the image, or correct the split file.'
            )
        for source in folders_read(sample):
            if source in path.resolve().parents:
                raise ValueError(
                    f'{path} would lie in {source}, where the data set looks for its '
                    f'files. Choose another folder for results.'
                )
        if path.resolve() in claimed:
            raise ValueError(
                f'Two results would be written to {path}, so one would replace the '
                f'other. Test the data sets one by one, and give each kind of result a '
                f'folder of its own.'
            )
        check_may_write(path)
        claimed.add(path.resolve())
        return path


def folders_read(sample: SegDataSample | Mapping) -> list[Path]:
    """Return the folder of all images, as far as it is known, and that of the label."""
    folders = []
    image, label = sample.get('img_path'), sample.get('seg_map_path')
    if image:
        image, name = Path(image), Path(sample.get('rel_path'))
        below = image.parts[-len(name.parts) :] == name.parts
        folders.append(image.parents[len(name.parts) - 1] if below else image.parent)
    if label:
        folders.append(Path(label).parent)
    return [folder.resolve() for folder in folders]


def write_png(path: Path, image: np.ndarray) -> None:
    """Write a PNG, and make its folder if needed.

    Args:
        path: The file; any suffix becomes `.png`.
        image: (H, W) or (H, W, 3) BGR, uint8 or uint16.

    Raises:
        ValueError: The image is of a dtype that a PNG cannot hold.
    """
    path = path.with_suffix('.png')
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f'{path}: {image.dtype} does not fit a PNG, which holds ids of 0 to 65535. '
            f'Give each class such an id in label_map.'
        )
    content = cv2.imencode('.png', image)[1].tobytes().removesuffix(END)
    with whole_file(path) as file:
        file.write(content + SIGNATURE)


def write_picture(path: str | Path, image: np.ndarray) -> None:
    """Write a picture, (H, W, 3) uint8 BGR, of the kind that the file's suffix names.

    Raises:
        ValueError: The file exists and is not ours, or OpenCV writes no such kind.
    """
    path = Path(path)
    check_may_write(path)
    if path.suffix == '.png':
        write_png(path, image)
        return
    try:
        content = cv2.imencode(path.suffix, image)[1].tobytes()
    except cv2.error as error:
        raise ValueError(f'{path}: OpenCV writes no {path.suffix!r}; try .png.') from (
            error
        )
    if path.suffix in ('.jpg', '.jpeg'):
        content = COMMENT + content.removeprefix(COMMENT[:2])
    with whole_file(path) as file:
        file.write(content)
