"""YOLO: one text file per image, one polygon per line."""

import yaml

from mmseg_fastscnn.datasets.annotations.class_lists import names_of_lines
from mmseg_fastscnn.datasets.annotations.found import Folder, Found, Pair
from mmseg_fastscnn.datasets.annotations.image_size import shown_size
from mmseg_fastscnn.datasets.annotations.places import match, split_lists, split_of
from mmseg_fastscnn.datasets.annotations.shapes import (
    Drawing,
    Polygons,
    Shape,
    naming,
    polygon,
)
from mmseg_fastscnn.datasets.split_file import ends_in

NO_LABELS = ('classes.txt', 'readme.txt', 'readme.roboflow.txt', 'readme.dataset.txt')


def read_yolo(folder: Folder) -> Found | None:
    """Read a folder of YOLO's polygons; None if there are none."""
    config = folder.named('data.yaml', 'data.yml', 'dataset.yaml')
    listing = folder.named('classes.txt', 'obj.names')
    lists = split_lists(folder.files).values()
    texts = [
        name
        for name in folder.files
        if ends_in(name, '.txt')
        and name.rpartition('/')[2].lower() not in NO_LABELS
        and name not in lists
    ]
    labels, twofold = match(folder.images, texts)
    if not labels or not (config or listing):
        return None
    form = f'YOLO polygons ({len(labels)} text files, classes of {config or listing})'
    found = Found(form, [], problems=twofold)
    found.classes = (
        names_in_yaml(folder, config) if config else names_of_lines(folder, listing)
    )
    for image, name in labels.items():
        try:
            size, orientation = shown_size(folder.root / image)
            shapes = [
                shape_of(line, number, found.classes, size)
                for number, line in enumerate(folder.lines(name), 1)
            ]
            drawing = Drawing(size, tuple(shapes), orientation)
            found.pairs.append(Pair(image, drawing, split_of(image, name)))
        except (ValueError, OSError) as error:
            found.problems.append(f'{folder.root / name}: {error}.')
    return found


def names_in_yaml(folder: Folder, name: str) -> list[str]:
    """Return the classes in data.yaml, a list or a dict by number."""
    path = folder.root / name
    try:
        content = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        raise ValueError(f'{path} is no YAML: {error}') from error
    names = content.get('names') if isinstance(content, dict) else None
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[k] for k in range(len(names))]
    is_list = isinstance(names, list) and names
    # aliases can make billions of names out of a few lists in lists
    if not is_list or any(isinstance(name, list | dict) for name in names):
        raise ValueError(
            f'{path} has no names of classes. Add a list: names: [road, car, ...]'
        )
    return [str(one) for one in names]


def shape_of(
    line: str, number: int, classes: list[str], size: tuple[int, int]
) -> Shape:
    """Return the shape of a line: number of the class, x, y, x, y, ... of 0 to 1.

    Raises:
        ValueError: It is a box, damaged, or of an unknown class.
    """
    first, *rest = line.split()
    if len(rest) == 4:
        raise ValueError(
            f'line {number} is a box, not a polygon: this is a data set for detection'
        )
    with naming(f'line {number}'):
        train_id, values = int(first), [float(value) for value in rest]
    if not 0 <= train_id < len(classes):
        raise ValueError(
            f'line {number} has class {train_id}; there are {len(classes)} names'
        )
    height, width = size
    scaled = [v * (height if k % 2 else width) for k, v in enumerate(values)]
    with naming(f'line {number}'):
        return Shape(classes[train_id], Polygons((polygon(scaled, size),)))
