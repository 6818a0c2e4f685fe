"""COCO: JSON files with images, categories, and polygons or run lengths."""

from collections.abc import Mapping

from mmseg_fastscnn.datasets.annotations.found import Folder, Found, Pair
from mmseg_fastscnn.datasets.annotations.image_size import drawn_size
from mmseg_fastscnn.datasets.annotations.places import by_ending, named_image, split_of
from mmseg_fastscnn.datasets.annotations.shapes import (
    Drawing,
    Polygons,
    RunLengths,
    Shape,
    naming,
    polygon,
    run_lengths,
)

LISTS = ('images', 'annotations', 'categories')


def read_coco(folder: Folder) -> Found | None:
    """Read a folder with COCO files; None if there are none."""
    files = {k: v for k, v in folder.json_files.items() if is_coco(v)}
    if not files:
        return None
    found = Found(f'COCO JSON ({", ".join(files)})', [])
    endings = by_ending(folder.images)
    for name, content in files.items():
        try:
            names = {one['id']: str(one['name']) for one in content['categories']}
            listed = {one['id']: one for one in content['images']}
        except (KeyError, TypeError) as error:
            found.problems.append(f'{folder.root / name}: a list lacks {error!r}.')
            continue
        found.classes += [n for n in names.values() if n not in found.classes]
        by_image: dict = {number: [] for number in listed}
        for one in content['annotations']:
            number = one.get('image_id') if isinstance(one, Mapping) else None
            if not isinstance(number, int | str) or number not in by_image:
                found.problems.append(
                    f'{folder.root / name}: an annotation is of image {number!r}, '
                    f'which is not listed.'
                )
            else:
                by_image[number].append(one)
        for number, several in by_image.items():
            add(found, folder, name, listed[number], several, names, endings)
    return found


def is_coco(content: object) -> bool:
    return isinstance(content, Mapping) and all(
        isinstance(content.get(key), list) for key in LISTS
    )


def add(
    found: Found,
    folder: Folder,
    name: str,
    listed: Mapping,
    annotations: list,
    names: Mapping,
    endings: dict,
) -> None:
    """Add an image with its shapes, or what is wrong with it."""
    told = str(listed.get('file_name') if isinstance(listed, Mapping) else listed)
    try:
        image = named_image(told, endings, name)
        if image is None:
            raise ValueError('this image is not in the folder, or is there twice')
        told_size = listed.get('height'), listed.get('width')
        size, orientation = drawn_size(folder.root / image, told_size)
        # large ones first, so that small ones are seen
        annotations = sorted(annotations, key=lambda one: -float(one.get('area') or 0))
        shapes = tuple(shape_of(one, names, size) for one in annotations)
        drawing = Drawing(size, shapes, orientation)
        found.pairs.append(Pair(image, drawing, split_of(image, name)))
    except (ValueError, OSError, TypeError, AttributeError) as error:
        found.problems.append(f'{folder.root / name}, {told}: {error}.')


def shape_of(annotation: Mapping, names: Mapping, size: tuple[int, int]) -> Shape:
    """Return the shape of an annotation.

    Raises:
        ValueError: It has none, only a box, or a damaged one.
    """
    category = annotation.get('category_id')
    number = f'annotation {annotation.get("id")}'
    if category not in names:
        raise ValueError(f'{number} has the unknown category {category!r}')
    with naming(number):
        return Shape(names[category], area_of(annotation.get('segmentation'), size))


def area_of(shape: object, size: tuple[int, int]) -> Polygons | RunLengths:
    if isinstance(shape, list) and shape:
        return Polygons(tuple(polygon(ring, size) for ring in shape))
    if isinstance(shape, Mapping) and isinstance(shape.get('size'), list):
        if tuple(shape['size']) != size:
            raise ValueError(
                f'its mask has the size {shape["size"]}, the image {list(size)} (h, w)'
            )
        return run_lengths(shape.get('counts'), size)
    raise ValueError('it has no polygon and no mask (a box alone is not enough)')
