"""Files that tools write beside label images: which value is which class."""

import csv
import re
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from mmseg_fastscnn.datasets.annotations.found import Folder
from mmseg_fastscnn.datasets.annotations.shapes import IGNORE
from mmseg_fastscnn.datasets.cityscapes import (
    CLASSES,
    LABEL_IDS,
    RAW_SUFFIX,
    TRAIN_SUFFIX,
)
from mmseg_fastscnn.datasets.split_file import text_lines

Colour = tuple[int, int, int]  # (r, g, b)


class ClassList(NamedTuple):
    """What a file says.

    Attributes:
        source: Its path below the user's folder.
        values: Raw id, or colour in the label images -> name.
        colours: Name -> colour, for pictures, where the file has any.
    """

    source: str
    values: dict[int | Colour, str]
    colours: dict[str, Colour]


def read_colours(folder: Folder, name: str, form: str) -> dict[Colour, str]:
    """Read a colour and a name per line, which a regular expression tells apart."""
    values = {}
    for line in folder.lines(name):
        if line.startswith('#'):
            continue
        match = re.fullmatch(form, line)
        colour = tuple(map(int, match.group('r', 'g', 'b'))) if match else (256,)
        if max(colour) > 255:
            raise ValueError(
                f'{folder.root / name}: the line {line!r} names no colour of three '
                f'numbers from 0 to 255 and no class.'
            )
        values[colour] = match['name'].strip()
    return values


def read_roboflow(folder: Folder, name: str) -> dict[int, str]:
    """Read Roboflow's _classes.csv: `id, name`, below a line of titles."""
    values = {}
    for row in list(csv.reader(folder.lines(name), skipinitialspace=True))[1:]:
        if len(row) < 2 or not row[0].strip().isdigit():
            raise ValueError(
                f'{folder.root / name}: the line {",".join(row)!r} has not the form '
                f'"Pixel Value, Class".'
            )
        values[int(row[0])] = row[1].strip()
    return values


def read_names(folder: Folder, name: str) -> dict[int, str]:
    """Read one name per line, in the order of the ids."""
    return dict(enumerate(names_of_lines(folder, name)))


def names_of_lines(folder: Folder, name: str) -> list[str]:
    """Return the names in a file of one per line.

    LabelMe's own files begin with one for what is not counted, which has no id.

    Raises:
        ValueError: A line between others is empty, so that ids are unclear.
    """
    names = text_lines(folder.root / name)
    while names and not names[-1]:
        names.pop()
    if '' in names:
        raise ValueError(
            f'{folder.root / name}: line {names.index("") + 1} is empty. Name the '
            f'class of this id, or call it {IGNORE[0]}.'
        )
    return names[1:] if names[:1] == ['__ignore__'] else names


CVAT = r'(?P<name>[^:]*):(?P<r>\d+),\s*(?P<g>\d+),\s*(?P<b>\d+)(:.*)?'
CAMVID = r'(?P<r>\d+)[\s,]+(?P<g>\d+)[\s,]+(?P<b>\d+)[\s,]+(?P<name>.+)'
READERS: dict[str, Callable[[Folder, str], dict]] = {
    'labelmap.txt': partial(read_colours, form=CVAT),  # name:r,g,b:parts:actions
    'label_colors.txt': partial(read_colours, form=CAMVID),  # r g b name
    '_classes.csv': read_roboflow,
    'classes.txt': read_names,
    'class_names.txt': read_names,
}


def class_list(folder: Folder) -> ClassList | None:
    """Return what a file of the folder says about its values, if one does.

    Raises:
        ValueError: The file is damaged.
    """
    for name, read in READERS.items():
        path = folder.named(name)
        if path is not None:
            values = read(folder, path)
            colours = {v: k for k, v in reversed(values.items()) if type(k) is tuple}
            return ClassList(path, values, colours)
    colours = {name: colour for name, _, colour in CLASSES}
    if any(name.endswith(RAW_SUFFIX) for name in folder.images):
        values = {raw: name for name, raw, _ in CLASSES}
        values = values | {raw: IGNORE[0] for raw in LABEL_IDS if raw not in values}
        return ClassList("Cityscapes' labelIds", values, colours)
    if any(name.endswith(TRAIN_SUFFIX) for name in folder.images):
        return ClassList("Cityscapes' trainIds", dict(enumerate(colours)), colours)
    return None
