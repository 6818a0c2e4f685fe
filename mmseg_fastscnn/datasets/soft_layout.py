"""How soft labels are laid out on disk, and by what an image file is known."""

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FORM = 1  # raise it when older code could not read the files
LABELS, INDEX = 'labels.bin', 'index.json'
TAIL = 4096  # bytes: the checksum of an image file covers its end


def packed_cells(probabilities: Tensor, top: int) -> np.ndarray:
    """Return probabilities (C, h, w) as they are on disk, (2, top, h, w) uint8."""
    best = probabilities.topk(top, dim=0)
    values = (best.values * 255).round()
    return torch.stack([best.indices, values]).byte().numpy()


def unpacked(packed: np.ndarray, classes: int) -> np.ndarray:
    """Return the probabilities (C, h, w) float32 of `packed_cells`; they sum to 1."""
    ids, values = packed.astype(np.int64)
    dense = np.zeros((classes, *values.shape[1:]), np.float32)
    np.put_along_axis(dense, ids, values, 0)
    return dense / dense.sum(0)


def file_facts(path: str | Path) -> list[int]:
    """Return what an image file is known by: its size and the checksum of its end."""
    with open(path, 'rb') as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        return [size, zlib.crc32(file.read())]


def index_bytes(
    classes: Sequence[str],
    temperature: float,
    top: int,
    teachers: Sequence[tuple[str, str]],
    images: Mapping[str, list[int]],
) -> bytes:
    """Return the content of `index.json`.

    Args:
        classes: Their names.
        temperature: What the teachers' logits were divided by.
        top: Number of classes that are kept of each cell.
        teachers: Path and hash of each file.
        images: For each image, by its name: `file_facts`, height, width, and offset,
            length and checksum of its soft labels.
    """
    content = dict(
        form=FORM,
        classes=list(classes),
        temperature=temperature,
        top=top,
        teachers=teachers,
        images=images,
    )
    return json.dumps(dict(content, check=index_check(content))).encode()


def index_check(content: Mapping) -> int:
    return zlib.crc32(json.dumps(content).encode())


def read_index(folder: Path) -> dict | None:
    """Return what `index_bytes` was given; None if it or `labels.bin` is damaged."""
    try:
        index = json.loads((folder / INDEX).read_bytes())
        check = index.pop('check')
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if check != index_check(index) or index.get('form') != FORM:
        return None
    labels = folder / LABELS
    found = labels.stat().st_size if labels.is_file() else 0
    complete = found == sum(entry[5] for entry in index['images'].values())
    return index if complete else None
