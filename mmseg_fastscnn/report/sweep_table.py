"""The table of a sweep: what each recipe reaches, and whether that is more.

The mIoU of the last validation counts. The best one would be chosen on the images that
are reported.
"""

import json
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmseg_fastscnn.engine.sweep.plan import PlannedRun
from mmseg_fastscnn.report.comparison import Spread, signed, spread_of
from mmseg_fastscnn.report.run_files import read_run, score
from mmseg_fastscnn.writing import write_file

TABLE, NUMBERS = 'sweep.md', 'sweep.json'
Scores = dict[tuple[str, int], float]
COLUMNS = (
    *('recipe', 'runs', 'mIoU', 'of each run', 'minutes', 'iterations'),
    *('difference', 'p'),
)


def write_table(out: str | Path, runs: Sequence[PlannedRun]) -> Iterator[str]:
    """Write the table and its numbers once a run is done; yield the table's lines."""
    facts = [facts_of(run) for run in runs if run.is_done()]
    lines = list(table([run.recipe for run in runs], facts))
    if facts:
        write_file(Path(out, TABLE), ('\n'.join(lines) + '\n').encode())
        write_file(Path(out, NUMBERS), json.dumps(facts, indent=1).encode())
    yield from lines


def facts_of(run: PlannedRun) -> dict:
    """Return the numbers of a run that is done.

    Raises:
        ValueError: Its last validation has no mIoU, or there is none.
    """
    record = read_run(run.folder)
    last = record.validations[-1] if record.validations else None
    if last is None or score(last) is None:
        raise ValueError(
            f'{run.folder} has no validation with mIoU at its end. Set val_evaluator '
            f'and train_cfg.val_interval in its config, and give another --out.'
        )
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


def table(recipes: Sequence[str], facts: Sequence[dict]) -> Iterator[str]:
    """Yield a Markdown table with one row per recipe; the first is the reference."""
    yield '| ' + ' | '.join(COLUMNS) + ' |'
    yield '|---' * len(COLUMNS) + '|'
    names = list(dict.fromkeys(recipes))
    scores = {name: {} for name in names}
    for fact in facts:
        scores[fact['recipe']][fact['fold'], fact['seed']] = fact['miou']
    for name in names:
        own = [fact for fact in facts if fact['recipe'] == name]
        if not own:
            yield f'| {name} | 0 |' + ' |' * (len(COLUMNS) - 2)
            continue
        cells = [name, len(own), spread_of([fact['miou'] for fact in own])]
        cells.append(', '.join(f'{fact["miou"]:.2f}' for fact in own))
        for key, digits in (('minutes', 1), ('iterations', 0)):
            cells.append(f'{statistics.fmean(f[key] for f in own):.{digits}f}')
        if name == names[0]:
            cells += ['', '']
        else:
            cells += compared_with(scores[names[0]], scores[name])
        yield '| ' + ' | '.join(map(str, cells)) + ' |'


def compared_with(first: Scores, other: Scores) -> list[str]:
    """Return the mean difference over common seeds, and the p of a paired test.

    Args:
        first, other: mIoU of each fold and seed.
    """
    pairs = [other[key] - first[key] for key in first if key in other]
    if not pairs:
        return ['', '']
    spread = spread_of(pairs)
    p = paired_p(spread, len(pairs))
    return [signed(spread), '' if math.isnan(p) else f'{p:.2g}']


def paired_p(spread: Spread, count: int) -> float:
    """Return the two-sided p of Student's paired t test, nan for a single pair.

    Args:
        spread: Mean and standard deviation of the differences.
        count: Number of pairs.
    """
    if count < 2:
        return math.nan
    if spread.deviation == 0:
        return math.nan if spread.mean == 0 else 0.0
    t = abs(spread.mean) / (spread.deviation / math.sqrt(count))
    return 1 - student(t, count - 1)


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
