"""From the ids in a label file to the ids the network is trained on, and back."""

from collections import Counter
from collections.abc import Mapping, Sequence
from numbers import Integral

import cv2
import numpy as np

from mmseg_fastscnn.datasets.label_errors import (
    UNKNOWN,
    Colour,
    check_mapping,
    count_values,
    pack_colours,
    refuse_colours,
    refuse_ids,
)
from mmseg_fastscnn.datasets.label_file import RawLabel
from mmseg_fastscnn.structures import IGNORED

HIGHEST = (1 << 16) - 1  # id that a PNG can hold, and the table of a label map


class LabelMap:
    """One mapping of raw ids to train ids, used for reading, checking and writing.

    Args:
        mapping: raw id -> train id; several raw ids may share one. For label files
            that are colour images, a key may also be a colour `(r, g, b)` that the
            palette does not have, for instance the colour of unlabelled pixels.
        num_classes: Train ids are 0 to `num_classes - 1`, or `ignore_index`.
        ignore_index: Train id of what is not counted. As a raw id it is always
            allowed, and maps to itself unless `mapping` says otherwise.
        palette: (r, g, b) of each class: its colour in label files of that kind.
        check_palette: Whether `palette` is known to belong to the label files, so that
            a file with a palette of its own must not contradict it.

    Attributes:
        ids: raw id -> train id, as used.
        raw_ids: (256,) table from train ids back to raw ids, the smallest where several
            share one. uint8 or uint16; int32 if a class has only ids beyond these,
            which no PNG can hold.
        colours: (r, g, b) -> train id, without colours that several classes share.
        shared: Colours that several classes share.

    Raises:
        ValueError: A key is no id and no colour, or a train id is not in that range.
    """

    def __init__(
        self,
        mapping: Mapping,
        num_classes: int,
        ignore_index: int = IGNORED,
        palette: Sequence[Sequence[int]] = (),
        check_palette: bool = False,
    ):
        check_mapping(mapping, num_classes, ignore_index)
        self.ids = {int(k): v for k, v in mapping.items() if isinstance(k, Integral)}
        self.ids.setdefault(ignore_index, ignore_index)
        self.ignore_index = ignore_index
        self.check_palette = check_palette
        self.table = np.full(HIGHEST + 1, UNKNOWN, np.int16)
        for raw, train in self.ids.items():
            if 0 <= raw <= HIGHEST:
                self.table[raw] = train
        self.unknown = (self.table[:256] == UNKNOWN).astype(np.uint8)
        self.table8 = self.table[:256].astype(np.uint8)
        self.raw_ids = table_of_raw_ids(self.ids, ignore_index)
        self.colours, self.shared = colour_table(mapping, palette)

    def encode(self, raw: RawLabel, name: str) -> np.ndarray:
        """Return (H, W) uint8 train ids.

        A colour image is read by its colours. If its three channels are equal and none
        of its colours but black is in the map, each channel is read as ids.

        Args:
            raw: Content of a label file.
            name: What error messages call it.

        Raises:
            ValueError: An id or a colour is not in the map, or the file's palette
                contradicts its indices.
        """
        values = raw.values
        if values.ndim == 3:
            train = self._encode_colours(values, name)
            if train is not None:
                return train
            values = np.ascontiguousarray(values[..., 0])
        elif raw.palette is not None and self.check_palette:
            self._compare_palettes(raw, name)
        if values.dtype == np.uint8 and not cv2.LUT(values, self.unknown).any():
            return cv2.LUT(values, self.table8)  # the fast way of most label files
        return self._encode_any_ids(values, name)

    def _compare_palettes(self, raw: RawLabel, name: str) -> None:
        """Raise ValueError if a file's colours name other classes than its indices.

        That is so in colour masks that were reduced to a palette: its order is then
        that of the reduction. Two colours at other classes' indices are evidence, and
        so is one if no used index has a colour of its own. Grays at their own value are
        what a palette has by default.
        """
        wrong, neutral = [], 0
        for index in count_values(raw.values):
            if index >= len(raw.palette):
                continue
            colour, train = raw.palette[index], self.ids.get(index, UNKNOWN)
            if train == self.ignore_index or colour == (index,) * 3:
                continue
            by_colour = self.colours.get(colour, UNKNOWN)
            neutral += by_colour == UNKNOWN
            if by_colour not in (UNKNOWN, train):
                wrong.append(f'index {index} has {colour}, the colour of {by_colour}')
        if len(wrong) >= 2 or (wrong and not neutral):
            raise ValueError(
                f"{name}: the colours in the file's own palette name other classes "
                f'than its indices do: {"; ".join(wrong[:3])}. To go by the colours, '
                f"save the file as RGB, as by Pillow's convert('RGB'). To go by the "
                f'indices, leave palette out of metainfo, or give it the colours of '
                f'the files.'
            )

    def _encode_any_ids(self, raw: np.ndarray, name: str) -> np.ndarray:
        """Encode integers of any width; ValueError if one is not in the map."""
        if raw.min() >= 0 and raw.max() <= HIGHEST:
            train = self.table[raw.astype(np.uint16, copy=False)]
        else:
            found, where = np.unique(raw, return_inverse=True)
            train_ids = [self.ids.get(k, UNKNOWN) for k in found.tolist()]
            train = np.array(train_ids, np.int16)[where].reshape(raw.shape)
        if train.min() == UNKNOWN:
            refuse_ids(raw[train == UNKNOWN], self.ids, name)
        return train.astype(np.uint8)

    def _encode_colours(self, rgb: np.ndarray, name: str) -> np.ndarray | None:
        """Encode (H, W, 3) uint8 by its colours; None if it is an image of ids.

        Raises:
            ValueError: It is an image of colours, and one of them is not in the map.
        """
        code = pack_colours(rgb)
        train = np.full(code.shape, UNKNOWN, np.int16)
        for (red, green, blue), index in self.colours.items():
            train[code == (red << 16 | green << 8 | blue)] = index
        if train.min() != UNKNOWN:
            return train.astype(np.uint8)
        is_gray = (rgb == rgb[..., :1]).all()
        if not is_gray or (train[code > 0] != UNKNOWN).any():
            unknown = rgb[train == UNKNOWN]
            refuse_colours(unknown, self.colours, self.shared, name)
        return None


def table_of_raw_ids(ids: Mapping[int, int], ignore_index: int) -> np.ndarray:
    """Return (256,) raw ids of the train ids; see `LabelMap.raw_ids`."""
    table = np.full(256, ignore_index, np.int32)
    # the last to be written wins: what a PNG can hold, and of that the smallest
    for raw in sorted(ids, key=lambda raw: (0 <= raw <= HIGHEST, -raw)):
        table[ids[raw]] = raw
    for dtype in (np.uint8, np.uint16):
        if table.min() >= 0 and table.max() <= np.iinfo(dtype).max:
            return table.astype(dtype)
    return table


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
