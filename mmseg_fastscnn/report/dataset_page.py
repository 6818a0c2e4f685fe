"""What the check of a data set found, as one HTML page with pictures in it.

Names of files and classes come from strangers and may hold HTML: all text is escaped.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from mmseg_fastscnn.datasets.doctor.dataset_facts import DatasetFacts
from mmseg_fastscnn.datasets.doctor.examine import Report
from mmseg_fastscnn.datasets.doctor.facts import PairFacts
from mmseg_fastscnn.datasets.loading import read_raw_label
from mmseg_fastscnn.datasets.metainfo import voc_palette
from mmseg_fastscnn.datasets.picture import read_picture
from mmseg_fastscnn.datasets.seg_dataset import SegDataset
from mmseg_fastscnn.pictures import hatched, overlay, panel, shrunk
from mmseg_fastscnn.report.dataset_text import (
    facts_lines,
    grade_of,
    verdict,
)
from mmseg_fastscnn.report.page import figure, head, jpeg, legend, text
from mmseg_fastscnn.results import DATA_PAGE
from mmseg_fastscnn.structures import IGNORED

SHOWN = 3  # images per split
WIDTH = 320  # of a picture, in pixels
ANY_ID = voc_palette(256)  # colours of ids that no class has


def parts_of_page(report: Report) -> Iterator[str]:
    title = f'Data of {report.source}'
    yield head(title, DATA_PAGE)
    yield f'<h1>{text(title)}</h1><p>{text(verdict(report))}</p><ul class="findings">'
    for finding in report.findings:
        kind = 'stops' if finding.stops else 'doubtful'
        yield f'<li class="{kind}"><b>{grade_of(finding)}</b>: {text(finding.text)}'
        yield from figures(report, finding.pairs[:2])
        yield '</li>'
    yield '</ul><h2>Numbers</h2><pre>'
    yield '\n'.join(text(line) for line in facts_lines(report))
    yield '</pre>'
    yield from legend_of(report)
    for name, facts in report.facts.items():
        yield f'<h2>{text(name)}: some of {facts.total} images with their labels</h2>'
        step = max(len(facts.pairs) // SHOWN, 1)
        yield from figures(report, facts.pairs[::step][:SHOWN])


def legend_of(report: Report) -> Iterator[str]:
    """Yield the names of the classes, each beside its colour."""
    parts = [part for facts in report.facts.values() for part in facts.parts]
    if parts:
        yield legend(parts[0].metainfo)


def figures(report: Report, pairs: Sequence[PairFacts]) -> Iterator[str]:
    """Yield pictures of images, with their labels drawn beside them."""
    for pair in pairs:
        facts = facts_of(report, pair)
        try:
            shown = jpeg(drawn(pair, facts))
        except Exception as error:  # a broken file is what this page may be about
            shown = f'<p>{text(f"No picture: {error}")}</p>'
        names = ' · '.join(dict.fromkeys(filter(None, (pair.image, pair.label))))
        yield figure(shown, names)


def facts_of(report: Report, pair: PairFacts) -> DatasetFacts:
    """Return the facts of the split that a pair is of."""
    return next(
        facts
        for facts in report.facts.values()
        if any(other is pair for other in facts.pairs)
    )


def drawn(pair: PairFacts, facts: DatasetFacts) -> np.ndarray:
    """Return image | image with its label, if it can be read, (H, W, 3) uint8 BGR.

    The classes have the colours of the palette. Where the label map does not fit, or is
    not known, each value in the file has a colour of its own.
    """
    part = facts.parts[pair.part]
    if 'image' in pair.errors or not isinstance(part, SegDataset):
        raise ValueError('the image cannot be read as a file')
    image = read_picture(pair.image)
    shown = [image]
    if pair.label is not None and not pair.errors.keys() & {'label', 'grid'}:
        shown.append(with_label(image, pair, part))
    return panel([shrunk(picture, WIDTH) for picture in shown])


def with_label(image: np.ndarray, pair: PairFacts, part: SegDataset) -> np.ndarray:
    """Draw a label over its image; a label of colours that are no classes, alone."""
    raw = read_raw_label(pair.label, part.max_pixels)
    if not pair.unknown:
        train = part.label_map.encode(raw, pair.label)
        picture = overlay(image, train, part.metainfo['palette'])
        return hatched(picture, train == IGNORED)
    if raw.values.ndim == 3:
        return np.ascontiguousarray(raw.values[..., ::-1])
    ids = (raw.values % len(ANY_ID)).astype(np.uint8)
    return overlay(image, ids, ANY_ID)
