"""A decoded copy of a data set on disk, which random windows are read from.

Decoding a PNG takes longer than all that follows it. The copy holds every image and its
label as they are in memory, so that a window of one is read without the rest, from the
system's own file cache where that has room.

    FOLDER/<digest>/pixels.bin   image (H, W, 3) uint8 BGR, label (H, W) uint8 train
                                 ids; image after image
    FOLDER/<digest>/done.bin     one byte a sample: 1 once its pixels are written
    FOLDER/<digest>/index.json   where each sample is, and its size

The digest is that of all source files' names, sizes and times and of the label map. So
what has changed gets another copy, and one that is being read is never written over. A
sample is decoded by whoever reads it first; if two processes do, they write the same.
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
from PIL import Image

from mmseg_fastscnn.datasets.label_map import LabelMap
from mmseg_fastscnn.datasets.transforms import LoadAnnotations, LoadImageFromFile

GIB = 2**30
DECODE = (LoadImageFromFile(), LoadAnnotations())


class PackedCopy:
    """The copy of some pairs of image and label; begun if there is none yet.

    Args:
        folder: Where copies are, each in a folder of its own.
        pairs: Dicts with `img_path`, `seg_map_path` and `rel_path`.
        label_map: What labels are read with.

    Raises:
        ValueError: There is a pair without a label, or too little space for the copy.
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
            begin(self.folder, pairs)
        index = json.loads((self.folder / 'index.json').read_text())
        self.entries = {name: entry for name, *entry in index}
        self.number = {name: k for k, name in enumerate(self.entries)}

    def missing(self) -> int:
        """How many samples are not written yet."""
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

    def _write(self, results: dict) -> None:
        name = results['rel_path']
        offset, height, width = self.entries[name]
        decoded = {key: value for key, value in results.items() if key != 'packed'}
        for step in DECODE:
            decoded = step(decoded)
        image, label = decoded['img'], decoded['gt_seg_map']
        if image.shape != (height, width, 3):
            raise ValueError(
                f'{results["img_path"]} is {image.shape} where its header says '
                f'{(height, width, 3)}; it cannot be packed.'
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
    """Name what a copy would hold: of the sources' names, sizes and times."""
    content = hashlib.sha256(label_map.table.tobytes())
    content.update(repr(sorted(label_map.colours.items())).encode())
    for pair in pairs:
        stats = [os.stat(pair[key]) for key in ('img_path', 'seg_map_path')]
        facts = [(stat.st_size, stat.st_mtime_ns) for stat in stats]
        content.update(repr((pair['rel_path'], facts)).encode())
    return content.hexdigest()[:16]


def begin(folder: Path, pairs: Sequence[dict]) -> None:
    """Lay out an empty copy; safe if several processes do so at once."""
    index, offset = [], 0
    for pair in pairs:
        with Image.open(pair['img_path']) as image:
            width, height = image.size
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
