"""Runs side by side: what differs per class, and by more than seeds do.

Runs of one recipe (a config but for its seed) form a group. Each run counts with its
best validation. Groups are compared with the first one.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mmseg_fastscnn.engine.record.image_scores import image_iou
from mmseg_fastscnn.report.run_files import Run, score


class Spread(NamedTuple):
    """Mean of several values and their standard deviation, nan for a single one."""

    mean: float
    deviation: float

    def __str__(self) -> str:
        spread = '' if math.isnan(self.deviation) else f' ± {self.deviation:.2f}'
        return f'{self.mean:.2f}{spread}'


@dataclass
class Group:
    """Runs of one recipe."""

    runs: list[Run]

    @property
    def name(self) -> str:
        others = len(self.runs) - 1
        return self.runs[0].name + (f' and {others} more' if others else '')

    def miou(self) -> Spread:
        return spread_of([score(run.best) for run in self.runs])

    def iou(self, name: str) -> Spread | None:
        """Return the IoU of a class; None if it does not occur."""
        rows = [run.best['per_class'].get(name, {}) for run in self.runs]
        values = [row['IoU'] for row in rows if row.get('IoU') is not None]
        return spread_of(values) if values else None

    def of_images(self) -> dict[str, float]:
        """Return the mean IoU of each labelled image over the runs."""
        sums: dict[str, list[float]] = {}
        for run in self.runs:
            arrays = run.counts(run.best) or dict(paths=(), counts=())
            for path, counts in zip(arrays['paths'], arrays['counts'], strict=True):
                sums.setdefault(str(path), []).append(image_iou(counts))
        means = {path: statistics.fmean(values) for path, values in sums.items()}
        return {path: mean for path, mean in means.items() if not math.isnan(mean)}


def groups_of(runs: Sequence[Run]) -> list[Group]:
    """Sort runs into groups of one recipe, in the order given.

    Raises:
        ValueError: A run has no validation yet, or was validated with other classes or
            on other images than the first.
    """
    groups: dict[str, Group] = {}
    images: frozenset[str] = frozenset()
    for run in runs:
        if run.best is None:
            raise ValueError(
                f'{run.folder} has no validation yet, so there is nothing to compare.'
            )
        if run.metainfo['classes'] != runs[0].metainfo['classes']:
            raise ValueError(
                f'{run.folder} has other classes than {runs[0].folder}; only runs on '
                f'the same classes can be compared.'
            )
        found = run.images()
        images = images or found
        if found and found != images:
            raise ValueError(
                f'{run.folder} was validated on other images than the runs before it; '
                f'only runs on the same images can be compared. Of a sweep with '
                f'--folds, give the runs of one fold (SWEEP/*/FOLD_seed_*); its table '
                f'compares the recipes over all of them.'
            )
        recipe = run.starts[0]['recipe_sha256']
        groups.setdefault(recipe, Group([])).runs.append(run)
    return list(groups.values())


def compared(runs: Sequence[Run]) -> list[Group]:
    """Return groups of runs, or the runs one by one if all are of one recipe."""
    groups = groups_of(runs)
    return groups if len(groups) > 1 else [Group([run]) for run in runs]


def classes_of(groups: Sequence[Group]) -> Sequence[str]:
    """Return the names of the classes, which all runs share."""
    return groups[0].runs[0].metainfo['classes']


def rows_of(groups: Sequence[Group]) -> Iterator[list[str]]:
    """Yield names, values and differences from the first group."""
    yield row('mIoU', [group.miou() for group in groups])
    for name in classes_of(groups):
        yield row(name, [group.iou(name) for group in groups])


def row(name: str, values: Sequence[Spread | None]) -> list[str]:
    first, *others = values
    differences = [
        '' if None in (first, other) else signed(difference(other, first))
        for other in others
    ]
    return [name, *('' if v is None else str(v) for v in values), *differences]


def columns_of(groups: Sequence[Group]) -> list[str]:
    names = [group.name for group in groups]
    return ['class', *names, *(f'{name} - {names[0]}' for name in names[1:])]


def spread_of(values: Sequence[float]) -> Spread:
    several = len(values) > 1
    deviation = statistics.stdev(values) if several else math.nan
    return Spread(statistics.fmean(values), deviation)


def difference(other: Spread, first: Spread) -> Spread:
    """Return the difference of two means, and the deviation of one run from another."""
    deviation = math.hypot(other.deviation, first.deviation)
    return Spread(other.mean - first.mean, deviation)


def signed(value: Spread) -> str:
    return ('+' if value.mean >= 0 else '') + str(value)


def worse_images(first: Group, second: Group) -> list[tuple]:
    """Return path and both IoUs of the ten images where the second is worse by most."""
    before, after = first.of_images(), second.of_images()
    both = [(path, before[path], after[path]) for path in before if path in after]
    worse = [entry for entry in both if entry[2] < entry[1]]
    return sorted(worse, key=lambda entry: entry[2] - entry[1])[:10]


def lines_of(groups: Sequence[Group]) -> Iterator[str]:
    """Yield the table for a terminal, and the images where the second is worse."""
    table = [columns_of(groups), *rows_of(groups)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for name, *cells in table:
        padded = [cell.rjust(w) for cell, w in zip(cells, widths[1:], strict=True)]
        yield '  '.join([name.ljust(widths[0]), *padded])
    worse = worse_images(*groups[:2])
    yield ''
    yield f'Images where {groups[1].name} is worse than {groups[0].name}, IoU in %:'
    for path, before, after in worse:
        yield f'  {before:6.2f} -> {after:6.2f}  {path}'
    if not worse:
        yield '  none'
