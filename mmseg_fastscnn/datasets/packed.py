"""A decoded copy of a data set on disk, from which random windows are read.

Decoding a PNG takes longer than all later steps. The copy holds every image and its
label as they are in memory, so that a window is read without the rest, and from the
system's file cache if that has room.

    FOLDER/<digest>/pixels.bin   image (H, W, 3) uint8 BGR, label (H, W) uint8 train
                                 ids; image after image
    FOLDER/<digest>/done.bin     one byte per sample: 1 once its pixels are written
    FOLDER/<digest>/index.json   where each sample is, and its size

The digest is made of all source files' names, sizes and times and of the label map. So
changed data gets another copy, and a copy that is being read is never overwritten. A
sample is decoded by the process that reads it first; if two do, they write the same.
Images of 16 bits or of other channels do not fit this form and are refused.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.logging import MMLogger

from mmseg_fastscnn.datasets.image_header import Header, UnreadableImage, read_header
from mmseg_fastscnn.datasets.label_file import HIGHEST
from mmseg_fastscnn.datasets.label_map import LabelMap
from mmseg_fastscnn.datasets.loading import LoadImageFromFile, load_pair

GIB = 2**30


class PackedCopy:
    """The copy of some pairs of image and label; created if there is none yet.

    Args:
        folder: Folder of copies, each in a folder of its own.
        pairs: Dicts with `img_path`, `seg_map_path` and `rel_path`.
        label_map: Label map that the labels are read with.

    Raises:
        ValueError: A pair has no label, an image is not 8-bit, or there is too little
            space for the copy.
    """

    def __init__(self, folder: str | Path, pairs: Sequence[dict], label_map: LabelMap):
        unlabelled = next((p for p in pairs if 'seg_map_path' not in p), None)
        if unlabelled:
            raise ValueError(
                f'{unlabelled["img_path"]} has no label; only data with labels can be '
                f'packed. Remove packed={str(folder)!r}, or set '
                f'data_prefix.seg_map_path.'
            )
        self.folder = Path(folder, digest(pairs, label_map))
        if not self.folder.exists():
            lay_out(self.folder, pairs)
        index = json.loads((self.folder / 'index.json').read_text())
        self.entries = {name: entry for name, *entry in index}
        self.number = {name: k for k, name in enumerate(self.entries)}

    def missing(self) -> int:
        """Return the number of samples that are not written yet."""
        return int((np.fromfile(self.folder / 'done.bin', np.uint8) == 0).sum())

    def read(self, results: dict) -> tuple[np.ndarray, np.ndarray]:
        """Return image (H, W, 3) and label (H, W) of a sample, read-only views.

        Args:
            results: What the data set gives to its pipeline.
        """
        name = results['rel_path']
        offset, height, width = self.entries[name]
        with open(self.folder / 'done.bin', 'rb') as file:
            file.seek(self.number[name])
            done = file.read(1) == b'\1'
        if not done:
            self._write(results)
        size = height * width
        pixels = np.memmap(
            self.folder / 'pixels.bin', np.uint8, 'r', offset, shape=(4 * size,)
        )
        pixels = np.asarray(pixels)  # whose slices are made in less time
        image, label = pixels[: 3 * size], pixels[3 * size :]
        return image.reshape(height, width, 3), label.reshape(height, width)

    def read_image(self, results: dict, step: LoadImageFromFile) -> np.ndarray:
        """Return the image as an array of its own, in place of the step that loads it.

        Raises:
            ValueError: The step would load something else.
        """
        if (step.color_type, step.imdecode_backend) != ('color', 'cv2'):
            raise ValueError(
                f'A packed copy holds (H, W, 3) BGR as OpenCV reads it, not color_type='
                f'{step.color_type!r} by {step.imdecode_backend!r}. Remove packed from '
                f'the data set, or these options from LoadImageFromFile.'
            )
        return np.array(self.read(results)[0])

    def _write(self, results: dict) -> None:
        name = results['rel_path']
        offset, height, width = self.entries[name]
        decoded = load_pair({k: v for k, v in results.items() if k != 'packed'})
        image, label = decoded['img'], decoded['gt_seg_map']
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise ValueError(
                f'{results["img_path"]} is {image.dtype} of shape {image.shape} where '
                f'a packed copy holds uint8 of {(height, width, 3)}. Remove packed '
                f'from the data set.'
            )
        with open(self.folder / 'pixels.bin', 'r+b') as file:
            file.seek(offset)
            file.write(image.tobytes())
            file.write(label.tobytes())
            file.flush()
            os.fsync(file.fileno())  # so that no flag can outlive its pixels
        with open(self.folder / 'done.bin', 'r+b') as file:
            file.seek(self.number[name])
            file.write(b'\1')


def digest(pairs: Sequence[dict], label_map: LabelMap) -> str:
    """Name what a copy would hold, from the sources' names, sizes and times."""
    content = hashlib.sha256(label_map.table.tobytes())
    content.update(repr(sorted(label_map.colours.items())).encode())
    beyond = {k: v for k, v in label_map.ids.items() if not 0 <= k <= HIGHEST}
    if beyond:  # ids that the table does not hold
        content.update(repr(sorted(beyond.items())).encode())
    for pair in pairs:
        stats = [os.stat(pair[key]) for key in ('img_path', 'seg_map_path')]
        facts = [(stat.st_size, stat.st_mtime_ns) for stat in stats]
        content.update(repr((pair['rel_path'], facts)).encode())
    return content.hexdigest()[:16]


def header_of(path: str) -> Header:
    """Read the header of an image; ValueError if it is not one of 8-bit colours."""
    with open(path, 'rb') as file:
        header = read_header(file, path)
    if header is None:
        raise UnreadableImage(path, 'it is of no known kind')
    if header.dtype != 'uint8' or not header.for_opencv:
        raise ValueError(
            f'{path} has {header.channels} channel(s) of {header.dtype} '
            f'({header.format}). A packed copy holds (H, W, 3) uint8 BGR, so it would '
            f'lose some of that. Remove packed from the data set.'
        )
    return header


def lay_out(folder: Path, pairs: Sequence[dict]) -> None:
    """Create an empty copy; several processes may do so at once."""
    index, offset = [], 0
    for pair in pairs:
        height, width, *_ = header_of(pair['img_path'])
        index.append((pair['rel_path'], offset, height, width))
        offset += 4 * height * width
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    needs = (
        f'The packed copy of {len(pairs)} images needs {offset / GIB:.2f} GiB in '
        f'{folder.parent}, where {free / GIB:.2f} GiB are free'
    )
    if offset > free:
        raise ValueError(f'{needs}. Make room, choose another folder, or do not pack.')
    logger = MMLogger.get_current_instance()
    logger.info('%s. It is written as images are first read.', needs)
    others = sorted(
        path.name
        for path in folder.parent.iterdir()
        if path.is_dir() and not path.name.startswith(folder.name)
    )
    if others:
        logger.info(
            'Other copies in %s, of other data or of these files before they changed: '
            '%s. Remove those that no run uses.',
            folder.parent,
            ', '.join(others),
        )
    draft = Path(tempfile.mkdtemp(prefix=f'{folder.name}.', dir=folder.parent))
    draft.chmod(0o755)
    with open(draft / 'pixels.bin', 'wb') as file:
        file.truncate(offset)
    (draft / 'done.bin').write_bytes(bytes(len(pairs)))
    (draft / 'index.json').write_text(json.dumps(index))
    try:
        draft.rename(folder)
    except OSError:  # another process was faster
        if not folder.exists():
            raise
        shutil.rmtree(draft)
