"""Soft labels: what a teacher thinks of each image, written once, read by training.

    FOLDER/labels.bin   image after image, for each cell of 8x8 pixels: the ids of the
                        most probable classes (top, h, w) uint8, then their
                        probabilities in units of 1/255 (top, h, w) uint8
    FOLDER/index.json   classes, temperature, teachers and images, and a checksum

`tools/soft_labels.py` writes them. Their resolution is that of the network's logits,
where `DistillationLoss` compares them. They are not resized, cropped and flipped with
the image: at the end of the pipeline the cells of the crop are interpolated from those
of the image, once, at the places that its steps have noted.

An image is known by its name, its size in bytes and a checksum of its last 4 KiB, so
that a copy of the data elsewhere is the same data; a teacher by the hash of its file,
if there still is one.
"""

import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmseg_fastscnn.datasets.soft_layout import (
    INDEX,
    LABELS,
    file_facts,
    read_index,
    unpacked,
)
from mmseg_fastscnn.file_hash import file_hash
from mmseg_fastscnn.ops.sampled import cell_of, cells, centres, part_needed, sampled
from mmseg_fastscnn.structures import STRIDE

# Steps that move pixels, in the only order that soft labels follow, and others.
MOVING = ('RandomResize', 'Resize', 'RandomCrop', 'RandomFlip', 'Pad')
COLOURS = ('PhotoMetricDistortion', 'RandomGrayscale')
STAYING = ('LoadImageFromFile', 'LoadAnnotations', *COLOURS, 'PackSegInputs')


class SoftLabels:
    """The soft labels in a folder, which is opened when they are first asked for.

    Args:
        folder: What `tools/soft_labels.py --out` wrote.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.index: dict | None = None
        self.known: set[str] = set()  # images that were compared with their files

    def check(self, infos: Iterable[Mapping], classes: Sequence[str]) -> None:
        """Check that they belong to these images and classes, and to their teachers.

        Raises:
            FileNotFoundError, ValueError: They are not, or there are none.
        """
        index = self._opened()
        if index['classes'] != list(classes):
            raise ValueError(
                f'{self.folder} has soft labels for the classes '
                f'{", ".join(index["classes"])}, and the training data has '
                f'{", ".join(classes)}. {self._advice()}'
            )
        for path, digest in index['teachers']:
            if os.path.isfile(path) and file_hash(path) != digest:
                raise ValueError(
                    f'{path} has changed since it gave the soft labels in '
                    f'{self.folder}. {self._advice()}'
                )
        for info in infos:
            self._entry(info)

    def read(self, results: Mapping) -> Tensor:
        """Return the probabilities at the cells of a crop, (C, h, w) float32.

        Args:
            results: What the steps of the pipeline have made: `img_shape`, and where
                there were such steps `scale_factor`, `crop_start` and `flip_direction`.

        Raises:
            FileNotFoundError, ValueError: There are none of this image.
        """
        height, width, first, length, check = self._entry(results)
        with open(self.folder / LABELS, 'rb') as file:
            file.seek(first)
            content = file.read(length)
        if zlib.crc32(content) != check:
            raise ValueError(
                f'{self.folder / LABELS} is damaged at {results["rel_path"]}. '
                f'{self._advice()}'
            )
        size = cells(height, STRIDE), cells(width, STRIDE)
        rows, columns = places_of_cells(results)
        part = part_needed(rows, size[0]), part_needed(columns, size[1])
        packed = np.frombuffer(content, np.uint8).reshape(2, -1, *size)
        packed = packed[:, :, part[0], part[1]]
        dense = torch.from_numpy(unpacked(packed, len(self.index['classes'])))
        return sampled(dense, rows - part[0].start, columns - part[1].start)

    @property
    def temperature(self) -> float:
        return self._opened()['temperature']

    def __str__(self) -> str:
        index = self._opened()
        teachers = ', '.join(f'{path} ({hash[:8]})' for path, hash in index['teachers'])
        return (
            f'{self.folder}: soft labels of {len(index["images"])} images by '
            f'{teachers}, temperature {index["temperature"]:g}'
        )

    def _opened(self) -> dict:
        if self.index is None:
            if not (self.folder / INDEX).is_file():
                raise FileNotFoundError(
                    f'There are no soft labels in {self.folder}. {self._advice()}'
                )
            self.index = read_index(self.folder)
            if self.index is None:
                raise ValueError(
                    f'The soft labels in {self.folder} are damaged. {self._advice()}'
                )
        return self.index

    def _entry(self, info: Mapping) -> list[int]:
        """Return height and width of an image; offset, length and checksum."""
        name = info['rel_path']
        entry = self._opened()['images'].get(name)
        if entry is None:
            raise ValueError(
                f'{self.folder} has no soft labels of {info["img_path"]}: they are of '
                f'other images. {self._advice()}'
            )
        if name not in self.known:
            if file_facts(info['img_path']) != entry[:2]:
                raise ValueError(
                    f'{info["img_path"]} is not the image that {self.folder} has soft '
                    f'labels of: it has changed. {self._advice()}'
                )
            self.known.add(name)
        return entry[2:]

    def _advice(self) -> str:
        return f'Write them: tools/soft_labels.py TEACHER CONFIG --out {self.folder}'


def places_of_cells(results: Mapping) -> tuple[Tensor, Tensor]:
    """Return where the cells of a crop lie among those of its image: rows, columns.

    Args:
        results: See `SoftLabels.read`.
    """
    direction = results.get('flip_direction') if results.get('flip') else None
    places = []
    for length, factor, start, flip in zip(
        results['img_shape'],
        results.get('scale_factor', (1, 1))[::-1],  # it is (w, h)
        results.get('crop_start', (0, 0)),
        ('vertical', 'horizontal'),
        strict=True,
    ):
        pixel = centres(cells(length, STRIDE), STRIDE)
        if direction in (flip, 'diagonal'):
            pixel = length - 1 - pixel
        pixel = (pixel + start + 0.5) / factor - 0.5  # in the image before the resize
        places.append(cell_of(pixel, STRIDE))
    return tuple(places)


def check_follows(steps: Sequence) -> None:
    """Check that soft labels can follow an image through the steps of a pipeline.

    Raises:
        ValueError: There is a step that they cannot follow.
    """
    names = [type(step).__name__ for step in steps]
    if 'LoadRandomCrop' in names[:1]:  # which does what these do
        names[:1] = ['RandomResize', 'RandomCrop']
    unknown = [name for name in names if name not in (*MOVING, *STAYING)]
    order = [MOVING.index(name) for name in names if name in MOVING]
    resizes = len({'RandomResize', 'Resize'}.intersection(names))
    swaps = any(getattr(step, 'swap_seg_labels', None) for step in steps)
    is_plain = not unknown and not swaps and resizes < 2 and order == sorted(set(order))
    if not is_plain or 'PackSegInputs' not in names:
        raise ValueError(
            f'Soft labels cannot follow an image through the steps '
            f'{", ".join(unknown or names)}. After loading, a pipeline may have '
            f'{", ".join(MOVING)} (once each, in this order, one of the first two, '
            f'without swap_seg_labels), '
            f'{", ".join(COLOURS)} and PackSegInputs. Remove the other steps, or '
            f'soft_labels.'
        )
