"""One picture of some images of a data set with their labels and a legend."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmseg_fastscnn.datasets.doctor.examine import Report
from mmseg_fastscnn.pictures import GAP
from mmseg_fastscnn.report.dataset_page import drawn
from mmseg_fastscnn.report.dataset_text import shares_of
from mmseg_fastscnn.report.page import printable
from mmseg_fastscnn.results import write_picture

SHOWN = 6  # images
WIDTH, LINE, FONT = 260, 22, 14  # of the legend, of a line in it, of its letters


def write_picture_of(report: Report, path: Path) -> None:
    """Write images, their labels beside them, and the classes with their shares.

    Args:
        report: The report on a data set whose classes are known.
        path: A JPEG; one of ours is replaced.
    """
    rows = list(rows_of(report))
    if not rows:
        return
    width = max(row.shape[1] for row in rows)
    rows = [padded(row, width, row.shape[0] + GAP) for row in rows]
    left, right = np.concatenate(rows), legend(report)
    height = max(len(left), len(right))
    parts = [padded(part, part.shape[1] + GAP, height) for part in (left, right)]
    write_picture(path, np.concatenate(parts, axis=1))


def rows_of(report: Report) -> Iterator[np.ndarray]:
    """Yield images that can be read, spread over all, each beside its label."""
    pairs = [
        (pair, facts)
        for facts in report.facts.values()
        for pair in facts.pairs
        if not pair.errors and pair.label
    ]
    count = min(SHOWN, len(pairs))
    for k in np.linspace(0, len(pairs) - 1, count).astype(int):
        yield drawn(*pairs[k])


def padded(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Add white to the right and below."""
    result = np.full((height, width, 3), 255, np.uint8)
    result[: picture.shape[0], : picture.shape[1]] = picture
    return result


def legend(report: Report) -> np.ndarray:
    """Return each class with its colour and its share, (H, W, 3) uint8 BGR."""
    facts = next(iter(report.facts.values()))
    metainfo, shares = facts.parts[0].metainfo, shares_of(facts)
    classes = list(zip(metainfo['classes'], metainfo['palette'], strict=True))
    picture = Image.new('RGB', (WIDTH, LINE * (len(classes) + 1)), 'white')
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(FONT)
    for row, (name, colour) in enumerate(classes):
        top = row * LINE
        draw.rectangle((4, top + 4, 18, top + 18), fill=tuple(colour), outline='black')
        text = f'{printable(name)[:24]}  {shares[name]:.1f} %'
        draw.text((26, top + 2), text, 'black', font)
    draw.text((4, len(classes) * LINE + 2), 'hatched: ignored', 'black', font)
    return cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2BGR)
