"""What corrupted images cost each model: a table, a page and the numbers."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from mmseg_fastscnn.datasets.corruptions import CORRUPTIONS, STRENGTHS
from mmseg_fastscnn.deploy.robustness import CLEAN, Mious, retained
from mmseg_fastscnn.report.charts import SCRIPT, Line, line_chart
from mmseg_fastscnn.report.page import head, table, text, write_page
from mmseg_fastscnn.results import PAGE
from mmseg_fastscnn.writing import write_file

COLUMNS = ('model', 'clean mIoU', *CORRUPTIONS, 'mean')


def rows_of(mious: Mapping[str, Mious]) -> Iterator[list[str]]:
    """Yield one row per model: clean mIoU, and percent of it under each corruption."""
    for file, values in mious.items():
        shares = [f'{share:.1f} %' for share in retained(values).values()]
        yield [file, f'{values[CLEAN][0]:.2f}', *shares]


def table_lines(mious: Mapping[str, Mious]) -> Iterator[str]:
    """Yield a Markdown table."""
    yield '| ' + ' | '.join(COLUMNS) + ' |'
    yield '|---' * len(COLUMNS) + '|'
    for row in rows_of(mious):
        yield '| ' + ' | '.join(row) + ' |'


def write_robustness(
    out: Path, mious: Mapping[str, Mious], config: str, seed: int, images: int
) -> None:
    """Write `robustness.html` and `robustness.json`."""
    numbers = dict(num_images=images, config=config, checkpoint=list(mious))
    numbers |= dict(seed=seed, strengths=STRENGTHS, mIoU=mious)
    write_file(out / 'robustness.json', json.dumps(numbers, indent=1).encode())
    write_page(out / 'robustness.html', parts_of_page(mious, images))


def parts_of_page(mious: Mapping[str, Mious], images: int) -> Iterator[str]:
    title = 'Robustness'
    yield head(title, PAGE, SCRIPT)
    yield f'<h1>{text(title)}</h1>'
    yield (
        f'<p class="soft">{images} images, each corruption in {len(STRENGTHS)} '
        f'strengths; in percent of the mIoU on clean images, mean over the strengths.'
        f'</p>'
    )
    yield table(COLUMNS, rows_of(mious))
    yield '<h2>mIoU over strength, %</h2><div class="grid">'
    for kind in CORRUPTIONS:
        lines = [
            Line(file, list(enumerate([*values[CLEAN], *values[kind]])), k)
            for k, (file, values) in enumerate(mious.items())
        ]
        yield line_chart(kind, lines)
    yield f'</div><script>{SCRIPT}</script></html>'
