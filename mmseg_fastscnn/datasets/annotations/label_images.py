"""Label images: ids, palettes, colours, and masks of 0 and 255."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from mmseg_fastscnn.cores import cores_per_process
from mmseg_fastscnn.datasets.annotations.class_lists import ClassList, class_list
from mmseg_fastscnn.datasets.annotations.found import Folder, Found, Pair
from mmseg_fastscnn.datasets.annotations.places import (
    OTHERS,
    match,
    place_of,
    split_of,
)
from mmseg_fastscnn.datasets.annotations.shapes import IGNORE
from mmseg_fastscnn.datasets.cityscapes import RAW_SUFFIX, TRAIN_SUFFIX
from mmseg_fastscnn.datasets.doctor.suggested_map import as_ids, reading_map
from mmseg_fastscnn.datasets.label_errors import count_values, shorten
from mmseg_fastscnn.datasets.loading import read_raw_label
from mmseg_fastscnn.datasets.metainfo import voc_palette
from mmseg_fastscnn.datasets.split_file import ends_in
from mmseg_fastscnn.structures import IGNORED

RARE = 0.05  # share of the pixels under which values look like borders
PHOTOS = ('.jpg', '.jpeg', '.webp')  # beside which PNGs of the same names are labels


class Values(NamedTuple):
    """What the label files hold.

    Attributes:
        counts: Raw id, or colour in a colour image -> pixels.
        palette: Index -> colour, of files with a palette.
    """

    counts: Counter
    palette: dict[int, tuple[int, int, int]]


def read_label_images(folder: Folder) -> Found | None:
    """Read a folder of images and label images; None if there are no such pairs."""
    images, labels, others = roles(folder.images)
    pairs, problems = match(images, labels)
    if not pairs:
        return None
    found = Found('label images', [], problems=problems)
    found.pairs = [
        Pair(image, label, split_of(image, label)) for image, label in pairs.items()
    ]
    used = set(pairs.values())
    for names, what in (
        ([name for name in images if name not in pairs], 'images have no label'),
        ([name for name in labels if name not in used], 'labels have no image'),
    ):
        if names:
            found.left_out.append(f'{len(names)} {what}: {shorten(names)}.')
    if others:
        found.notes.append(
            f'{len(others)} pictures of instances or for people are not read: '
            f'{others[0]}, ...'
        )
    values = values_in(folder, sorted(used))
    known = class_list(folder)
    if known is None:
        by_values(found, values)
    else:
        by_list(found, values, known)
    return found


def unpaired(folder: Folder) -> str:
    """Say what lies in a folder without pairs, and what to do if labels stand alone."""
    images, labels, _ = roles(folder.images)
    if not labels:
        return f'{len(images)} images and no annotations of a known kind.'
    if images:
        return (
            f'{len(images)} images and {len(labels)} label images, but no two whose '
            f'names and places belong together: {images[0]}, {labels[0]}.'
        )
    return (
        f'{len(labels)} label images ({labels[0]}, ...) and no images of their names. '
        f'Put the images beside them, for instance into images/ or JPEGImages/; CVAT '
        f'exports both with "Save images".'
    )


def roles(paths: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Tell images, label images and other pictures by where they are.

    Where no folder and no name says which is a label, PNGs that stand beside photos of
    the same names are.
    """
    others = [path for path in paths if OTHERS.search(path)]
    if any(path.endswith(RAW_SUFFIX) for path in paths):  # the other ids beside it
        others += [path for path in paths if path.endswith(TRAIN_SUFFIX)]
    rest = set(others)
    paths = [path for path in paths if path not in rest]
    labels = [path for path in paths if place_of(path).role == 'label']
    images = [path for path in paths if place_of(path).role != 'label']
    if not labels:
        photos = {p.rpartition('.')[0] for p in images if ends_in(p, *PHOTOS)}
        labels = [
            p for p in images if ends_in(p, '.png') and p.rpartition('.')[0] in photos
        ]
        images = [path for path in images if path not in set(labels)]
    return images, labels, others


def values_in(folder: Folder, labels: list[str]) -> Values:
    """Count the values in all label files; those that cannot be read are passed over.

    The check of the data set names them.
    """
    result = Values(Counter(), {})

    def read(name: str) -> tuple[dict, list | None]:
        try:
            raw = read_raw_label(str(folder.root / name))
        except (ValueError, OSError):
            return {}, None
        return count_values(raw.values), raw.palette

    with ThreadPoolExecutor(cores_per_process()) as pool:
        for counts, palette in pool.map(read, labels):
            result.counts.update(counts)
            if palette is not None:
                used = {k: palette[k] for k in counts if k < len(palette)}
                result.palette.update(used)
    return result


def by_list(found: Found, values: Values, known: ClassList) -> None:
    """Read values as a file of the user's folder says."""
    found.form += f', values as in {known.source}'
    mapping = dict(known.values)
    for index, colour in values.palette.items():  # files of indices, a list of colours
        if colour in known.values:
            mapping[index] = known.values[colour]
    names = list(dict.fromkeys(n for n in mapping.values() if n not in IGNORE))
    occurring = {mapping[value] for value in values.counts if value in mapping}
    absent = [name for name in names if name not in occurring]
    found.classes = [name for name in names if name in occurring]
    if absent:
        found.notes.append(f'{", ".join(absent)}: in no label, so no class.')
    ids = {name: k for k, name in enumerate(found.classes)}
    found.label_map = {value: ids.get(name, IGNORED) for value, name in mapping.items()}
    if known.colours:
        found.palette = [known.colours[name] for name in found.classes]
    elif values.palette:  # another one would contradict the files
        by_name = {mapping[k]: c for k, c in values.palette.items() if k in mapping}
        others = voc_palette(len(found.classes))
        found.palette = [
            by_name.get(name, colour)
            for name, colour in zip(found.classes, others, strict=True)
        ]


def by_values(found: Found, values: Values) -> None:
    """Give each value a class, where nothing says what the values mean."""
    ids = as_ids(values.counts)
    mapping = reading_map(values.counts)
    if why := in_between(ids, [pair.label for pair in found.pairs]):
        found.problems.append(why)
        return
    if mapping is None:
        found.problems.append(
            f'The labels hold {len(ids)} different values, too many for classes: they '
            f'may be photos, or masks that were smoothed or saved as JPEG. Save masks '
            f'as PNG, and resize them without interpolation.'
        )
        return
    found.form += f' of {describe(ids, values)}'
    found.label_map = mapping
    count = len(set(mapping.values()) - {IGNORED})
    found.classes = [f'class {k}' for k in range(count)]
    if count == 2 and next(iter(mapping)) in (0, (0, 0, 0)):
        found.classes = ['background', 'foreground']
    of_class = {train_id: value for value, train_id in mapping.items()}
    colours = [
        value if isinstance(value, tuple) else values.palette.get(value)
        for value in (of_class[k] for k in range(count))
    ]
    if all(colours):
        found.palette = colours
    elif values.palette:
        found.palette = voc_palette(count)
    if list(ids) == [0, IGNORED]:
        found.notes.append(
            'The labels hold 0 and 255 and nothing else: two classes, 0 is background '
            'and 255 is foreground.'
        )
    elif IGNORED in mapping or (255, 255, 255) in mapping:
        found.notes.append('255 (white in colours) is taken for pixels not labelled.')
    found.notes.append(
        f'Nothing says what the values mean, so the classes are '
        f'{", ".join(found.classes)}. A file classes.txt with one name per line, in '
        f'the order of the values, names them; so does _classes.csv (value, name), or '
        f'label_colors.txt (r g b name).'
    )


def in_between(ids: Mapping, labels: Sequence[str]) -> str | None:
    """Say that values are no classes but between those of two, as at blurred borders.

    Args:
        ids: Value -> pixels.
        labels: The label files.
    """
    most = sorted(sorted(ids, key=ids.get)[-2:])
    rest = sorted(set(ids) - set(most))
    lossy = [label for label in labels if ends_in(label, *PHOTOS)]
    # a few pixels, and their ids do not follow those of a list of classes
    smooth = (
        most == [0, IGNORED]
        and len(rest) > 1
        and sum(ids[value] for value in rest) < RARE * sum(ids.values())
        and rest != list(range(1, len(rest) + 1))
    )
    if not rest or not (lossy or smooth):
        return None
    shown = ', '.join(map(str, most))
    return (
        f'The masks hold {len(ids)} different values, of which {shown} have '
        f'{100 * sum(map(ids.get, most)) / sum(ids.values()):.1f} % of the pixels. '
        + (
            f'They are JPEG or WebP ({lossy[0]}, ...), which changes values. Save them '
            f'as PNG where they were made'
            if lossy
            else 'The others seem to be smoothed borders, as resizing makes them. Save '
            'masks as they were drawn'
        )
        + '; a mask of two classes may be cut halfway between both. If each value is a '
        'class, name them in classes.txt.'
    )


def describe(ids: Mapping, values: Values) -> str:
    """Say of which kind values are, and how many pixels each has."""
    total = sum(ids.values())
    shown = ', '.join(f'{v} ({100 * n / total:.2f} %)' for v, n in ids.items())
    kind = 'palette indices' if values.palette else 'ids'
    return f'{"colours" if isinstance(next(iter(ids)), tuple) else kind} {shown}'
