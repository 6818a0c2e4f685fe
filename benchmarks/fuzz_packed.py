"""Damaged and foreign packed copies for `fuzz.py`, each made from a number.

A case is a folder with images, labels (`data/`) and a packed copy of them (`copy/`), of
which only the copy is damaged.
"""

import json
import os
import random
import shutil
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
from fuzz_checkpoints import damaged
from fuzz_images import HUGE, by_opencv
from mmengine.registry import init_default_scope

from mmseg_fastscnn.datasets import SegDataset
from mmseg_fastscnn.datasets.packed_layout import index_check

Files = tuple[tuple[str, bytes], ...]  # names in the folder of the case, and contents
NAMES = ('pixels.bin', 'done.bin', 'index.json')
# Contents that stand for what is no file.
FOLDER, LINK, PIPE, NOTHING = b'a folder', b'a link', b'a pipe', b'nothing'
SIZES = [(12, 17), (12, 17), (9, 21), (6, 7)]
CLASSES = ('a', 'b', 'c', 'd')
OTHER_MAP = {k: (k + 1) % 4 for k in range(4)}


def write_case(path: Path, files: Files) -> None:
    """Write the folder of a case, in place of what is there."""
    shutil.rmtree(path, ignore_errors=True)
    for name, content in files:
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if content == FOLDER:
            file.mkdir()
        elif content == LINK:  # which must not be written through
            file.symlink_to(path / 'data/images/0.png')
        elif content == PIPE:
            os.mkfifo(file)
        elif content != NOTHING:
            file.write_bytes(content)
            os.utime(file, (0, 0))  # the name of a copy depends on it


def read_copy(path: Path, label_map: dict | None = None) -> list[dict]:
    """Open a packed copy and read all of its samples; it is made if there is none."""
    data = SegDataset(
        data_root=str(path / 'data'),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=CLASSES),
        label_map=label_map,
        packed=str(path / 'copy'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
    )
    return [data[k] for k in range(len(data))]


class Packed:
    """Makes cases of each kind from a whole copy."""

    # Kinds, how often each comes, and whether a difference would be silent. Who forges
    # a copy decides what it holds; it must do no more than that.
    KINDS = {
        'packed, damaged': (45, True),
        'packed, foreign': (20, True),
        'packed, other index': (20, True),
        'packed, no file': (10, True),
        'packed, forged': (5, False),
    }
    WRITES = 'copy'  # the folder of a case that reading may change

    def __init__(self):
        init_default_scope('mmseg_fastscnn')
        self.sources, self.name, self.copy = whole_copy(seed=0)
        others = whole_copy(seed=1), whole_copy(seed=0, label_map=OTHER_MAP)
        self.others = [copy for _, _, copy in others]

    def case(
        self, kind: str, rng: random.Random, folder: str
    ) -> tuple[str, Files, Files]:
        """Return the files of a kind, and those that they were made of."""
        make = {
            'packed, damaged': self.damaged,
            'packed, foreign': self.foreign,
            'packed, other index': self.other_index,
            'packed, no file': self.no_file,
            'packed, forged': self.forged,
        }[kind]
        return '.packed', self.files(make(rng)), self.files({})

    def files(self, changed: dict[str, bytes]) -> Files:
        """Return the files of a case in which some of the copy are changed."""
        copy = {**self.copy, **changed}
        return *self.sources, *((f'copy/{self.name}/{k}', v) for k, v in copy.items())

    def damaged(self, rng: random.Random) -> dict[str, bytes]:
        names = rng.sample(NAMES, rng.choice([1, 1, 2, 3]))
        return {name: damaged(self.copy[name], rng) for name in names}

    def foreign(self, rng: random.Random) -> dict[str, bytes]:
        """Take files of another copy, or exchange samples."""
        other = rng.choice(self.others)
        names = rng.sample(NAMES, rng.randrange(4))
        changed = {name: other[name] for name in names}
        if rng.random() < 0.5:  # as if it were of this copy
            changed['index.json'] = self.copy['index.json']
        if not names or rng.random() < 0.2:  # the first two have the same size
            size = 4 * SIZES[0][0] * SIZES[0][1]
            for name, step in (('pixels.bin', size), ('done.bin', 8)):
                old = changed.get(name, self.copy[name])
                changed[name] = old[step : 2 * step] + old[:step] + old[2 * step :]
        return changed

    def other_index(self, rng: random.Random) -> dict[str, bytes]:
        """Change what the index says; its check sum is right."""
        index = json.loads(self.copy['index.json'])
        samples = index['samples']
        sample = rng.choice(samples)
        kind = rng.randrange(6)
        odd = [*HUGE, -1, 1.5, 1e300, True, None, 'a', [], {}, '../../0.png']
        if kind == 0:
            sample[rng.randrange(3)] = rng.choice(odd)
        elif kind == 1:
            sample[1], sample[2] = sample[2], sample[1]
        elif kind == 2:
            rng.shuffle(samples)
        elif kind == 3:
            samples += [rng.choice([sample, rng.choice(odd)])]
        elif kind == 4:
            del samples[rng.randrange(len(samples))]
        else:
            index['copy'] = rng.choice([*odd, self.name[::-1]])
        index['check'] = index_check(index['copy'], samples)
        return {'index.json': json.dumps(index).encode()}

    def no_file(self, rng: random.Random) -> dict[str, bytes]:
        names = rng.sample(NAMES, rng.choice([1, 1, 2, 3]))
        return {n: rng.choice([FOLDER, LINK, PIPE, NOTHING, b'']) for n in names}

    def forged(self, rng: random.Random) -> dict[str, bytes]:
        """Write random pixels, with check sums that are right."""
        pixels, records, offset = rng.randbytes(len(self.copy['pixels.bin'])), b'', 0
        for name, *size in json.loads(self.copy['index.json'])['samples']:
            length = 4 * size[0] * size[1]
            facts = repr((self.name, name, offset, *size)).encode()
            check = zlib.crc32(pixels[offset : offset + length], zlib.crc32(facts))
            again = zlib.crc32(check.to_bytes(4, 'little'))
            records += struct.pack('<II', check, again)
            offset += length
        return {'pixels.bin': pixels, 'done.bin': records}


def whole_copy(
    seed: int, label_map: dict | None = None
) -> tuple[Files, str, dict[str, bytes]]:
    """Return images and labels, the name of their packed copy, and its files."""
    rng = np.random.default_rng(seed)
    sources = []
    for k, size in enumerate(SIZES):
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        label = rng.integers(0, 4, size, np.uint8)
        sources.append((f'data/images/{k}.png', by_opencv('.png', image)))
        sources.append((f'data/labels/{k}.png', by_opencv('.png', label)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'case')
        write_case(path, tuple(sources))
        read_copy(path, label_map)
        (copy,) = (path / 'copy').iterdir()
        files = {name: (copy / name).read_bytes() for name in NAMES}
    return tuple(sources), copy.name, files
