"""Several runs on one page: their curves over each other, and what differs."""

from collections.abc import Callable, Iterator, Sequence

from mmseg_fastscnn.report.charts import SCRIPT, Line, line_chart
from mmseg_fastscnn.report.comparison import (
    Group,
    classes_of,
    columns_of,
    rows_of,
    worse_images,
)
from mmseg_fastscnn.report.page import head, legend, table, text
from mmseg_fastscnn.report.run_files import Curve, Run
from mmseg_fastscnn.report.run_pictures import result_row
from mmseg_fastscnn.results import PAGE


def parts_of_page(groups: Sequence[Group]) -> Iterator[str]:
    """Yield the page in parts, for `write_page`."""
    title = ' against '.join(group.name for group in groups)
    yield head(title, PAGE, SCRIPT)
    yield f'<h1>{text(title)}</h1>'
    yield (
        '<p class="soft">Each run counts with its best validation. ± is the standard '
        'deviation between runs of one recipe with several seeds; that of a difference '
        'is the deviation between two single runs.</p>'
    )
    yield table(columns_of(groups), rows_of(groups))
    yield '<h2>Curves</h2><div class="grid">'
    yield from curves(groups)
    yield '</div><h2>IoU of each class, %</h2><div class="grid small">'
    for name in classes_of(groups):
        lines = lines_of_runs(
            groups, lambda run, name=name: run.validated('per_class', name, 'IoU')
        )
        yield line_chart(name, lines, (0, 100))
    yield '</div>'
    yield from worse_parts(*groups[:2])
    yield f'<script>{SCRIPT}</script></html>'


def curves(groups: Sequence[Group]) -> Iterator[str]:
    for title, curve in (
        ('mIoU of validation, %', lambda run: run.miou),
        ('Loss of validation', lambda run: run.validated('losses', 'decode.loss_ce')),
        ('Loss of training', lambda run: run.curve('loss')),
        ('Learning rate', lambda run: run.curve('lr')),
    ):
        yield line_chart(title, lines_of_runs(groups, curve))


def lines_of_runs(groups: Sequence[Group], curve: Callable[[Run], Curve]) -> list[Line]:
    """Return a line per run, in the colour of its group."""
    return [
        Line(run.name, curve(run), k)
        for k, group in enumerate(groups)
        for run in group.runs
    ]


def worse_parts(first: Group, second: Group) -> Iterator[str]:
    """Yield the images where the second is worse, with pictures where there are any."""
    worse = worse_images(first, second)
    if not worse:
        return
    yield f'<h2>Images where {text(second.name)} is worse</h2>'
    names = [f'IoU of {group.name}' for group in (first, second)]
    rows = ([path, f'{before:.2f}', f'{after:.2f}'] for path, before, after in worse)
    yield table(['image', *names], rows)
    run = second.runs[0]
    kept = {
        result.name: (result, image)
        for kind in ('shown', 'worst')
        for result, image in run.results(run.validations[-1], kind)
    }
    found = [kept[path] for path, _, _ in worse if path in kept]
    if found:
        yield f'<p>As {text(run.name)} predicts them after its last validation:</p>'
        yield legend(run.metainfo)
        yield from (result_row(run, *pair) for pair in found)
