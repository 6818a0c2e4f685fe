"""Words round pictures: a title above each, a legend of classes below all.

Pictures are (H, W, 3) uint8 BGR.
"""

from collections.abc import Collection, Mapping

import cv2
import numpy as np

from mmseg_fastscnn.pictures import hatched

FONT, SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.4
LINE = 18  # pixels from one line of text to the next
BOX = 12  # pixels of a legend's square


def titled(picture: np.ndarray, title: str) -> np.ndarray:
    """Return a picture with a line of text above it, cut off at its width."""
    strip = np.full((LINE, picture.shape[1], 3), 255, np.uint8)
    write(strip, title, 4, LINE - 6)
    return np.concatenate([strip, picture])


def with_legend(
    picture: np.ndarray, metainfo: Mapping, ids: Collection[int], unlabelled: bool
) -> np.ndarray:
    """Return a picture with names and colours of some classes below it.

    Args:
        picture: The picture.
        metainfo: `classes`, and `palette` with (r, g, b) of each.
        ids: Train ids of the classes that are named.
        unlabelled: Whether to explain the stripes of what is not labelled.
    """
    entries = []
    for k in sorted(ids):
        colour = np.array(metainfo['palette'][k][::-1], np.uint8)
        square = np.broadcast_to(colour, (BOX, BOX, 3))
        entries.append((square, str(metainfo['classes'][k])))
    if unlabelled:
        grey = np.full((BOX, BOX, 3), 90, np.uint8)
        entries.append((hatched(grey, np.ones((BOX, BOX), bool)), 'not labelled'))
    places, width = [], picture.shape[1]
    x, row = 4, 0
    for _, name in entries:
        length = BOX + 8 + cv2.getTextSize(name, FONT, SCALE, 1)[0][0] + 12
        if x > 4 and x + length > width:
            x, row = 4, row + 1
        places.append((x, row))
        x += length
    strip = np.full((LINE * (row + 1), width, 3), 255, np.uint8)
    for (square, name), (x, row) in zip(entries, places, strict=True):
        shown = square[:, : max(width - x, 0)]
        top = row * LINE + (LINE - BOX) // 2
        strip[top : top + BOX, x : x + BOX] = shown
        write(strip, name, x + BOX + 4, row * LINE + LINE - 6)
    return np.concatenate([picture, strip]) if entries else picture


def write(strip: np.ndarray, words: str, x: int, y: int) -> None:
    """Write black text; signs that the font lacks become question marks."""
    words = words.encode('ascii', 'replace').decode()
    cv2.putText(strip, words, (x, y), FONT, SCALE, (0, 0, 0), 1, cv2.LINE_AA)
