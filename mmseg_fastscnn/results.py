"""Write results, but never over a user's file: the content says which are ours."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mmseg_fastscnn.writing import write_file

if TYPE_CHECKING:  # it brings torch, which predicting with exported files does without
    from mmseg_fastscnn.structures import SegDataSample


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG file: length, kind, content and check sum."""
    check = zlib.crc32(kind + content)
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', check)


# What tells our files from a user's: a PNG ends in a text chunk, an array in our name,
# a video in a box that players skip; a JPEG begins with a comment, a config with this
# line, a sweep's table with these columns; a page has one of two marks near its
# beginning; metrics, the index of soft labels, what `check` found, and each run in the
# numbers of a sweep have these keys.
NAME = b'mmseg_fastscnn'
END = png_chunk(b'IEND', b'')
SIGNATURE = png_chunk(b'tEXt', b'Software\0' + NAME) + END
VIDEO_MARK = struct.pack('>I', 8 + len(NAME)) + b'free' + NAME
COMMENT = b'\xff\xd8' + b'\xff\xfe\0\x10' + NAME
PAGE = 'a report written by mmseg_fastscnn'
DATA_PAGE = 'written by check_dataset of mmseg_fastscnn'
CONFIG = b'# The whole config of a run, written by mmseg_fastscnn.\n'
METRICS = {'num_images', 'config', 'checkpoint'}
SWEEP_RUN = {'recipe', 'fold', 'seed', 'miou'}
SOFT_LABELS = {'classes', 'temperature', 'teachers'}
DATA_REPORT = {'origin', 'findings', 'splits'}
SWEEP_TABLE = b'| recipe | seeds | mIoU | of each seed |'
FIRST_BYTES = {'.jpg': COMMENT, '.jpeg': COMMENT, '.py': CONFIG, '.md': SWEEP_TABLE}
LAST_BYTES = {'.png': SIGNATURE, '.mp4': VIDEO_MARK, '.npy': NAME}


def is_ours(path: Path) -> bool:
    """Return whether a file's content says that this program wrote it."""
    if path.suffix == '.json':
        try:
            content = json.loads(path.read_bytes())
            if isinstance(content, list):
                return bool(content) and all(set(one) >= SWEEP_RUN for one in content)
            kinds = (METRICS, SOFT_LABELS, DATA_REPORT)
            return any(set(content) >= keys for keys in kinds)
        except (ValueError, TypeError):  # no JSON, or one number
            return False
    mark = FIRST_BYTES.get(path.suffix) or LAST_BYTES.get(path.suffix)
    with path.open('rb') as file:  # which may be a video of gigabytes
        if mark is None:
            start = file.read(200)
            return any(words.encode() in start for words in (PAGE, DATA_PAGE))
        if path.suffix in LAST_BYTES:
            file.seek(max(0, path.stat().st_size - len(mark)))
        return file.read(len(mark)) == mark


def check_may_write(path: Path) -> None:
    """Check that a file does not exist, or that this program wrote it.

    Raises:
        ValueError: It is something else.
    """
    if os.path.lexists(path) and not (path.is_file() and is_ours(path)):
        raise ValueError(
            f'{path} exists and is not a result of this program. Choose another '
            f'place for results, or remove the file.'
        )
    for folder in path.parents:
        if folder.is_file():
            raise ValueError(f'{folder} is a file; name a folder for results.')


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
    """Return the folders of image and label, as far as they are known."""
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
    write_file(path, content + SIGNATURE)


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
    write_file(path, content)
