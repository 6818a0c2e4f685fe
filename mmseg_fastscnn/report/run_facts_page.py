"""What the page of a run says of its data, its settings, and how to repeat it."""

import time
from collections.abc import Iterator

from mmseg_fastscnn.report.page import facts_table, table, text
from mmseg_fastscnn.report.run_files import Run, best_checkpoint


def facts_parts(run: Run) -> Iterator[str]:
    yield '<h2>Data</h2>'
    facts = {}
    for purpose, data in run.starts[-1]['data'].items():
        folders = ', '.join(data['folders'].values())
        facts[purpose] = f'{data["images"]:,} images of {data["type"]} ({folders})'
    yield facts_table(facts)
    yield from skipped_parts(run)
    yield from evaluation_parts(run)
    yield from repeat_parts(run)


def skipped_parts(run: Run) -> Iterator[str]:
    """Yield the training samples that were left out, if there are any."""
    reasons = {entry['image']: entry['reason'] for entry in run.skipped}
    if reasons:
        yield f'<h3>{len(reasons)} training samples were left out</h3><ul>'
        yield from (f'<li>{text(reason)}</li>' for reason in reasons.values())
        yield '</ul>'


def evaluation_parts(run: Run) -> Iterator[str]:
    """Yield the scores that `fastscnn test` wrote into the folder, or one below."""
    if not run.evaluations:
        return
    names = ('mIoU', 'mAcc', 'aAcc')
    yield '<h2>Evaluations</h2>'
    yield table(
        ['file', *names, 'images', 'type', 'checkpoint'],
        (
            [
                *(file, *(f'{m[name]:.2f}' if name in m else None for name in names)),
                *(m['num_images'], m.get('dtype'), m['checkpoint']),
            ]
            for file, m in run.evaluations.items()
        ),
    )


def repeat_parts(run: Run) -> Iterator[str]:
    """Yield commands, seed, versions, hashes and the config."""
    first, start = run.starts[0], run.starts[-1]
    yield '<h2>How to repeat it</h2><pre>'
    for one in run.starts:
        when = time.strftime('%Y-%m-%d %H:%M', time.localtime(one['time']))
        yield text(f'# {when}, from iteration {one["iter"]}')
        yield text(one['command'])
    if '--seed' not in first['command']:
        yield text(f'# with --seed {first["seed"]}, which was drawn')
    yield '</pre>'
    facts = {
        'config': start['config'],
        'hash of the config': start['config_sha256'],
        'seed': start['seed'],
        'weights at the start': first['load_from'],
        'device': f'{start["processes"]} x {start["device"]}',
        'images per step': start['images_per_step'],
        'loading workers': f'{start["workers"]} per process',
        **start['versions'],
    }
    path, meta = best_checkpoint(run.folder) or (None, {})
    if path is not None:
        facts['checkpoint'] = path.name
        for kind, digest in (meta.get('sha256') or {}).items():
            facts[f'sha256 of its {kind}'] = digest
    yield facts_table(facts)
    yield from config_parts(meta.get('cfg'))


def config_parts(config: str | None) -> Iterator[str]:
    if config:
        yield '<details><summary>The whole config</summary><pre>'
        yield '\n'.join(text(line) for line in config.splitlines())
        yield '</pre></details>'
