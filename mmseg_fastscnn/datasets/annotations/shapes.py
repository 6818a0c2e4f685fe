"""Shapes that annotation tools save, and label images drawn from them."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import cv2
import numpy as np

FRACTION = 4  # bits of a coordinate behind the point, for OpenCV
IGNORE = ('__ignore__', '_ignore_', 'ignore')  # names of shapes that are not counted
BACKGROUND = ('_background_', 'background')


@contextmanager
def naming(shape: str) -> Iterator[None]:
    """Say in a ValueError which shape it is about, such as 'annotation 7'."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f'{shape}: {error}') from error


class Polygons(NamedTuple):
    """Areas within closed lines.

    Attributes:
        rings: Points (x, y) of each line, in pixels; the first pixel is 0 to 1.
    """

    rings: tuple[tuple[tuple[float, float], ...], ...]

    def paint(self, label: np.ndarray, value: int) -> None:
        for ring in self.rings:
            # OpenCV counts from the middle of the first pixel
            points = (np.array(ring) - 0.5) * (1 << FRACTION)
            points = np.rint(points).astype(np.int32)
            cv2.fillPoly(label, [points], value, cv2.LINE_8, FRACTION)


class RunLengths(NamedTuple):
    """A mask as lengths of runs down the columns: outside, inside, outside, ...

    Attributes:
        counts: The lengths.
        size: (h, w) of the mask.
    """

    counts: tuple[int, ...]
    size: tuple[int, int]

    def paint(self, label: np.ndarray, value: int) -> None:
        inside = np.arange(len(self.counts)) % 2 == 1
        mask = np.repeat(inside, self.counts).reshape(self.size[::-1]).T
        label[mask] = value


class Patch(NamedTuple):
    """A mask of a part of the image.

    Attributes:
        corner: (x, y) of its first pixel.
        png: The mask as a PNG file; what is not 0 is inside.
    """

    corner: tuple[int, int]
    png: bytes

    def paint(self, label: np.ndarray, value: int) -> None:
        mask = cv2.imdecode(np.frombuffer(self.png, np.uint8), cv2.IMREAD_GRAYSCALE)
        x, y = self.corner
        part = label[y : y + mask.shape[0], x : x + mask.shape[1]]
        part[mask[: part.shape[0], : part.shape[1]] > 0] = value


class Shape(NamedTuple):
    """A named shape."""

    name: str
    area: Polygons | RunLengths | Patch


class Drawing(NamedTuple):
    """The shapes on an image; later ones cover earlier ones.

    Attributes:
        size: (h, w) of the image that was annotated.
        shapes: The shapes.
        orientation: EXIF's orientation by which the stored image is turned to `size`; 1
            if it is stored like that.
    """

    size: tuple[int, int]
    shapes: tuple[Shape, ...]
    orientation: int = 1

    def draw(self, ids: Mapping[str, int]) -> np.ndarray:
        """Return (H, W) uint8, 0 where there is no shape, in the grid of the file.

        Args:
            ids: Name -> id.
        """
        label = np.zeros(self.size, np.uint8)
        for name, area in self.shapes:
            area.paint(label, ids[name])
        return as_stored(label, self.orientation)

    def digest(self, ids: Mapping[str, int]) -> str:
        """Return what changes whenever the drawn label would."""
        return hashlib.sha256(repr((self, sorted(ids.items()))).encode()).hexdigest()


def as_stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a label that was drawn on the image as shown to the grid of its file."""
    if orientation == 5:
        upright = upright.T
    elif orientation == 6:
        upright = np.rot90(upright)
    elif orientation == 7:
        upright = upright[::-1, ::-1].T
    elif orientation == 8:
        upright = np.rot90(upright, -1)
    return np.ascontiguousarray(upright)


def polygon(numbers: object, size: tuple[int, int]) -> tuple[tuple[float, float], ...]:
    """Return the points of a polygon.

    Args:
        numbers: x, y, x, y, ... in pixels.
        size: (h, w) of the image.

    Raises:
        ValueError: There are under three points, or one that is no number or far out.
    """
    try:
        flat = [float(number) for number in numbers]
    except (TypeError, ValueError) as error:
        raise ValueError(f'a polygon has a point that is no number: {error}') from error
    if len(flat) < 6 or len(flat) % 2:
        raise ValueError(
            f'a polygon has {len(flat)} numbers; it needs x and y of 3 or more points'
        )
    height, width = size
    points = tuple(zip(flat[::2], flat[1::2], strict=True))
    for x, y in points:
        inside = -width <= x <= 2 * width and -height <= y <= 2 * height
        if not (math.isfinite(x) and math.isfinite(y) and inside):
            raise ValueError(
                f'a polygon has the point ({x:g}, {y:g}), far out of the image of '
                f'{height}x{width} (h x w)'
            )
    return points


def box(x1: float, y1: float, x2: float, y2: float) -> list[float]:
    """Return the corners of a rectangle as numbers for `polygon`."""
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def circle(x: float, y: float, x2: float, y2: float) -> list[float]:
    """Return points of a circle, from its middle and a point on it, for `polygon`."""
    radius = math.hypot(x2 - x, y2 - y)
    angles = [2 * math.pi * k / 64 for k in range(64)]
    return [
        value
        for angle in angles
        for value in (x + radius * math.cos(angle), y + radius * math.sin(angle))
    ]


def run_lengths(counts: object, size: Sequence[int]) -> RunLengths:
    """Return a mask from COCO's run lengths, a list of numbers or compressed text.

    Raises:
        ValueError: They are not as many pixels as the mask has.
    """
    if isinstance(counts, str):
        counts = decompress(counts)
    height, width = (int(side) for side in size)
    if not isinstance(counts, list) or not all(
        type(n) is int and n >= 0 for n in counts
    ):
        raise ValueError('the counts of a run-length mask are not numbers of pixels')
    if sum(counts) != height * width:
        raise ValueError(
            f'a run-length mask has {sum(counts)} pixels, its size is {height}x{width}'
        )
    return RunLengths(tuple(counts), (height, width))


def decompress(text: str) -> list[int]:
    """Return the run lengths in COCO's compressed text.

    Each character holds six bits, less 48: five of a number, lowest first, and whether
    more of it follow. A number is signed, and from the third on (counted from 0) it
    is the difference to the one two before.

    Raises:
        ValueError: It is not such text.
    """
    counts: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError(f'compressed counts have the character {character!r}')
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = shift = 0
    if shift:
        raise ValueError('compressed counts end in the middle of a number')
    return counts
