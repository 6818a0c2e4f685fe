"""The same validation images as predicted now and before, and the worst ones."""

from collections.abc import Iterator, Mapping

import numpy as np

from mmseg_fastscnn.engine.record.pictures import Result
from mmseg_fastscnn.pictures import hatched, overlay, shrunk
from mmseg_fastscnn.report.page import figure, jpeg, legend, text
from mmseg_fastscnn.report.run_files import Run
from mmseg_fastscnn.structures import IGNORED

WIDTH = 400  # pixels of a picture in the page
OPACITY = 0.6


def picture_parts(run: Run) -> Iterator[str]:
    """Yield the fixed images and the worst ones of the last validation."""
    last = run.validations[-1]
    shown = run.results(last, 'shown')
    if not shown:
        return
    earlier = {}
    if len(run.validations) > 1:
        found = run.results(run.validations[-2], 'shown')
        earlier = {result.name: result for result, _ in found}
    yield '<h2>Validation images: now, before and truth</h2>'
    yield legend(run.metainfo)
    for result, image in shown:
        yield result_row(run, result, image, earlier.get(result.name))
    yield '<h2>The images of lowest IoU</h2>'
    yield (
        '<p class="soft">The mean is over the classes of an image\'s label. Often the '
        'label is wrong.</p>'
    )
    for result, image in run.results(last, 'worst'):
        yield result_row(run, result, image)


def result_row(
    run: Run, result: Result, image: np.ndarray | None, before: Result | None = None
) -> str:
    """Return image, truth, prediction before (if known) and now, side by side."""
    note = ''
    if image is None:
        image = np.full((*result.label.shape, 3), 128, np.uint8)
        note = 'The image could not be read; grey stands in its place.'
    shown = {'truth': result.label}
    if before is not None:
        shown[f'before: IoU {before.iou:.1f} %'] = before.pred
    shown[f'now: IoU {result.iou:.1f} %'] = result.pred
    cells = [figure(jpeg(shrunk(image, WIDTH)), 'image')]
    for words, seg_map in shown.items():
        cells.append(figure(jpeg(coloured(image, seg_map, run.metainfo)), words))
    caption = f'<p class="soft">{text(result.name)} {note}</p>'
    return f'{caption}<div class="row">{"".join(cells)}</div>'


def coloured(image: np.ndarray, seg_map: np.ndarray, metainfo: Mapping) -> np.ndarray:
    """Return a small picture of a label map over its image."""
    picture = overlay(image, seg_map, metainfo['palette'], OPACITY)
    return shrunk(hatched(picture, seg_map == IGNORED), WIDTH)
