"""From the ids in a label file to the ids the network is trained on, and back."""

from collections import Counter
from collections.abc import Mapping, Sequence
from numbers import Integral

import cv2
import numpy as np

from mmseg_fastscnn.datasets.image_header import MAX_PIXELS
from mmseg_fastscnn.datasets.label_file import (
    RawLabel,
    count_values,
    pack_colours,
    read_label_file,
)

UNKNOWN = -1
SHOWN = 10  # ids or colours that an error message lists at most
HIGHEST = (1 << 16) - 1  # id that the table holds; others are looked up one by one


class LabelMap:
    """One mapping of raw ids to train ids, used for reading, checking and writing.

    Args:
        mapping: raw id -> train id; several raw ids may share one. For label files
            that are colour images, a key may also be a colour `(r, g, b)` that the
            palette does not have, for instance of what is not labelled.
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

    Raises:
        ValueError: A key is no id and no colour, or a train id is not in that range.
    """

    def __init__(
        self,
        mapping: Mapping,
        num_classes: int,
        ignore_index: int = 255,
        palette: Sequence[Sequence[int]] = (),
        check_palette: bool = False,
    ):
        if not 0 < num_classes <= 255 or not 0 <= ignore_index <= 255:
            raise ValueError(
                f'{num_classes} classes with ignore_index={ignore_index}: train ids '
                f'are 8-bit, so 1 to 255 classes and an ignore_index of 0 to 255.'
            )
        wrong = set(mapping.values()) - {*range(num_classes), ignore_index}
        if wrong:
            raise ValueError(
                f'label_map has the train ids {sorted(wrong)}; with {num_classes} '
                f'classes they must be 0 to {num_classes - 1}, or {ignore_index} for '
                f'what is ignored.'
            )
        colours = {k: v for k, v in mapping.items() if isinstance(k, tuple)}
        self.ids = {int(k): v for k, v in mapping.items() if isinstance(k, Integral)}
        neither = [k for k in mapping if not isinstance(k, tuple | Integral)]
        beyond = [k for k in self.ids if not -(2**31) <= k < 2**31]
        if neither or beyond:
            raise ValueError(
                f'label_map has the keys {neither + beyond!r}; a key is an id (an '
                f'integer of at most 32 bits) or a colour (r, g, b).'
            )
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
        palette = [tuple(colour) for colour in palette]
        self.shared = {c for c, times in Counter(palette).items() if times > 1}
        self.colours = {colour: k for k, colour in enumerate(palette)} | colours
        for colour in self.shared - colours.keys():
            del self.colours[colour]

    def read(self, path: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
        """Read a label file: (H, W) uint8 train ids.

        Raises:
            ValueError: It is no readable label, or holds an id or a colour that is not
                in the map, or a palette that contradicts the indices.
        """
        return self.encode(read_label_file(path, max_pixels), path)

    def encode(self, raw: RawLabel, name: str) -> np.ndarray:
        """Return (H, W) uint8 train ids.

        A colour image is read by its colours. If its three channels are equal and none
        of its colours but black is in the map, each channel is read as ids.

        Args:
            raw: What was read.
            name: What error messages call it.
        """
        values = raw.values
        if values.ndim == 3:
            train = self._encode_colours(values)
            if train.min() != UNKNOWN:
                return train.astype(np.uint8)
            if not is_gray(values) or (train[values[..., 0] > 0] != UNKNOWN).any():
                self._refuse_colours(values[train == UNKNOWN], name)
            values = np.ascontiguousarray(values[..., 0])
        elif raw.palette is not None and self.check_palette:
            self._compare_palettes(raw, name)
        return self._encode_ids(values, name)

    def _encode_ids(self, raw: np.ndarray, name: str) -> np.ndarray:
        if raw.dtype == np.uint8 and not cv2.LUT(raw, self.unknown).any():
            return cv2.LUT(raw, self.table8)  # the fast way of most label files
        if raw.min() >= 0 and raw.max() <= HIGHEST:
            train = self.table[raw.astype(np.uint16, copy=False)]
        else:
            found, where = np.unique(raw, return_inverse=True)
            train_ids = [self.ids.get(k, UNKNOWN) for k in found.tolist()]
            train = np.array(train_ids, np.int16)[where].reshape(raw.shape)
        if train.min() == UNKNOWN:
            found = np.unique(raw[train == UNKNOWN]).tolist()
            raise ValueError(
                f'{name}: label ids {shorten(found)} are not in label_map, which has '
                f'{shorten(sorted(self.ids))}. Map them to a class or to the ignored '
                f'id in label_map, or correct the file.'
            )
        return train.astype(np.uint8)

    def _encode_colours(self, rgb: np.ndarray) -> np.ndarray:
        """Return (H, W) int16 train ids, `UNKNOWN` where a colour is not in the map."""
        code = pack_colours(rgb)
        train = np.full(code.shape, UNKNOWN, np.int16)
        for (red, green, blue), index in self.colours.items():
            train[code == (red << 16 | green << 8 | blue)] = index
        return train

    def _refuse_colours(self, unknown: np.ndarray, name: str) -> None:
        found = list(count_values(unknown[None]))
        shared = [colour for colour in found if colour in self.shared]
        if shared:
            raise ValueError(
                f'{name}: several classes have the colours {shorten(shared)} (r, g, b) '
                f'in the palette, so colours do not name the class. Use labels of ids.'
            )
        raise ValueError(
            f'{name}: colours {shorten(found)} (r, g, b) are not in the palette, '
            f'which has {shorten(list(self.colours))}. Add them to label_map, for '
            f'instance {found[0]}: 255 to ignore it, or correct the file.'
        )

    def _compare_palettes(self, raw: RawLabel, name: str) -> None:
        """Raise ValueError if a file's colours name other classes than its indices.

        That is so in colour masks that were reduced to a palette: its order is then
        that of the reduction. Two colours at other classes' indices are evidence, and
        so is one if no used index has a colour of its own. Grays at their own value
        are what a palette has by default.
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


def reduced_zero(num_classes: int, ignore_index: int = 255) -> dict[int, int]:
    """Return the label map of `reduce_zero_label`: 0 is ignored, k is class k - 1."""
    classes = {k + 1: k for k in range(num_classes)}
    return {255: ignore_index, 0: ignore_index} | classes


def is_gray(rgb: np.ndarray) -> bool:
    """Whether the three channels of (H, W, 3) are equal everywhere."""
    first = rgb[..., 0]
    return np.array_equal(first, rgb[..., 1]) and np.array_equal(first, rgb[..., 2])


def shorten(values: list) -> str:
    """A list as text, cut after the first few."""
    more = f', ... {len(values) - SHOWN} more' if len(values) > SHOWN else ''
    return f'[{", ".join(str(value) for value in values[:SHOWN])}{more}]'
