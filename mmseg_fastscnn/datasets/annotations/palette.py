"""Colours that the eye tells apart, for classes to which a user's files give none."""

from collections.abc import Sequence

import cv2
import numpy as np

BLACK = (0, 0, 0)
DARK = 0.6  # colours with all channels below this come late
LEVELS = (0, 42, 85, 128, 170, 212, 255)  # of each channel: 343 colours


def told_apart(classes: Sequence[str]) -> list[tuple[int, int, int]]:
    """Return a colour (r, g, b) per class: black for a background, then bright ones.

    Each is the colour of a grid that differs most, in CIELAB, from those before it and
    from black, grey and white, since it must also be seen as a tint on a photo.
    """
    grid = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS, indexing='ij'), -1)
    grid = grid.reshape(-1, 1, 3).astype(np.float32) / 255
    lab = cv2.cvtColor(grid, cv2.COLOR_RGB2LAB)[:, 0]
    is_grey = (grid == grid[..., :1]).all(-1)[:, 0]
    nearest = np.linalg.norm(lab[:, None] - lab[is_grey], axis=-1).min(1)
    nearest[grid.max(-1)[:, 0] < DARK] /= 2
    result = []
    for name in classes:
        if name.lower() == 'background':
            result.append(BLACK)
            continue
        best = nearest.argmax()
        nearest = np.minimum(nearest, np.linalg.norm(lab - lab[best], axis=-1))
        result.append(tuple(round(255 * float(value)) for value in grid[best, 0]))
    return result
