"""The table of a sweep: what each recipe reaches, and whether that is more.

The mIoU of the last validation counts. Taking the best would select on the images that
are reported.
"""

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmseg_fastscnn.engine.sweep.plan import PlannedRun
from mmseg_fastscnn.report.comparison import Spread, signed, spread_of
from mmseg_fastscnn.report.run_files import read_run, score
from mmseg_fastscnn.writing import write_file

TABLE, NUMBERS = 'sweep.md', 'sweep.json'
OF_RUNS = ('miou', 'minutes', 'iterations')
COLUMNS = (
    *('recipe', 'seeds', 'mIoU', 'of each seed', 'minutes', 'iterations'),
    *('difference', 'p'),
)


def write_table(out: str | Path, runs: Sequence[PlannedRun]) -> Iterator[str]:
    """Write the table and its numbers once a run is done; yield the table's lines.

    Then yield a line for each run that is done but has no mIoU.
    """
    found = {run.folder: facts_of(run) for run in runs if run.is_done()}
    facts = [fact for fact in found.values() if fact is not None]
    lines = list(table([(run.recipe, run.fold) for run in runs], facts))
    if facts:
        write_file(Path(out, TABLE), ('\n'.join(lines) + '\n').encode())
        write_file(Path(out, NUMBERS), json.dumps(facts, indent=1).encode())
    yield from lines
    for folder, fact in found.items():
        if fact is None:
            yield (
                f'{folder} is left out: it has no mIoU of a last validation. Set '
                f'val_evaluator and train_cfg.val_interval in its config, and give '
                f'another --out.'
            )


def facts_of(run: PlannedRun) -> dict | None:
    """Return the numbers of a run that is done; None if it ended without mIoU."""
    try:
        record = read_run(run.folder)
    except FileNotFoundError:  # it could not be written
        return None
    last = record.validations[-1] if record.validations else None
    if last is None or score(last) is None:
        return None
    return dict(
        recipe=run.recipe,
        fold=run.fold,
        seed=run.seed,
        miou=score(last),
        best=score(record.best),
        iterations=last['iter'],
        minutes=run.state()['seconds'] / 60,
        per_class={name: row['IoU'] for name, row in last['per_class'].items()},
    )


def table(parts: Sequence[tuple[str, str]], facts: Sequence[dict]) -> Iterator[str]:
    """Yield a Markdown table of recipes; differences are from the first one.

    With several folds there is a row for each recipe on each fold; then one for each
    recipe, in which a seed counts with the mean over the folds.

    Args:
        parts: Recipe and fold of each planned run.
        facts: See `facts_of`.
    """
    yield '| ' + ' | '.join(COLUMNS) + ' |'
    yield '|---' * len(COLUMNS) + '|'
    recipes, folds = (list(dict.fromkeys(names)) for names in zip(*parts, strict=True))
    groups = {f', {fold}' if fold else '': [fold] for fold in folds}
    if len(folds) > 1:
        groups[f', mean of {len(folds)} folds'] = folds
    for words, group in groups.items():
        first = of_seeds(facts, recipes[0], group)
        for recipe in recipes:
            own = of_seeds(facts, recipe, group)
            cells = [recipe + words, *cells_of(own)]
            cells += ['', ''] if recipe == recipes[0] else compared_with(first, own)
            yield '| ' + ' | '.join(cells) + ' |'


def of_seeds(
    facts: Sequence[dict], recipe: str, folds: Sequence[str]
) -> dict[int, dict]:
    """Return mIoU, minutes and iterations of a recipe's seeds, as means over folds.

    Seeds that lack one of the folds are left out.
    """
    runs: dict[int, list[dict]] = {}
    for fact in facts:
        if fact['recipe'] == recipe and fact['fold'] in folds:
            runs.setdefault(fact['seed'], []).append(fact)
    return {
        seed: {key: statistics.fmean(fact[key] for fact in own) for key in OF_RUNS}
        for seed, own in runs.items()
        if len(own) == len(folds)
    }


def cells_of(seeds: Mapping[int, dict]) -> list[str]:
    """Return the cells of a row between its name and the difference."""
    if not seeds:
        return ['0', '', '', '', '']
    miou, minutes, iterations = ([s[key] for s in seeds.values()] for key in OF_RUNS)
    return [
        str(len(seeds)),
        str(spread_of(miou)),
        ', '.join(f'{value:.2f}' for value in miou),
        f'{statistics.fmean(minutes):.1f}',
        f'{statistics.fmean(iterations):.0f}',
    ]


def compared_with(first: Mapping[int, dict], other: Mapping[int, dict]) -> list[str]:
    """Return the mean difference over common seeds, and the p of a paired test."""
    pairs = [other[s]['miou'] - first[s]['miou'] for s in first if s in other]
    if not pairs:
        return ['', '']
    spread = spread_of(pairs)
    p = paired_p(spread, len(pairs))
    return [signed(spread), '' if math.isnan(p) else f'{p:.2g}']


def paired_p(spread: Spread, count: int) -> float:
    """Return the two-sided p of Student's paired t test.

    It is nan for a single pair, and where all differences are equal.

    Args:
        spread: Mean and standard deviation of the differences.
        count: Number of pairs.
    """
    if count < 2 or spread.deviation == 0:
        return math.nan
    t = abs(spread.mean) / (spread.deviation / math.sqrt(count))
    return max(1 - student(t, count - 1), 1e-15)  # what rounding leaves of it


def student(t: float, freedom: int) -> float:
    """Return the probability that |T| < t, for Student's T.

    The closed form for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and
    26.7.4).
    """
    angle = math.atan(t / math.sqrt(freedom))
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(3 if odd else 2, freedom, 2):
        term *= math.cos(angle) ** 2 * (k - 1) / k
        total += term
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total
