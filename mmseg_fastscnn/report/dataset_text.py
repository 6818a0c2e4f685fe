"""What the check of a data set found, as lines for a terminal and as JSON."""

from collections.abc import Iterator

import numpy as np

from mmseg_fastscnn.datasets.class_weights import FORMS, balanced_weights
from mmseg_fastscnn.datasets.doctor.crops import sizes_line
from mmseg_fastscnn.datasets.doctor.dataset_facts import DatasetFacts
from mmseg_fastscnn.datasets.doctor.examine import Report
from mmseg_fastscnn.datasets.doctor.findings import Finding
from mmseg_fastscnn.report.page import printable


def lines_of(report: Report) -> Iterator[str]:
    """Yield the report line by line: facts, then one line per finding, the verdict."""
    yield from map(printable, facts_lines(report))
    yield ''
    for finding in report.findings:
        yield f'{grade_of(finding)}: {printable(finding.text)}'
        if finding.stops:  # every file, not only those that the text names
            yield from (f'    {printable(str(file))}' for file in finding.files)
    yield verdict(report)


def facts_lines(report: Report) -> Iterator[str]:
    """Yield what the files hold: their kinds, classes, mean and deviation."""
    for facts in report.facts.values():
        yield split_line(facts)
    yield from class_table(report)
    if 'train' in report.facts:
        yield from mean_and_std_lines(report.facts['train'])


def grade_of(finding: Finding) -> str:
    return 'CANNOT WORK' if finding.stops else 'Doubtful'


def verdict(report: Report) -> str:
    """Say in one sentence whether training could work."""
    stops = sum(finding.stops for finding in report.findings)
    doubts = len(report.findings) - stops
    if stops:
        return f'Training cannot work. Reasons: {stops}; doubtful findings: {doubts}.'
    if doubts:
        return f'Training can work. Doubtful findings: {doubts}.'
    return 'Training can work. Nothing is doubtful.'


def split_line(facts: DatasetFacts) -> str:
    """Describe the files of a split."""
    if not facts.pairs:
        return f'{facts.name}: no images'
    kinds = ', '.join(facts.image_kinds) or 'none of which can be read'
    return (
        f'{facts.name}: {facts.total} images of {sizes_line(facts.sizes)}, {kinds}; '
        f'{facts.labelled} labels could be read'
    )


def shares_of(facts: DatasetFacts) -> dict[str, float]:
    """Return the share of each class in the labelled pixels, in percent."""
    pixels = facts.pixels
    total = max(sum(pixels.values()), 1)
    return {name: 100 * count / total for name, count in pixels.items()}


def suggested_weights(facts: DatasetFacts) -> dict[str, dict[str, float]]:
    """Return the weights of each form: {form: {class name: weight}}."""
    counts = facts.class_counts()
    if not counts.any():
        return {}
    return {
        form: dict(
            zip(facts.classes, balanced_weights(counts, form).tolist(), strict=True)
        )
        for form in FORMS
        if form != 'auto'  # one of the others
    }


def class_table(report: Report) -> Iterator[str]:
    """Yield a table of the classes: share per split, and weights for the loss."""
    shares = {
        n: shares_of(f) for n, f in report.facts.items() if sum(f.pixels.values())
    }
    if not shares:
        return
    columns = {
        f'{name} %': {k: f'{v:.3f}' for k, v in s.items()} for name, s in shares.items()
    }
    if 'train' in report.facts:
        for form, weights in suggested_weights(report.facts['train']).items():
            columns[form] = {name: f'{weight:.2f}' for name, weight in weights.items()}
    names = list(dict.fromkeys(name for s in shares.values() for name in s))
    width = max(map(len, [*names, 'class']))
    head = ''.join(f'{column:>18}' for column in columns)
    yield f'{"class":<{width}}{head}'
    for name in names:
        cells = ''.join(f'{cell.get(name, ""):>18}' for cell in columns.values())
        yield f'{name:<{width}}{cells}'
    if len(columns) > len(shares):
        forms = ' or '.join(repr(form) for form in FORMS if form in columns)
        yield (
            f'The last columns are weights for the loss, after the training labels: '
            f'class_weight={forms}.'
        )


def mean_and_std_lines(facts: DatasetFacts) -> Iterator[str]:
    """Yield mean and deviation as a config writes them, for images in RGB."""
    found = facts.mean_and_std()
    if found is not None:
        mean, std = (np.round(order_of_config(v), 2).tolist() for v in found)
        order = ', RGB' if len(mean) == 3 else ''
        yield f'{facts.name}: mean={mean}, std={std} per channel{order}'


def order_of_config(values: np.ndarray) -> np.ndarray:
    """Return values per channel, as read, in the order after `bgr_to_rgb=True`."""
    return values[::-1] if len(values) == 3 else values


def as_json(report: Report) -> dict:
    """Return the report as JSON's types, with all files of each finding."""
    return dict(
        source=report.source,
        works=report.works,
        verdict=verdict(report),
        findings=[
            dict(stops=finding.stops, text=finding.text, files=list(finding.files))
            for finding in report.findings
        ],
        splits={name: split_as_json(facts) for name, facts in report.facts.items()},
    )


def split_as_json(facts: DatasetFacts) -> dict:
    mean_and_std = facts.mean_and_std()
    return dict(
        images=facts.total,
        labels=facts.labelled,
        kinds=dict(facts.image_kinds),
        sizes={f'{h}x{w}': count for (h, w), count in facts.sizes.items()},
        orientations=dict(facts.orientations),
        values={str(value): count for value, count in facts.raw_values.items()},
        pixels=facts.pixels,
        ignored=facts.ignored,
        weights=suggested_weights(facts),
        mean_and_std=mean_and_std
        and [order_of_config(values).tolist() for values in mean_and_std],
    )
