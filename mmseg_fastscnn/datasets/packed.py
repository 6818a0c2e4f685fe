"""A decoded copy of a data set on disk, from which random windows are read.

Decoding a PNG takes longer than all later steps. The copy holds every image and its
label as they are in memory, so that a window is read without the rest, and from the
system's file cache if that has room.

    FOLDER/<digest>/pixels.bin   image (H, W, 3) uint8 BGR, label (H, W) uint8 train
                                 ids; image after image
    FOLDER/<digest>/done.bin     8 bytes per sample, written once its pixels are on the
                                 disk: their checksum, and a checksum of that
    FOLDER/<digest>/index.json   name and size of each sample, and a checksum of these

The digest is made of all source files' names, sizes and times and of the label map. So
changed data gets another copy, and a copy that is being read is never overwritten. A
sample is decoded by the process that reads it first; if two do, they write the same.
Images of 16 bits or of other channels do not fit this form and are refused.

A sample is compared with its checksum when it is first read, once per run for all
workers of a process. If it differs, it is decoded from its source again. So damage that
is there when a run starts is found; what changes later in that run is not. A file that
is cut short, or a damaged index, is mended when the copy is opened. A checksum tells
damage, not forgery: whoever can write a copy decides what is trained on, but cannot
have anything read outside of it.
"""

import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import MMLogger

from mmseg_fastscnn.datasets.image_header import MAX_PIXELS
from mmseg_fastscnn.datasets.label_map import LabelMap
from mmseg_fastscnn.datasets.loading import LoadImageFromFile, reading
from mmseg_fastscnn.datasets.packed_layout import (
    RECORD,
    check_files,
    digest,
    lay_out,
    read_index,
    sizes_of,
    write_index,
)
from mmseg_fastscnn.datasets.random_crop import load_pair


class PackedCopy:
    """The copy of some pairs of image and label; created if there is none yet.

    Args:
        folder: Folder of copies, each in a folder of its own.
        pairs: Dicts with `img_path`, `seg_map_path` and `rel_path`.
        label_map: Label map that the labels are read with.
        max_pixels: Largest number of pixels of a sample.
        keeps_unreadable: Whether an image whose header is damaged gets an empty place
            in the copy, so that reading it is the error; by default packing is.

    Raises:
        ValueError: A pair has no label, an image is not 8-bit, there is too little
            space for the copy, or the folder holds the copy of other data or something
            else than files.
    """

    def __init__(
        self,
        folder: str | Path,
        pairs: Sequence[dict],
        label_map: LabelMap,
        max_pixels: int = MAX_PIXELS,
        keeps_unreadable: bool = False,
    ):
        unlabelled = next((p for p in pairs if 'seg_map_path' not in p), None)
        if unlabelled:
            raise ValueError(
                f'{unlabelled["img_path"]} has no label; only data with labels can be '
                f'packed. Remove packed={str(folder)!r}, or set '
                f'data_prefix.seg_map_path.'
            )
        self.folder = Path(folder, digest(pairs, label_map))
        if not self.folder.exists():
            lay_out(self.folder, sizes_of(pairs, keeps_unreadable))
        check_files(self.folder)
        sizes = read_index(self.folder, pairs, max_pixels)
        if sizes is None:
            sizes = sizes_of(pairs, keeps_unreadable)
            write_index(self.folder, self.folder.name, sizes)
        self.entries, offset = {}, 0
        for name, height, width in sizes:
            self.entries[name] = (offset, height, width)
            offset += 4 * height * width
        self.number = {name: k for k, name in enumerate(self.entries)}
        self._mend_lengths(offset)
        # in memory that the workers of a DataLoader share
        self.checked = torch.zeros(len(sizes), dtype=torch.uint8).share_memory_()
        self.checked = self.checked.numpy()

    def read(self, results: dict) -> tuple[np.ndarray, np.ndarray]:
        """Return image (H, W, 3) and label (H, W) of a sample, read-only views.

        Args:
            results: What the data set gives to its pipeline.
        """
        name = results['rel_path']
        _, height, width = self.entries[name]
        number, size = self.number[name], height * width
        with open(self.folder / 'done.bin', 'rb') as file:
            file.seek(RECORD.size * number)
            record = file.read(RECORD.size)
        if record == bytes(RECORD.size):
            self._write(results)
        pixels = self._pixels(name)
        if not self.checked[number]:
            if any(record) and record != self._record(name, pixels):
                MMLogger.get_current_instance().warning(
                    f'{self.folder}: {name} is damaged; it is decoded again.'
                )
                self._write(results)
                pixels = self._pixels(name)
            self.checked[number] = 1
        image, label = pixels[: 3 * size], pixels[3 * size :]
        return image.reshape(height, width, 3), label.reshape(height, width)

    def _pixels(self, name: str) -> np.ndarray:
        """Map the pixels of a sample, image and label, as they are in the file."""
        offset, height, width = self.entries[name]
        pixels = np.memmap(
            self.folder / 'pixels.bin', np.uint8, 'r', offset, (4 * height * width,)
        )
        return np.asarray(pixels)  # whose slices are made in less time

    def _record(self, name: str, pixels: np.ndarray | bytes) -> bytes:
        """Return what `done.bin` holds of a sample with these pixels.

        Name, size and the copy's own name are part of the checksum: pixels of another
        sample, of another shape or from another copy do not have it.
        """
        facts = repr((self.folder.name, name, *self.entries[name])).encode()
        check = zlib.crc32(pixels, zlib.crc32(facts))
        return RECORD.pack(check, zlib.crc32(check.to_bytes(4, 'little')))

    def _mend_lengths(self, total: int) -> None:
        """Give the files their lengths again, if they were cut short.

        What is missing is decoded again as it is read.
        """
        for name, length in (
            ('pixels.bin', total),
            ('done.bin', RECORD.size * len(self.entries)),
        ):
            path = self.folder / name
            if not path.exists():
                path.touch()
            found = path.stat().st_size
            if found == length:
                continue
            MMLogger.get_current_instance().warning(
                f'{path} has {found} bytes where {length} are needed; what is missing '
                f'is written again as it is read.'
            )
            if name == 'pixels.bin':
                self._forget_samples_beyond(found)
            os.truncate(path, length)

    def _forget_samples_beyond(self, end: int) -> None:
        with open(self.folder / 'done.bin', 'r+b') as file:
            for name, (offset, height, width) in self.entries.items():
                if offset + 4 * height * width > end:
                    file.seek(RECORD.size * self.number[name])
                    file.write(bytes(RECORD.size))

    def read_image(self, results: dict, step: LoadImageFromFile) -> np.ndarray:
        """Return the image as a new array, instead of running the step that loads it.

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
            with reading(results['img_path']):
                raise ValueError(
                    f'{results["img_path"]} is {image.dtype} of shape {image.shape} '
                    f'where a packed copy holds uint8 of {(height, width, 3)}. Remove '
                    f'packed from the data set.'
                )
        pixels, path = image.tobytes() + label.tobytes(), self.folder / 'pixels.bin'
        try:
            with open(path, 'r+b') as file:
                file.seek(offset)
                file.write(pixels)
                file.flush()
                os.fsync(file.fileno())  # so that no record can outlive its pixels
            with open(self.folder / 'done.bin', 'r+b') as file:
                file.seek(RECORD.size * self.number[name])
                file.write(self._record(name, pixels))
        except OSError as error:  # whose own text may not name the file
            raise OSError(
                f'{path} cannot be written ({error.strerror or error}). Make room, or '
                f'choose another folder for the packed copy.'
            ) from error
