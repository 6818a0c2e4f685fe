"""Write files whole or not at all, and results never over a file that is none."""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from mmseg_fastscnn.structures import SegDataSample


@contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` once it is complete and on the disk.

    Whatever happens before, a kill or a full disk, `path` is what it was. Its folder is
    made if needed. An interrupted program may leave `.NAME.PROCESS.part` in it.

    Yields:
        A file to write to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        with draft.open('wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Bring a folder's list of names to the disk, where the system can do that."""
    if os.name == 'posix':
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG file: length, kind, content and check sum."""
    check = zlib.crc32(kind + content)
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', check)


# Each file of results ends in a text chunk that viewers ignore, and the last chunk.
END = png_chunk(b'IEND', b'')
SIGNATURE = png_chunk(b'tEXt', b'Software\0mmseg_fastscnn') + END


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

    def check(self, samples: Iterable[Mapping]) -> None:
        """Check where the results of a run would go, before the first one is written.

        Args:
            samples: What is known of each image, as in `write`.

        Raises:
            ValueError: See `write`.
        """
        claimed: set[Path] = set()
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
        if path in claimed:
            raise ValueError(
                f'Two images would give the result {path}, so one would replace the '
                f'other. Test the data sets one by one.'
            )
        if path.exists() and not is_result(path):
            raise ValueError(
                f'{path} exists and is not a result of this program. Choose another '
                f'folder for results, or remove the file.'
            )
        claimed.add(path)
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


def is_result(path: Path) -> bool:
    """Return whether a file was written by `write_png`."""
    with path.open('rb') as file:
        file.seek(max(path.stat().st_size - len(SIGNATURE), 0))
        return file.read() == SIGNATURE


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
