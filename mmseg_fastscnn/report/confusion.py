"""The confusion matrix of a validation, and the pairs that it confuses most."""

from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np

from mmseg_fastscnn.report.page import jpeg, table, text

AS_TABLE = 40  # classes; the matrix of more is a picture
PAIRS = 10


def confusion_parts(
    arrays: Mapping[str, np.ndarray], classes: Sequence[str]
) -> Iterator[str]:
    """Yield the matrix, in percent of the pixels of each label, and the worst pairs."""
    if not arrays:
        return
    matrix = arrays['matrix'].astype(np.float64)
    share = 100 * matrix / matrix.sum(1, keepdims=True).clip(min=1)
    yield '<h2>What is taken for what</h2>'
    yield (
        '<p class="soft">Each row is a class of the labels; its numbers say which '
        'share of its pixels, in percent, is predicted as the class of the column.</p>'
    )
    if len(classes) <= AS_TABLE:
        yield matrix_table(share, classes)
    else:
        picture = np.rint(255 - 2.55 * share).astype(np.uint8)
        grey = cv2.resize(picture, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
        yield jpeg(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
    yield '<h3>The most confused pairs</h3>'
    yield table(
        ['label', 'predicted as', 'pixels', '% of the label'],
        (
            [classes[k], classes[j], f'{int(matrix[k, j]):,}', f'{share[k, j]:.1f}']
            for k, j in confused_pairs(matrix)
        ),
    )


def confused_pairs(matrix: np.ndarray) -> list[tuple[int, int]]:
    """Return (label, prediction) of the most wrong pixels, the most first."""
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind='stable')[:PAIRS]
    pairs = [divmod(place, len(matrix)) for place in order.tolist()]
    return [(k, j) for k, j in pairs if wrong[k, j] > 0]


def matrix_table(share: np.ndarray, classes: Sequence[str]) -> str:
    names = ''.join(f'<th>{text(name)}</th>' for name in classes)
    lines = [f'<div class="scroll"><table class="matrix"><thead><tr><td></td>{names}']
    lines.append('</tr></thead><tbody>')
    for name, row in zip(classes, share, strict=True):
        cells = ''.join(cell(value) for value in row)
        lines.append(f'<tr><th>{text(name)}</th>{cells}</tr>')
    return '\n'.join([*lines, '</tbody></table></div>'])


def cell(value: float) -> str:
    if value < 0.5:
        return '<td></td>'
    depth = f'rgba(60, 130, 230, {0.08 + 0.0065 * value:.2f})'
    return f'<td style="background: {depth}">{value:.0f}</td>'
