"""How a packed copy is laid out: its name, its empty files and its index."""

import hashlib
import json
import os
import shutil
import stat
import struct
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import MMLogger

from mmseg_fastscnn.datasets.image_header import (
    Header,
    UnreadableImage,
    check_pixels,
    header_of,
)
from mmseg_fastscnn.datasets.label_map import HIGHEST, LabelMap
from mmseg_fastscnn.writing import write_file

GIB = 2**30
VERSION = 2  # of the files' form; a copy of another version is another copy
RECORD = struct.Struct('<II')  # of a sample in done.bin
FILES = ('pixels.bin', 'done.bin', 'index.json')


def digest(pairs: Sequence[dict], label_map: LabelMap) -> str:
    """Name what a copy would hold, from the sources' names, sizes and times."""
    content = hashlib.sha256(label_map.table.tobytes() + bytes([VERSION]))
    content.update(repr(sorted(label_map.colours.items())).encode())
    beyond = {k: v for k, v in label_map.ids.items() if not 0 <= k <= HIGHEST}
    if beyond:  # ids that the table does not hold
        content.update(repr(sorted(beyond.items())).encode())
    for pair in pairs:
        stats = [os.stat(pair[key]) for key in ('img_path', 'seg_map_path')]
        facts = [(one.st_size, one.st_mtime_ns) for one in stats]
        content.update(repr((pair['rel_path'], facts)).encode())
    return content.hexdigest()[:16]


def eight_bit_header(path: str) -> Header:
    """Read the header of an image; ValueError if it is not one of 8-bit colours."""
    header = header_of(path)
    if header.dtype != 'uint8' or not header.for_opencv:
        raise ValueError(
            f'{path} has {header.channels} channel(s) of {header.dtype} '
            f'({header.format}). A packed copy holds (H, W, 3) uint8 BGR, so it would '
            f'lose some of that. Remove packed from the data set.'
        )
    return header


def sizes_of(
    pairs: Sequence[dict], keeps_unreadable: bool
) -> list[tuple[str, int, int]]:
    """Return name, height and width of each sample, from the images' headers."""
    sizes = []
    for pair in pairs:
        try:
            height, width, *_ = eight_bit_header(pair['img_path'])
        except UnreadableImage:
            if not keeps_unreadable:
                raise
            height = width = 0
        sizes.append((pair['rel_path'], height, width))
    return sizes


def check_files(folder: Path) -> None:
    """Check that a copy, which may come from anywhere, consists of files alone.

    What is written to a link would change another file, and reading a pipe would wait
    for ever.

    Raises:
        ValueError: One of its files is something else.
    """
    for path in (folder / name for name in FILES):
        if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
            raise ValueError(
                f'{path} is a link, a folder or a device where a packed copy has a '
                f'file. Remove {folder}; it is written anew as images are read.'
            )


def index_check(copy: str, samples: Sequence) -> int:
    return zlib.crc32(json.dumps([copy, samples]).encode())


def write_index(folder: Path, copy: str, sizes: Sequence[tuple[str, int, int]]) -> None:
    """Write `index.json` of the copy of that name into a folder."""
    index = dict(copy=copy, samples=sizes, check=index_check(copy, sizes))
    write_file(folder / 'index.json', json.dumps(index).encode())


def read_index(
    folder: Path, pairs: Sequence[dict], max_pixels: int
) -> list[tuple[str, int, int]] | None:
    """Return name, height and width of each sample; None if the index is damaged.

    Raises:
        ValueError: The folder holds the copy of other data, or a sample is too large.
    """
    path, names = folder / 'index.json', [pair['rel_path'] for pair in pairs]
    longest = 1000 + sum(100 + len(json.dumps(name)) for name in names)
    try:
        with open(path, 'rb') as file:
            index = json.loads(file.read(longest))
        copy, samples, check = (index[key] for key in ('copy', 'samples', 'check'))
        sizes = [(name, height, width) for name, height, width in samples]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        copy, sizes, check = folder.name, [], None
    if copy != folder.name:
        raise ValueError(
            f'{folder} is the packed copy {copy}, of other data, under another name. '
            f'Give it back its name, or remove it.'
        )
    good = (
        check is not None
        and check == index_check(copy, samples)
        and [name for name, *_ in sizes] == names
        and all(type(side) is int and side >= 0 for _, *size in sizes for side in size)
    )
    if not good:
        MMLogger.get_current_instance().warning(
            f'{path} is damaged or missing; it is written again from the images.'
        )
        return None
    for name, *size in sizes:
        check_pixels(Header(*size, 3, 'uint8', 'PNG'), f'{path}: {name}', max_pixels)
    return sizes


def lay_out(folder: Path, sizes: Sequence[tuple[str, int, int]]) -> None:
    """Create an empty copy; several processes may do so at once."""
    total = sum(4 * height * width for _, height, width in sizes)
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    needs = (
        f'The packed copy of {len(sizes)} images needs {total / GIB:.2f} GiB in '
        f'{folder.parent}, where {free / GIB:.2f} GiB are free'
    )
    if total > free:
        raise ValueError(f'{needs}. Make room, choose another folder, or do not pack.')
    logger = MMLogger.get_current_instance()
    logger.info('%s. It is written as images are first read.', needs)
    others = sorted(
        path.name
        for path in folder.parent.iterdir()
        if (path / 'done.bin').is_file() and not path.name.startswith(folder.name)
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
        file.truncate(total)
    (draft / 'done.bin').write_bytes(bytes(RECORD.size * len(sizes)))
    write_index(draft, folder.name, sizes)
    try:
        draft.rename(folder)
    except OSError:  # another process was faster
        if not folder.exists():
            raise
        shutil.rmtree(draft)
