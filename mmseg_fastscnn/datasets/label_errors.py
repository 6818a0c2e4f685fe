"""Errors of labels that cannot be read, or do not fit their image or the label map."""

from collections.abc import Collection, Iterable, Mapping
from numbers import Integral
from typing import NoReturn

import cv2
import numpy as np

Colour = tuple[int, int, int]  # (r, g, b)
UNKNOWN = -1  # in place of a train id: not in the label map
SHOWN = 10  # ids or colours that an error message lists at most
EXACT = 1 << 24  # a float32 counts no further, and OpenCV's histograms are of these


def check_mapping(mapping: Mapping, num_classes: int, ignore_index: int) -> None:
    """Raise ValueError unless the arguments make a `LabelMap`."""
    if not 0 < num_classes <= 255 or not 0 <= ignore_index <= 255:
        raise ValueError(
            f'{num_classes} classes with ignore_index={ignore_index}: train ids '
            f'are 8-bit, so there can be 1 to 255 classes and an ignore_index of 0 to '
            f'255.'
        )
    wrong = set(mapping.values()) - {*range(num_classes), ignore_index}
    if wrong:
        raise ValueError(
            f'label_map has the train ids {sorted(wrong)}; with {num_classes} '
            f'classes they must be 0 to {num_classes - 1}, or {ignore_index} for '
            f'what is ignored.'
        )
    ids = [key for key in mapping if isinstance(key, Integral)]
    wrong_keys = [key for key in mapping if not isinstance(key, tuple | Integral)]
    wrong_keys += [key for key in ids if not -(2**31) <= key < 2**31]
    if wrong_keys:
        raise ValueError(
            f'label_map has the keys {wrong_keys!r}; a key is an id (an integer of at '
            f'most 32 bits) or a colour (r, g, b).'
        )


def refuse_damaged(path: str, error: Exception) -> NoReturn:
    """Raise ValueError for a label file that is no image, or a damaged one."""
    raise ValueError(
        f'{path}: cannot be read as a label image ({error}). Replace the file or '
        f'remove it and its image from the data set.'
    ) from error


def refuse_ids(unknown: np.ndarray, known: Iterable[int], name: str) -> NoReturn:
    """Raise ValueError for ids that are not in the label map."""
    found = np.unique(unknown).tolist()
    raise ValueError(
        f'{name}: label ids {shorten(found)} are not in label_map, which has '
        f'{shorten(sorted(known))}. Map them to a class or to the ignored '
        f'id in label_map, or correct the file.'
    )


def refuse_colours(
    unknown: np.ndarray, known: Iterable[Colour], shared: Collection[Colour], name: str
) -> NoReturn:
    """Raise ValueError for colours (N, 3) that name no class or several.

    Args:
        unknown: The colours (r, g, b), repeated or not.
        known: Those that name a class.
        shared: Those of several classes.
        name: What the message calls the file.
    """
    found = list(count_values(unknown[None]))
    several = [colour for colour in found if colour in shared]
    if several:
        raise ValueError(
            f'{name}: several classes have the colours {shorten(several)} (r, g, b) '
            f'in the palette, so colours do not name the class. Use labels of ids.'
        )
    raise ValueError(
        f'{name}: colours {shorten(found)} (r, g, b) are not in the palette, '
        f'which has {shorten(list(known))}. Add them to label_map, for '
        f'instance {found[0]}: 255 to ignore it, or correct the file.'
    )


def check_same_grid(shape: tuple[int, int], results: dict) -> None:
    """Raise ValueError unless a label lies on its image pixel by pixel.

    Where EXIF turns the image, viewers and most annotation tools show it turned, while
    it is read as it is stored. The label's size tells which of the two it was drawn on,
    unless turning keeps the size.

    Args:
        shape: (h, w) of the label.
        results: Has `img_path`, `seg_map_path`, `ori_shape`, perhaps `orientation`.
    """
    image, path = results['img_path'], results['seg_map_path']
    size, orientation = results['ori_shape'], results.get('orientation', 1)
    advice = 'Save the image upright, without that entry, as the label is.'
    if shape != size and orientation >= 5 and shape == size[::-1]:
        raise ValueError(
            f'{path}: the label is {shape[0]}x{shape[1]} (h x w), its image {image} is '
            f'stored as {size[0]}x{size[1]}, and its EXIF orientation {orientation} '
            f'turns it to the size of the label. Images are read as they are '
            f'stored. {advice}'
        )
    if shape != size:
        raise ValueError(
            f'{path}: the label is {shape[0]}x{shape[1]} (h x w), its image {image} is '
            f'{size[0]}x{size[1]}. Make the two the same size.'
        )
    if orientation in (2, 3, 4) or (orientation != 1 and size[0] == size[1]):
        raise ValueError(
            f'{image}: its EXIF orientation is {orientation}, and the size of its '
            f'label {path} does not tell whether it was drawn on the image as it is '
            f'stored or as it is shown. {advice}'
        )


def count_values(values: np.ndarray) -> dict[int | Colour, int]:
    """Return how many pixels each id or each colour (r, g, b) has."""
    if values.dtype == np.uint8 and values.ndim == 2:
        counts = histogram(values)  # np.unique takes ten times as long
        found = np.flatnonzero(counts)
        return dict(zip(found.tolist(), counts[found].tolist(), strict=True))
    if values.ndim == 2:
        found, counts = np.unique(values, return_counts=True)
        return dict(zip(map(int, found), counts.tolist(), strict=True))
    found, counts = np.unique(pack_colours(values), return_counts=True)
    colours = [(code >> 16, code >> 8 & 255, code & 255) for code in found.tolist()]
    return dict(zip(colours, counts.tolist(), strict=True))


def histogram(label: np.ndarray) -> np.ndarray:
    """Count each of the 256 values of (H, W) uint8, faster than np.bincount."""
    strips = np.array_split(label, -(-label.size // EXACT))
    counts = [cv2.calcHist([strip], [0], None, [256], [0, 256]) for strip in strips]
    return sum(count.ravel().astype(np.int64) for count in counts)


def pack_colours(rgb: np.ndarray) -> np.ndarray:
    """Make one integer, 0xrrggbb, of each colour of (..., 3)."""
    return rgb.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)


def shorten(values: list) -> str:
    """Return a list as text, cut off after the first few values."""
    more = f', ... {len(values) - SHOWN} more' if len(values) > SHOWN else ''
    return f'[{", ".join(str(value) for value in values[:SHOWN])}{more}]'
