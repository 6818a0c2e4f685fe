"""The table of `gpu.py`: what was measured, and what of it was aimed at."""

from collections import Counter

FLOOR_GB = 0.45  # that the layers must move at 1024x2048 and batch 1, in 16 bits
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
    lines += ['', *targets(rows)]
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
    p50 = best(rows, 'prediction/b1 graph', 'p50_ms', least=True)
    floor = ratio(FLOOR_GB * 1e3, wide)  # in ms
    eaten = best(rows, 'training/b32', 'images_per_s')
    low = best(rows, 'training/b32', 'images_per_s', ending='float16')
    peers = {
        name: value(rows, f'peer/{name}', 'peer_images_per_s')
        for name in ('predict b1', 'train_step b32', 'train_step_amp b32')
    }
    lines = [
        '| aim | measured | reached | why, and what follows |',
        '|---|---|---|---|',
        line(
            "prediction b1, 10 times the peer's images per second",
            ratio(best(rows, 'prediction/b1', copying), peers['predict b1']),
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
            ratio(low, peers['train_step_amp b32']),
            4,
        ),
    ]
    for kind in ('label_map', 'cross_entropy'):
        share = ratio(value(rows, f'kernels/{kind}', 'gb_per_s'), wide)
        lines.append(line(f'{kind}, 0.7 of the memory bandwidth', share, 0.7))
    for kind in ('png', 'packed'):
        fed = ratio(value(rows, f'feeding/{kind}', 'images_per_s'), eaten)
        lines.append(line(f'samples ({kind}) for the fastest step b32', fed, 1))
    return lines


def line(aim: str, measured: float | None, bound: float, at_most: bool = False) -> str:
    if measured is None:
        return f'| {aim} | | not measured | |'
    reached = measured <= bound if at_most else measured >= bound
    return f'| {aim} | {measured:.3g} | {"reached" if reached else "not reached"} | |'


def value(rows: dict[str, dict], name: str, key: str) -> float | None:
    return rows.get(name, {}).get(key)


def best(
    rows: dict[str, dict], start: str, key: str, least: bool = False, ending: str = ''
) -> float | None:
    """Return the largest or the least number of the steps of such names."""
    found = [
        row[key]
        for name, row in rows.items()
        if name.startswith(f'{start} ') and name.endswith(ending) and key in row
    ]
    return (min if least else max)(found, default=None)


def ratio(some: float | None, other: float | None) -> float | None:
    return None if some is None or not other else some / other
