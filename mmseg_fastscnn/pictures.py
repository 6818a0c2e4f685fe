"""Pictures of labels, and words round them: titles, legends of classes.

Images and pictures are (H, W, 3) uint8 BGR, palettes (r, g, b) per class.
"""

from collections.abc import Collection, Mapping, Sequence

import cv2
import numpy as np

STRIPE = 3  # pixels of a stripe, of which every third is drawn
GREY = 200
GAP = 4  # pixels of white between the pictures of a panel
FONT, SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.4
LINE = 18  # pixels from one line of text to the next
BOX = 12  # pixels of a legend's square


def overlay(
    image: np.ndarray,
    seg_map: np.ndarray,
    palette: Sequence[Sequence[int]],
    opacity: float = 0.5,
) -> np.ndarray:
    """Blend the colours of the classes into an image.

    Pixels that are of no class stay as they are.

    Args:
        image: (H, W, 3) uint8 BGR.
        seg_map: (H, W) uint8 train ids.
        palette: (r, g, b) of each class.
        opacity: Opacity of the colours, 0 to 1.

    Returns:
        The picture, (H, W, 3) uint8 BGR; `image` is not changed.

    Raises:
        ValueError: Image and label map differ in size.
    """
    if image.shape[:2] != seg_map.shape:
        raise ValueError(
            f'The image is {image.shape[:2]}, the label map {seg_map.shape} (h, w): '
            f'they are not of one picture.'
        )
    bgr = np.zeros((256, 3), np.uint8)
    bgr[: len(palette)] = np.asarray(palette, np.uint8)[:, ::-1]
    colours = cv2.merge([cv2.LUT(seg_map, channel) for channel in bgr.T])
    result = cv2.addWeighted(image, 1 - opacity, colours, opacity, 0)
    unknown = seg_map >= len(palette)
    if unknown.any():
        result[unknown] = image[unknown]
    return result


def hatched(picture: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return a picture with stripes over some pixels: what is not labelled.

    So it is told from a class that is drawn in black, as a background often is.

    Args:
        picture: (H, W, 3) uint8 BGR.
        where: (H, W) bool.
    """
    if not where.any():
        return picture
    rows, columns = np.indices(where.shape, sparse=True)
    stripe = (rows + columns) // STRIPE % 3 == 0
    result = picture.copy()
    result[where & stripe] = GREY
    return result


def panel(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Put pictures of equal height side by side, as in image | truth | prediction."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    row = [part for picture in pictures for part in (picture, gap)]
    return np.concatenate(row[:-1], axis=1)


def shrunk(picture: np.ndarray, width: int) -> np.ndarray:
    """Make a picture smaller if it is wider than that; its aspect ratio is kept."""
    factor = min(width / picture.shape[1], 1)
    size = [max(round(length * factor), 1) for length in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def titled(picture: np.ndarray, title: str) -> np.ndarray:
    """Return a picture with a line of text above it, cut off at its width."""
    strip = np.full((LINE, picture.shape[1], 3), 255, np.uint8)
    write_words(strip, title, 4, LINE - 6)
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
        write_words(strip, name, x + BOX + 4, row * LINE + LINE - 6)
    return np.concatenate([picture, strip]) if entries else picture


def write_words(strip: np.ndarray, words: str, x: int, y: int) -> None:
    """Write black text; signs that the font lacks become question marks."""
    words = words.encode('ascii', 'replace').decode()
    cv2.putText(strip, words, (x, y), FONT, SCALE, (0, 0, 0), 1, cv2.LINE_AA)
