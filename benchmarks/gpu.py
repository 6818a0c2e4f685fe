"""Prove on a GPU what this project claims, and leave the numbers, in one command.

    python benchmarks/gpu.py --camvid data/camvid     # 8 minutes; then read the table
    python benchmarks/gpu.py --camvid data/camvid     # again: goes on where it stopped
    python benchmarks/gpu.py --device cpu --quick     # every step, tiny, without a GPU

Each step is a process of its own with a time limit, so that a crash or a wrong kernel
spoils only its own row. The most important ones come first: correctness, prediction of
one image, the training step, feeding, a real training; then what else there is to see.
After each step `results.json` and `table.md` in the folder of `--out` are written anew,
and what the step printed stays in `logs`. A later call leaves finished rows alone and
tries the others again, those that failed last. `gpu_steps.py` says what the steps do.

The peer is mmsegmentation, in an environment that `compare_mmseg.py` makes. Where there
is no internet, carry the folder that `wheels.py` writes:

    PIP_NO_INDEX=1 PIP_FIND_LINKS=wheels python benchmarks/gpu.py
"""

import argparse
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import product
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple

import gpu_steps
from gpu_table import table

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]  # for the processes, which get it
LEAST = 15  # seconds that must be left to begin another step
AGAIN = ('failed', 'crashed', 'overran')  # rows that are tried last in a later call


class Step(NamedTuple):
    """One row: what a function returns.

    Attributes:
        function: 'module:name'; it is called with the `Setting` and the options.
        limit: Seconds after which its process is killed.
    """

    name: str
    function: str
    options: dict = {}
    limit: float = 60


def first_steps() -> list[Step]:
    """What must be seen even if the minutes run out: all targets, each part once."""
    correct = 'label_map cross_entropy other_losses golden sync_bn same_twice resume'
    steps = [
        Step('machine/memory bandwidth', 'gpu_speed:bandwidth'),
        *(Step(f'correct/{name}', f'gpu_correct:{name}') for name in correct.split()),
        *(
            Step(f'correct/{d}', 'gpu_correct:precision', dict(dtype=d))
            for d in gpu_steps.LOW
        ),
        Step('setup/data', 'gpu_others:data', limit=120),
        Step('setup/peer', 'gpu_others:install_peer', limit=240),
    ]
    forms = [('eager', 'float32'), ('folded', 'float32'), ('folded', 'float16')]
    steps += [prediction(1, *form) for form in [*forms, ('graph', 'float16')]]
    steps += [peer('predict', 1), kernels('label_map'), kernels('cross_entropy')]
    forms = [('product', 'float32'), ('product', 'float16'), ('graph', 'float16')]
    steps += [training(32, *form) for form in [*forms, ('graph', 'bfloat16')]]
    steps += [peer('train_step', 32), peer('train_step_amp', 32)]
    steps += [
        Step(f'feeding/{kind}', 'gpu_others:feeding', dict(kind=kind), 90)
        for kind in ('png', 'packed')
    ]
    return [*steps, Step('real training/camvid', 'gpu_others:camvid', limit=300)]


def further_steps() -> list[Step]:
    """All other forms, precisions and batches, as long as there is time."""
    forms = ('folded', 'graph', 'compiled', 'eager')
    steps = [prediction(1, f, d) for f, d in product(forms, gpu_steps.PRECISIONS)]
    steps += [Step('distributed/all GPUs', 'gpu_others:distributed', limit=120)]
    steps += [Step('feeding/jpeg', 'gpu_others:feeding', dict(kind='jpeg'))]
    steps += [prediction(16, f, d) for f, d in product(forms, gpu_steps.PRECISIONS)]
    steps += [Step('prediction/ms+flip', 'gpu_speed:ms_flip'), peer('ms_flip', 1)]
    forms = ('product', 'graph', 'eager', 'compiled')
    for batch, form, dtype in product((32, 8, 4, 64), forms, gpu_steps.PRECISIONS):
        steps.append(training(batch, form, dtype))
    return [*steps, *(peer('train_step', batch) for batch in (8, 4, 64))]


def prediction(batch: int, form: str, dtype: str) -> Step:
    options = dict(batch=batch, form=form, dtype=dtype)
    limit = 150 if form == 'compiled' else 60
    return Step(
        f'prediction/b{batch} {form} {dtype}', 'gpu_speed:predict', options, limit
    )


def training(batch: int, form: str, dtype: str) -> Step:
    options = dict(batch=batch, form=form, dtype=dtype)
    limit = 240 if form == 'compiled' else 60
    return Step(f'training/b{batch} {form} {dtype}', 'gpu_speed:train', options, limit)


def peer(work: str, batch: int) -> Step:
    return Step(
        f'peer/{work} b{batch}', 'gpu_others:peer', dict(work=work, batch=batch), 150
    )


def kernels(kind: str) -> Step:
    return Step(f'kernels/{kind}', 'gpu_speed:kernels', dict(kind=kind))


def in_order(args: argparse.Namespace) -> list[Step]:
    """Return every step once, the most important ones first.

    On a CPU those that need a GPU are left out, and of tiny images, where all batches
    are one size, all training steps but those of batch 32.
    """
    steps = {step.name: step for step in [*first_steps(), *further_steps()]}
    left_out = []
    if args.device == 'cpu':
        left_out += ['compiled', 'float16', 'sync_bn']
    if args.quick:
        left_out += ['training/b8', 'training/b4', 'training/b64', 'peer/']
    return [
        step
        for name, step in steps.items()
        if not any(part in name.replace('bfloat16', 'bf16') for part in left_out)
    ]


def parse_args(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--minutes', type=float, default=8, help='of this call')
    parser.add_argument('--camvid', type=Path, help='folder with train, trainannot, ..')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/gpu'))
    parser.add_argument(
        '--steps',
        nargs='+',
        metavar='PART',
        help='only those with such a part in their name, finished ones once more',
    )
    parser.add_argument('--device', choices=['cuda', 'cpu'], default='cuda')
    parser.add_argument(
        '--quick', action='store_true', help='tiny images: does the script work?'
    )
    return parser.parse_args(words)


def main(words: list[str] | None = None, steps: list[Step] | None = None) -> None:
    args = parse_args(words)
    machine = gpu_steps.machine(args.device)
    if machine is None:
        print(
            'No CUDA device is seen here, so no kernel, speed or memory of a GPU can '
            'be measured; `--device cpu --quick` tries the steps themselves.',
            file=sys.stderr,
        )
        sys.exit(2)
    machine['quick'] = args.quick
    setting = gpu_steps.Setting(
        args.device,
        args.quick,
        args.out.resolve(),
        args.camvid and args.camvid.resolve(),
    )
    (args.out / 'logs').mkdir(parents=True, exist_ok=True)
    rows = read_rows(args.out, machine)
    steps = in_order(args) if steps is None else steps
    todo = to_do(steps, rows, args.steps)
    end = time.monotonic() + 60 * args.minutes
    workers = Workers(args.device)
    try:
        for step in todo:
            left = end - time.monotonic()
            if left < min(LEAST, step.limit):
                break
            row = workers.run(step, setting, min(step.limit, left))
            if row['status'] == 'overran' and left < step.limit:
                row['status'] = 'no time'
            rows[step.name] = row
            write(args.out, machine, rows, steps)
            print(f'{row["seconds"]:6.1f} s  {step.name}: {in_words(row)}', flush=True)
    finally:
        workers.close()
    write(args.out, machine, rows, steps)
    print((args.out / 'table.md').read_text())


def read_rows(out: Path, machine: dict) -> dict[str, dict]:
    """Return the rows of earlier calls.

    Raises:
        SystemExit: They are of another machine.
    """
    file = out / 'results.json'
    if not file.exists():
        return {}
    results = json.loads(file.read_text())
    if results['machine'] != machine:
        sys.exit(
            f'{file} is of another machine or size:\n  {results["machine"]}\nnot\n  '
            f'{machine}\nGive another folder by --out, or remove that one.'
        )
    return results['rows']


def to_do(
    steps: list[Step], rows: dict[str, dict], parts: list[str] | None
) -> list[Step]:
    """Return the steps of this call: those never finished, those that failed last."""
    if parts:
        return [step for step in steps if any(part in step.name for part in parts)]

    def status(step: Step) -> str:
        return rows.get(step.name, {}).get('status', 'no time')

    steps = [step for step in steps if status(step) != 'done']
    return sorted(steps, key=lambda step: status(step) in AGAIN)


def write(
    out: Path, machine: dict, rows: dict[str, dict], steps: Sequence[Step]
) -> None:
    """Write results and table; a kill in between leaves the files before."""
    rest = [step.name for step in steps if step.name not in rows]
    report = dict(machine=machine, rows=rows)
    texts = {'results.json': json.dumps(report, indent=2) + '\n'}
    texts['table.md'] = table(machine, rows, rest)
    for name, text in texts.items():
        (out / f'{name}.new').write_text(text)
        os.replace(out / f'{name}.new', out / name)


def in_words(row: dict) -> str:
    numbers = {k: v for k, v in row.items() if k not in ('status', 'why', 'seconds')}
    said = [
        f'{k} {v:.4g}' if isinstance(v, float) else f'{k} {v}'
        for k, v in numbers.items()
    ]
    return ', '.join([row['status'], *filter(None, [row.get('why')]), *said])


class Workers:
    """Processes for the steps; while one works, the next one imports torch.

    Args:
        device: 'cuda': Python starts anew for each, since CUDA cannot be used in a fork
            of a process that has asked for it. 'cpu': a fork of a server, at once.
    """

    def __init__(self, device: str):
        self.context = multiprocessing.get_context(
            'spawn' if device == 'cuda' else 'forkserver'
        )
        if device == 'cpu':
            self.context.set_forkserver_preload(['gpu_steps', *gpu_steps.IMPORTED])
        self.spare = self.start()

    def start(self) -> tuple:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=gpu_steps.serve, args=(theirs,))
        process.start()
        theirs.close()
        return process, ours

    def run(self, step: Step, setting: gpu_steps.Setting, limit: float) -> dict:
        """Run a step in a process of its own and return its row."""
        (process, pipe), began = self.spare, time.monotonic()
        self.spare = self.start()
        log = setting.out / 'logs' / f'{step.name.replace("/", "_")}.txt'
        with suppress(BrokenPipeError):  # it died at its imports
            pipe.send(
                (step.function, step.options, setting._replace(seconds=limit), log)
            )
        wait([pipe, process.sentinel], limit)
        try:
            row = pipe.recv() if pipe.poll() else None
        except EOFError:  # it died
            process.join(5)
            row = None
        if row is None and process.is_alive():
            row = dict(status='overran', why=f'not ready after {limit:.0f} s')
        elif row is None:
            process.join()
            said = log.read_text().splitlines()[-1:] if log.exists() else []
            end = f'ended with exit status {process.exitcode}'
            row = dict(status='crashed', why=': '.join([end, *said]))
        end_all(process)
        return dict(row, seconds=time.monotonic() - began)

    def close(self) -> None:
        end_all(self.spare[0])


def end_all(process: multiprocessing.Process) -> None:
    """Kill a step's process and those that it started, which are a group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


if __name__ == '__main__':
    main()
