"""Label files that are colour images: which colour means which train id."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmseg_fastscnn.datasets.label_errors import UNKNOWN, pack_colours, refuse_colours

if TYPE_CHECKING:
    from mmseg_fastscnn.datasets.label_map import LabelMap

Colour = tuple[int, int, int]  # (r, g, b)


def colour_table(
    mapping: Mapping, palette: Sequence[Sequence[int]]
) -> tuple[dict[Colour, int], set[Colour]]:
    """Return the train id of each colour, and the colours that name several classes.

    Args:
        mapping: What `LabelMap` is given. Its colours come before those of the palette,
            and one that is there names a class even if the palette has it twice.
        palette: (r, g, b) of each class.
    """
    palette = [tuple(colour) for colour in palette]
    given = {key: train for key, train in mapping.items() if isinstance(key, tuple)}
    shared = {colour for colour, times in Counter(palette).items() if times > 1}
    table = {colour: k for k, colour in enumerate(palette)} | given
    for colour in shared - given.keys():
        del table[colour]
    return table, shared


def train_ids_of_colours(
    rgb: np.ndarray, label_map: 'LabelMap', name: str
) -> np.ndarray | None:
    """Return the (H, W) uint8 train ids of a colour image; None if it is one of ids.

    It is one of ids if its three channels are equal and none of its colours but black
    is in the label map.

    Args:
        rgb: (H, W, 3) uint8.
        label_map: The label map.
        name: What error messages call the label.

    Raises:
        ValueError: It is an image of colours, and one of them is not in the label map.
    """
    code = pack_colours(rgb)
    train = np.full(code.shape, UNKNOWN, np.int16)
    for (red, green, blue), index in label_map.colours.items():
        train[code == (red << 16 | green << 8 | blue)] = index
    if train.min() != UNKNOWN:
        return train.astype(np.uint8)
    is_gray = (rgb == rgb[..., :1]).all()
    if not is_gray or (train[code > 0] != UNKNOWN).any():
        refuse_colours(rgb[train == UNKNOWN], label_map, name)
    return None
