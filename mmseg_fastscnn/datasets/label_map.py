"""From the ids in a label file to the ids the network is trained on, and back."""

from collections.abc import Mapping, Sequence
from numbers import Integral

import cv2
import numpy as np

from mmseg_fastscnn.datasets.label_colours import colour_table, train_ids_of_colours
from mmseg_fastscnn.datasets.label_errors import (
    UNKNOWN,
    check_mapping,
    compare_palettes,
)
from mmseg_fastscnn.datasets.label_file import (
    HIGHEST,
    RawLabel,
    table_of_raw_ids,
    train_ids_of_any_ids,
)
from mmseg_fastscnn.structures import IGNORED


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
            train = train_ids_of_colours(values, self, name)
            if train is not None:
                return train
            values = np.ascontiguousarray(values[..., 0])
        elif raw.palette is not None and self.check_palette:
            compare_palettes(raw, self, name)
        return self._encode_ids(values, name)

    def _encode_ids(self, raw: np.ndarray, name: str) -> np.ndarray:
        if raw.dtype == np.uint8 and not cv2.LUT(raw, self.unknown).any():
            return cv2.LUT(raw, self.table8)  # the fast way of most label files
        return train_ids_of_any_ids(raw, self, name)
