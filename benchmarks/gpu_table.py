"""The table of `gpu.py`: what was measured, and what of it was aimed at."""

from collections import Counter

GRAPHS = ('graph float16', 'tuned float16')
MISSING = ('no time', 'not seen')


def table(machine: dict, rows: dict[str, dict], rest: list[str]) -> str:
    """Return the results in Markdown.

    Args:
        machine: Facts of the machine.
        rows: What each step gave, by name ('part/step').
        rest: Steps that were not tried yet.
    """
    lines = [
        '# Measured on a GPU',
        '',
        ', '.join(f'{k} {v}' for k, v in machine.items()),
    ]
    lines += ['', *targets(rows), '', *roofline(rows)]
    parts = dict.fromkeys(name.partition('/')[0] for name in rows)
    for part in parts:
        of_part = {n: r for n, r in rows.items() if n.startswith(f'{part}/')}
        lines += ['', f'## {part}', '', *section(of_part)]
    missing = {n: r['why'] for n, r in rows.items() if r['status'] in MISSING}
    lines += ['', '## What could not be seen', '']
    lines += [f'- {name}: {why}' for name, why in missing.items()]
    if rest:
        counts = Counter(name.partition('/')[0] for name in rest)
        names = ', '.join(f'{count} of {part}' for part, count in counts.items())
        lines.append(f'- steps that were not tried, for want of time: {names}')
    return '\n'.join(lines) + '\n'


def section(rows: dict[str, dict]) -> list[str]:
    """Return a table of the rows of one part, with a column for each number."""
    hidden = ('status', 'why', 'python')
    names = dict.fromkeys(k for row in rows.values() for k in row if k not in hidden)
    head = ['step', 'status', *names]
    lines = [f'| {" | ".join(head)} |', '|---' * len(head) + '|']
    for name, row in rows.items():
        status = row['status']
        if status not in ('done', *MISSING):
            status += f': {row["why"]}'.replace('|', '/')
        cells = [name.partition('/')[2], status, *(cell(row.get(k)) for k in names)]
        lines.append(f'| {" | ".join(cells)} |')
    return lines


def cell(value: object) -> str:
    if value is None:
        return ''
    if not isinstance(value, float):
        return str(value)
    return f'{value:,.0f}' if value >= 1000 else f'{value:.3g}'


def targets(rows: dict[str, dict]) -> list[str]:
    """Hold what was measured against what was aimed at; whoever ran it adds the why."""
    copying, memory = 'copying_images_per_s', 'machine/memory bandwidth'
    wide = value(rows, memory, 'gb_per_s')
    graphs = [value(rows, f'prediction/b1 {form}', 'p50_ms') for form in GRAPHS]
    p50 = min(filter(None, graphs), default=None)
    floor = at_bandwidth(rows, 'prediction b1 graph float16', 'joined_gb')
    eaten = best(rows, 'training/b32', 'images_per_s')
    peers = value(rows, 'peer/predict_graph b1', 'peer_images_per_s')
    lines = [
        '| aim | measured | reached | why, and what follows |',
        '|---|---|---|---|',
        line(
            "prediction b1 by a graph in float16, 10 times the peer's (float32)",
            value(rows, 'peer/predict_graph b1', 'faster'),
            10,
        ),
        line(
            'prediction b1, both in float32, 10 times',
            ratio(best(rows, 'prediction/b1', copying, ' float32'), peers),
            10,
        ),
        line(
            'prediction b1 by a CUDA graph, at most 1.5 times the memory traffic',
            ratio(p50, floor),
            1.5,
            at_most=True,
        ),
        line(
            "training step b32 in float32, 4 times the peer's",
            value(rows, 'peer/train_step b32', 'faster'),
            4,
        ),
        line(
            "training step b32 in float16, 4 times the peer's",
            value(rows, 'peer/train_step_amp b32', 'faster'),
            4,
        ),
    ]
    for kind in ('label_map', 'cross_entropy', 'binary_cross_entropy'):
        share = ratio(value(rows, f'kernels/{kind}', 'gb_per_s'), wide)
        lines.append(line(f'{kind}, 0.7 of the memory bandwidth', share, 0.7))
    for kind in ('png', 'packed'):
        fed = ratio(value(rows, f'feeding/{kind}', 'images_per_s'), eaten)
        lines.append(line(f'samples ({kind}) for the fastest step b32', fed, 1))
    return lines


def roofline(rows: dict[str, dict]) -> list[str]:
    """Hold steps against their bytes at the bandwidth that was measured."""
    lines = [
        '| step | ms | bytes eager, ms | bytes joined, ms | times joined | kernels | '
        'operators counted |',
        '|---' * 7 + '|',
    ]
    for name, row in rows.items():
        part, _, step = name.partition('/')
        if part != 'roofline' or row['status'] != 'done':
            continue
        measured = step.replace(' ', '/', 1)
        ms = value(rows, measured, 'p50_ms')
        eager, joined = (at_bandwidth(rows, step, k) for k in ('gb', 'joined_gb'))
        cells = [ms, eager, joined, ratio(ms, joined)]
        cells += [value(rows, measured, 'kernels'), row['operators']]
        lines.append(f'| {step} | {" | ".join(map(cell, cells))} |')
    return lines


def at_bandwidth(rows: dict[str, dict], step: str, key: str) -> float | None:
    """Return the ms that the counted bytes of a step take, by the copied bytes'."""
    wide = value(rows, 'machine/memory bandwidth', 'gb_per_s')
    seconds = ratio(value(rows, f'roofline/{step}', key), wide)
    return seconds and 1e3 * seconds


def line(aim: str, measured: float | None, bound: float, at_most: bool = False) -> str:
    if measured is None:
        return f'| {aim} | | not measured | |'
    reached = measured <= bound if at_most else measured >= bound
    return f'| {aim} | {measured:.3g} | {"reached" if reached else "not reached"} | |'


def value(rows: dict[str, dict], name: str, key: str) -> float | None:
    return rows.get(name, {}).get(key)


def best(rows: dict[str, dict], start: str, key: str, end: str = '') -> float | None:
    """Return the largest number of the steps whose names start and end so."""
    found = [
        row[key]
        for name, row in rows.items()
        if name.startswith(f'{start} ') and name.endswith(end) and key in row
    ]
    return max(found, default=None)


def ratio(some: float | None, other: float | None) -> float | None:
    return None if some is None or not other else some / other
