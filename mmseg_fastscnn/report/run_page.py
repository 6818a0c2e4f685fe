"""`report.html`: how a run goes, as one page, made from the files in its folder."""

import math
import statistics
from collections.abc import Iterator
from pathlib import Path

from mmseg_fastscnn.report.charts import SCRIPT, Line, line_chart, reliability_chart
from mmseg_fastscnn.report.confusion import confusion_parts
from mmseg_fastscnn.report.page import facts_table, head, table, text, write_page
from mmseg_fastscnn.report.run_facts_page import facts_parts
from mmseg_fastscnn.report.run_files import Run, read_run, score
from mmseg_fastscnn.report.run_pictures import picture_parts
from mmseg_fastscnn.results import PAGE

NAME = 'report.html'


def write_report(folder: str | Path) -> Path:
    """Write the report of a run into its folder; return its path.

    Raises:
        FileNotFoundError: There is no record of a run.
        ValueError: A file of the record is damaged, or there is a file of that name
            that is not ours.
    """
    path = Path(folder, NAME)
    write_page(path, parts_of_page(read_run(folder)))
    return path


def parts_of_page(run: Run) -> Iterator[str]:
    yield head(f'Run {run.name}', PAGE, SCRIPT)
    yield f'<h1>{text(run.name)}</h1>'
    yield from summary(run)
    yield '<h2>Curves</h2><div class="grid">'
    yield from curves(run)
    yield '</div>'
    if run.validations:
        last = run.validations[-1]
        yield from class_parts(run)
        yield from confusion_parts(run.counts(last), run.metainfo['classes'])
        yield from picture_parts(run)
        yield from calibration_parts(last)
    yield from speed_parts(run)
    yield from facts_parts(run)
    yield f'<script>{SCRIPT}</script></html>'


def summary(run: Run) -> Iterator[str]:
    """Yield the few numbers that one looks for first."""
    tiles = {f'of {run.length:,} iterations': f'{run.done:,}'}
    if run.best is not None:
        tiles['best mIoU, at iteration {:,}'.format(run.best['iter'])] = (
            f'{score(run.best):.2f}'
        )
        tiles['mIoU of the last validation'] = f'{score(run.validations[-1]):.2f}'
    losses = run.curve('loss')
    if losses:
        tiles['last loss of training'] = f'{losses[-1][1]:.4f}'
    cells = ''.join(f'<div><b>{v}</b>{text(k)}</div>' for k, v in tiles.items())
    yield f'<div class="tiles">{cells}</div>'
    if not run.validations:
        yield '<p>There has been no validation yet.</p>'


def curves(run: Run) -> Iterator[str]:
    names = dict.fromkeys(name for v in run.validations for name in v['losses'])
    names = list(names) or [k for k in ('decode.loss_ce',) if run.curve(k)]
    for name in names:
        lines = [
            Line(f'{name}, training', run.curve(name), 0),
            Line(f'{name}, validation', run.validated('losses', name), 1),
        ]
        yield line_chart(f'Loss: {name}', lines)
    yield line_chart('Loss of training, all heads', [Line('loss', run.curve('loss'))])
    yield line_chart('mIoU of validation, %', [Line('mIoU', run.miou)])
    yield line_chart('Learning rate', [Line('lr', run.curve('lr'))])


def class_parts(run: Run) -> Iterator[str]:
    """Yield the table of classes, and a small chart of each."""
    last, classes = run.validations[-1], run.metainfo['classes']
    before = run.validations[-2]['per_class'] if len(run.validations) > 1 else {}
    pixels = run.counts(last)['matrix'].sum(1) if run.counts(last) else None
    yield f'<h2>Classes, after {last["iter"]:,} iterations</h2>'
    yield (
        '<p class="soft">In percent. Boundary IoU is the IoU near outlines (within 2 % '
        'of the diagonal): low where a class is found but not its outline. The share '
        'is that of labelled pixels of validation.</p>'
    )
    rows = []
    for k, name in enumerate(classes):
        row = last['per_class'].get(name, {})
        change = difference(row.get('IoU'), before.get(name, {}).get('IoU'))
        share = None if pixels is None else f'{100 * pixels[k] / pixels.sum():.2f}'
        cells = [shown(row.get('IoU')), change, shown(row.get('Acc'))]
        rows.append([name, *cells, shown(last['boundary_iou'].get(name)), share])
    means = [v for v in last['boundary_iou'].values() if v is not None]
    boundary = shown(sum(means) / len(means) if means else None)
    rows.append(['mean', shown(score(last)), None, None, boundary, None])
    yield table(['class', 'IoU', 'change', 'Acc', 'boundary IoU', 'share %'], rows)
    yield '<h2>IoU of each class, %</h2><div class="grid small">'
    for name in classes:
        points = run.validated('per_class', name, 'IoU')
        now = f'{name}: {points[-1][1]:.1f}' if points else name
        yield line_chart(now, [Line(name, points)], limits=(0, 100))
    yield '</div>'


def shown(value: float | None) -> str | None:
    return None if value is None else f'{value:.2f}'


def difference(now: float | None, before: float | None) -> str | None:
    return None if None in (now, before) else f'{now - before:+.2f}'


def calibration_parts(validation: dict) -> Iterator[str]:
    found = validation['calibration']
    if not found:
        return
    yield '<h2>Calibration</h2><div class="grid">'
    yield reliability_chart(found['bins'])
    yield (
        f'<p>Confidence and accuracy differ by {100 * found["ece"]:.1f} % on average '
        f'(expected calibration error, ECE, from {found["pixels"]:,} pixels). Logits '
        f'divided by a temperature of {found["temperature"]:.2f} would bring it to '
        f'{100 * found["mended_ece"]:.1f} %, without changing a label.</p></div>'
    )


def speed_parts(run: Run) -> Iterator[str]:
    """Yield how fast training was, how long it waited, and what memory it took."""
    images = run.starts[-1]['images_per_iter']
    times = [(k, v) for k, v in run.curve('time') if v > 0]
    waits = dict(run.curve('data_time'))
    share = [(k, 100 * waits[k] / v) for k, v in times if k in waits]
    memory = [Line('process', run.validated('memory', 'process'))]
    if on_gpu := run.curve('memory'):  # the most since the line before
        memory.append(Line('GPU, training', on_gpu, 1))
    yield '<h2>Speed and memory</h2><div class="grid">'
    yield line_chart(
        'Images per second', [Line('img/s', [(k, images / v) for k, v in times])]
    )
    yield line_chart('Time spent waiting for data, %', [Line('waiting', share)])
    yield line_chart('Peak memory, MiB', memory)
    yield '</div>'
    mean = statistics.fmean([value for _, value in share] or [math.nan])
    facts = {'waiting for data': f'{mean:.1f} % of the time, on average'}
    if run.validations:
        facts['last validation'] = f'{run.validations[-1]["seconds"]:.1f} s'
    yield facts_table(facts)
