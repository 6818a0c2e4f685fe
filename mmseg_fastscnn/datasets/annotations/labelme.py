"""LabelMe: one JSON file per image, with or without the image in it."""

import base64
import binascii
import posixpath
from collections.abc import Mapping

import cv2
import numpy as np

from mmseg_fastscnn.datasets.annotations.found import Folder, Found, Pair
from mmseg_fastscnn.datasets.annotations.image_size import drawn_size
from mmseg_fastscnn.datasets.annotations.places import (
    by_ending,
    match,
    named_image,
    split_of,
)
from mmseg_fastscnn.datasets.annotations.shapes import (
    Drawing,
    Patch,
    Polygons,
    Shape,
    box,
    circle,
    naming,
    polygon,
)

AREAS = ('polygon', 'rectangle', 'circle', 'mask')


def read_labelme(folder: Folder) -> Found | None:
    """Read a folder of LabelMe's files; None if there are none."""
    files = {k: v for k, v in folder.json_files.items() if is_labelme(v)}
    if not files:
        return None
    found = Found(f'LabelMe JSON ({len(files)} files)', [])
    endings = by_ending(folder.images)
    by_name = {label: image for image, label in match(folder.images, files)[0].items()}
    without_area: dict[str, int] = {}
    for name, content in files.items():
        try:
            image = image_of(name, content, endings) or by_name.get(name)
            if image is None:
                raise ValueError(
                    f'its image {content.get("imagePath")!r} is not in the folder, and '
                    f'none has the name of this file'
                )
            drawing = drawing_of(content, folder, image, without_area)
            found.pairs.append(Pair(image, drawing, split_of(image, name)))
        except (ValueError, OSError) as error:
            found.problems.append(f'{folder.root / name}: {error}.')
    for kind, count in without_area.items():
        found.left_out.append(f'{count} shapes of type {kind} have no area.')
    return found


def is_labelme(content: object) -> bool:
    return isinstance(content, Mapping) and isinstance(content.get('shapes'), list)


def image_of(name: str, content: Mapping, endings: dict) -> str | None:
    """Return the image that a file names."""
    told = content.get('imagePath')
    if not isinstance(told, str) or not told:
        return None
    exact = posixpath.normpath(posixpath.join(posixpath.dirname(name), told))
    return (
        exact if exact in endings.get(exact, ()) else named_image(told, endings, name)
    )


def drawing_of(
    content: Mapping, folder: Folder, image: str, without_area: dict[str, int]
) -> Drawing:
    """Return the shapes of a file; those without an area are counted."""
    told = content.get('imageHeight'), content.get('imageWidth')
    size, orientation = drawn_size(folder.root / image, told)
    shapes = []
    for number, shape in enumerate(content['shapes'], 1):
        kind = shape.get('shape_type') if isinstance(shape, Mapping) else None
        if kind is None and isinstance(shape, Mapping):
            kind = 'polygon'  # files of early versions do not say it
        if kind not in AREAS and isinstance(kind, str):
            without_area[kind] = without_area.get(kind, 0) + 1
            continue
        try:
            with naming(f'shape {number}'):
                shapes.append(Shape(str(shape['label']), area_of(shape, kind, size)))
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f'shape {number} lacks {error}') from error
    return Drawing(size, tuple(shapes), orientation)


def area_of(shape: Mapping, kind: str, size: tuple[int, int]) -> Polygons | Patch:
    """Return the area of a shape.

    Raises:
        ValueError: It is damaged.
    """
    numbers = [float(value) for point in shape['points'] for value in point]
    if kind == 'mask':
        return patch(shape['mask'], numbers, size)
    if kind in ('rectangle', 'circle'):
        if len(numbers) != 4:
            raise ValueError(f'a {kind} has {len(numbers) // 2} points, it needs 2')
        numbers = (box if kind == 'rectangle' else circle)(*numbers)
        height, width = size  # a circle may reach out of the image
        limits = (2 * width, 2 * height) * (len(numbers) // 2)
        numbers = np.clip(numbers, [-n / 2 for n in limits], limits).tolist()
    return Polygons((polygon(numbers, size),))


def patch(text: str, corner: list[float], size: tuple[int, int]) -> Patch:
    """Return the mask in a shape."""
    try:
        png = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f'its mask is not base64: {error}') from error
    try:
        mask = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error:  # it is empty, or too large
        mask = None
    x, y = corner[:2]
    if mask is None or not (0 <= round(x, 0) < size[1] and 0 <= round(y, 0) < size[0]):
        raise ValueError('its mask is no image, or begins outside of the image')
    return Patch((round(x), round(y)), png)
