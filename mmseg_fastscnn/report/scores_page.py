"""The scores of a test as a page: means, classes, and what is taken for what."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mmseg_fastscnn.report.confusion import confusion_parts
from mmseg_fastscnn.report.page import facts_table, head, table, text
from mmseg_fastscnn.results import PAGE


def parts_of_page(metrics: Mapping, classes: Sequence[str]) -> Iterator[str]:
    """Yield the page in parts.

    Args:
        metrics: What `fastscnn test` writes as JSON.
        classes: Names of the classes.
    """
    title = f'Test of {Path(metrics["checkpoint"]).name}'
    yield head(title, PAGE)
    yield f'<h1>{text(title)}</h1>'
    plain = {k: v for k, v in metrics.items() if not isinstance(v, dict | list)}
    yield facts_table({k: shown(v) for k, v in plain.items()})
    per_class = metrics.get('per_class')  # several metrics have none in common
    if per_class:
        rows = ([name, *map(shown, row.values())] for name, row in per_class.items())
        yield '<h2>Classes, in percent</h2>'
        yield table(['class', *next(iter(per_class.values()))], rows)
    matrix = np.array(metrics['confusion_matrix'])
    yield from confusion_parts(dict(matrix=matrix), classes)


def shown(value: object) -> object:
    return f'{value:.2f}' if isinstance(value, float) else value
