"""Pictures of labels. Images are (H, W, 3) uint8 BGR, palettes (r, g, b)."""

from collections.abc import Sequence

import numpy as np

GAP = 4  # pixels of white between the pictures of a panel


def overlay(
    image: np.ndarray,
    seg_map: np.ndarray,
    palette: Sequence[Sequence[int]],
    opacity: float = 0.5,
) -> np.ndarray:
    """Blend the classes' colours into the image; pixels of no class stay as they are.

    Args:
        image: (H, W, 3) uint8 BGR.
        seg_map: (H, W) train ids.
        palette: (r, g, b) of each class.
        opacity: Of the colours, 0 to 1.
    """
    bgr = np.asarray(palette, np.float32)[:, ::-1]
    known = seg_map < len(bgr)
    result = image.copy()
    colours = bgr[seg_map[known]]
    result[known] = np.rint((1 - opacity) * image[known] + opacity * colours)
    return result


def panel(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Put pictures of one height side by side, as in image | truth | prediction."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    row = [part for picture in pictures for part in (picture, gap)]
    return np.concatenate(row[:-1], axis=1)
