"""What the check of a data set found, as one HTML page with pictures in it.

Names of files and classes come from strangers and may hold HTML: all text is escaped,
and the page forbids the browser to run or to load anything.
"""

import base64
from collections.abc import Iterator, Sequence
from html import escape

import cv2
import numpy as np

from mmseg_fastscnn.datasets.doctor.dataset_facts import DatasetFacts
from mmseg_fastscnn.datasets.doctor.examine import Report
from mmseg_fastscnn.datasets.doctor.facts import PairFacts
from mmseg_fastscnn.datasets.loading import read_raw_label
from mmseg_fastscnn.datasets.metainfo import voc_palette
from mmseg_fastscnn.datasets.picture import read_picture
from mmseg_fastscnn.datasets.seg_dataset import SegDataset
from mmseg_fastscnn.pictures import overlay, panel
from mmseg_fastscnn.report.dataset_text import (
    facts_lines,
    grade_of,
    printable,
    verdict,
)

SHOWN = 3  # images per split
WIDTH = 320  # of a picture, in pixels
ANY_ID = voc_palette(256)  # colours of ids that no class has
HEAD = """<!doctype html>
<!-- {mark} -->
<html lang="en"><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }}
li {{ margin-bottom: 1em; overflow-wrap: anywhere }}
.stops b {{ color: #b00020 }}
img {{ max-width: 100%; display: block }}
figure {{ margin: .5em 0 }} figcaption {{ color: #555; overflow-wrap: anywhere }}
pre {{ overflow-x: auto }}
</style>
"""


def page_of(report: Report, mark: str) -> str:
    """Return the page.

    Args:
        report: What was found.
        mark: Words near its beginning that tell it from other files.
    """
    return '\n'.join(parts_of_page(report, mark))


def parts_of_page(report: Report, mark: str) -> Iterator[str]:
    title = f'Data of {report.source}'
    yield HEAD.format(mark=mark, title=text(title))
    yield f'<h1>{text(title)}</h1><p>{text(verdict(report))}</p><ul>'
    for finding in report.findings:
        kind = 'stops' if finding.stops else 'doubtful'
        yield f'<li class="{kind}"><b>{grade_of(finding)}</b>: {text(finding.text)}'
        yield from figures(report, finding.pairs[:2])
        yield '</li>'
    yield '</ul><h2>Numbers</h2><pre>'
    yield '\n'.join(text(line) for line in facts_lines(report))
    yield '</pre>'
    yield from legend(report)
    for name, facts in report.facts.items():
        yield f'<h2>{text(name)}: some of {facts.total} images with their labels</h2>'
        step = max(len(facts.pairs) // SHOWN, 1)
        yield from figures(report, facts.pairs[::step][:SHOWN])


def legend(report: Report) -> Iterator[str]:
    """Yield the names of the classes, each beside its colour."""
    parts = [part for facts in report.facts.values() for part in facts.parts]
    named = [part.metainfo for part in parts if part.label_map is not None]
    if named:
        colours = zip(named[0]['classes'], named[0]['palette'], strict=True)
        for name, (red, green, blue) in colours:
            colour = f'#{red:02x}{green:02x}{blue:02x}'
            yield f'<span style="color: {colour}">&#9632;</span> {text(name)}'


def text(words: str) -> str:
    """Return words as HTML that shows them, whatever they hold."""
    return escape(printable(words))


def figures(report: Report, pairs: Sequence[PairFacts]) -> Iterator[str]:
    """Yield pictures of images, with their labels drawn beside them."""
    for pair in pairs:
        facts = facts_of(report, pair)
        try:
            picture = jpeg(drawn(pair, facts))
            shown = f'<img alt="" src="data:image/jpeg;base64,{picture}">'
        except Exception as error:  # a broken file is what this page may be about
            shown = f'<p>{text(f"No picture: {error}")}</p>'
        names = ' · '.join(dict.fromkeys(filter(None, (pair.image, pair.label))))
        yield f'<figure>{shown}<figcaption>{text(names)}</figcaption></figure>'


def facts_of(report: Report, pair: PairFacts) -> DatasetFacts:
    """Return the facts of the split that a pair is of."""
    return next(
        facts
        for facts in report.facts.values()
        if any(other is pair for other in facts.pairs)
    )


def drawn(pair: PairFacts, facts: DatasetFacts) -> np.ndarray:
    """Return image | image with its label, (H, W, 3) uint8 BGR.

    The classes have the colours of the palette. Where the label map does not fit, or is
    not known, each value in the file has a colour of its own.
    """
    part = facts.parts[pair.part]
    if 'image' in pair.errors or not isinstance(part, SegDataset):
        raise ValueError('the image cannot be read as a file')
    image = read_picture(pair.image)
    if pair.label is None or pair.errors.keys() & {'label', 'grid'}:
        return small(image)
    raw = read_raw_label(pair.label, part.max_pixels)
    if part.label_map is not None and not pair.unknown:
        train, palette = (
            part.label_map.encode(raw, pair.label),
            part.metainfo['palette'],
        )
        return panel([small(image), small(overlay(image, train, palette))])
    if raw.values.ndim == 3:
        return panel([small(image), small(np.ascontiguousarray(raw.values[..., ::-1]))])
    ids = (raw.values % len(ANY_ID)).astype(np.uint8)
    return panel([small(image), small(overlay(image, ids, ANY_ID))])


def small(picture: np.ndarray) -> np.ndarray:
    """Shrink a picture to at most `WIDTH`."""
    factor = min(WIDTH / picture.shape[1], 1)
    size = [max(round(length * factor), 1) for length in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def jpeg(picture: np.ndarray) -> str:
    """Return a picture as a JPEG file in base64."""
    return base64.b64encode(cv2.imencode('.jpg', picture)[1].tobytes()).decode()
