"""From the ids in a label file to the ids the network is trained on, and back."""

from collections.abc import Mapping, Sequence
from numbers import Integral

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

UNKNOWN = -1
SHOWN = 10  # ids or colours that an error message lists at most


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

    Attributes:
        raw_ids: (256,) table from train ids back to raw ids, the smallest where several
            share one; uint8, or uint16 where an id needs it.

    Raises:
        ValueError: A key is no id and no colour, or a train id is not in that range.
    """

    def __init__(
        self,
        mapping: Mapping,
        num_classes: int,
        ignore_index: int = 255,
        palette: Sequence[Sequence[int]] = (),
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
        ids = {k: v for k, v in mapping.items() if isinstance(k, Integral)}
        neither = [key for key in mapping if key not in ids and key not in colours]
        if neither:
            raise ValueError(
                f'label_map has the keys {neither!r}; a key is an id (an integer) or a '
                f'colour (r, g, b).'
            )
        ids.setdefault(ignore_index, ignore_index)
        self.table = np.full(1 << 16, UNKNOWN, np.int16)
        self.table[list(ids)] = list(ids.values())
        self.unknown = (self.table[:256] == UNKNOWN).astype(np.uint8)
        self.table8 = self.table[:256].astype(np.uint8)
        raw_ids = np.full(256, ignore_index, np.uint16)
        for raw, train in sorted(ids.items(), reverse=True):
            raw_ids[train] = raw
        self.raw_ids = raw_ids.astype(np.uint8) if raw_ids.max() < 256 else raw_ids
        self.colours = {tuple(colour): k for k, colour in enumerate(palette)} | colours

    def read(self, path: str) -> np.ndarray:
        """Read a label file: (H, W) uint8 train ids.

        The file may be an 8-bit, 16-bit or palette PNG of ids, or a colour image.

        Raises:
            ValueError: It is no readable image, or holds an id or a colour that is
                not in the map.
        """
        try:
            with Image.open(path) as image:
                return self.encode(image, path)
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise ValueError(
                f'{path}: cannot be read as a label image ({error}). Replace the file '
                f'or remove it and its image from the data set.'
            ) from error

    def encode(self, image: Image.Image, name: str) -> np.ndarray:
        """Return (H, W) uint8 train ids of an image of ids or colours.

        Args:
            image: What was read; modes 1, L, P, I, I;16, RGB and RGBA.
            name: What error messages call it.
        """
        if image.mode in ('RGB', 'RGBA'):
            return self._encode_colours(np.asarray(image.convert('RGB')), name)
        raw = np.asarray(image)
        if raw.ndim != 2 or raw.dtype.kind not in 'uib':
            raise ValueError(
                f'{name}: is a {image.mode!r} image; labels are one integer a pixel '
                f'(8-bit, 16-bit or palette PNG) or RGB colours of the palette.'
            )
        if raw.dtype == np.uint8 and not cv2.LUT(raw, self.unknown).any():
            return cv2.LUT(raw, self.table8)  # the fast way of most label files
        outside = raw.dtype.itemsize > 2 and (raw.min() < 0 or raw.max() >= 1 << 16)
        train = None if outside else self.table[raw.astype(np.uint16, copy=False)]
        if outside or train.min() == UNKNOWN:
            known = self.table[raw.clip(0, (1 << 16) - 1)] != UNKNOWN
            found = np.unique(raw[~known]).tolist()
            raise ValueError(
                f'{name}: label ids {shorten(found)} are not in label_map, which has '
                f'{shorten(np.flatnonzero(self.table != UNKNOWN).tolist())}. Map them '
                f'to a class or to the ignored id in label_map, or correct the file.'
            )
        return train.astype(np.uint8)

    def _encode_colours(self, rgb: np.ndarray, name: str) -> np.ndarray:
        code = rgb.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
        train = np.full(code.shape, UNKNOWN, np.int16)
        for (red, green, blue), index in self.colours.items():
            train[code == (red << 16 | green << 8 | blue)] = index
        if train.min() == UNKNOWN:
            found = np.unique(rgb[train == UNKNOWN], axis=0).tolist()
            found = [tuple(colour) for colour in found]
            raise ValueError(
                f'{name}: colours {shorten(found)} (r, g, b) are not in the palette, '
                f'which has {shorten(list(self.colours))}. Add them to label_map, for '
                f'instance {found[0]}: 255 to ignore it, or correct the file.'
            )
        return train.astype(np.uint8)


def shorten(values: list) -> str:
    """A list as text, cut after the first few."""
    more = f', ... {len(values) - SHOWN} more' if len(values) > SHOWN else ''
    return f'[{", ".join(str(value) for value in values[:SHOWN])}{more}]'
