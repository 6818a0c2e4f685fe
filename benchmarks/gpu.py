"""Prove on a GPU what this project claims, and leave the numbers, in one command.

    python benchmarks/gpu.py --camvid data/camvid     # 8 minutes; then read the table
    python benchmarks/gpu.py --camvid data/camvid     # again: goes on where it stopped
    python benchmarks/gpu.py --device cpu --quick     # every step, tiny, without a GPU

Each step is a process of its own with a time limit, so that a crash or a wrong kernel
spoils only its own row. The most important ones come first: correctness, the training
step and prediction of one image, each against the peer, the kernels, feeding, a real
training; then what else there is to see. Steps that time nothing run beside each other.
After each step `results.json` and `table.md` in the folder of `--out` are written anew,
and what the step printed stays in `logs`. A later call leaves finished rows alone and
tries the others again, those that failed last. `gpu_plan.py` lists the steps.

The peer is mmsegmentation, in an environment that `compare_mmseg.py` makes. `wheels.py`
says what to carry where there is no internet. The images of CamVid may be JPEG there,
and `results.json`, `table.md` and `logs` are what to bring back; with the first in its
place, a call on another such machine goes on.
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
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple

import gpu_steps
from gpu_plan import Step, in_order
from gpu_table import table

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]  # for the processes, which get it
LEAST = 15  # seconds that must be left to begin another step
IMPORTS = 60  # seconds that a process may take to import torch and this project
BESIDE = 4  # steps that time nothing run beside each other, as many as this
AGAIN = ('failed', 'crashed', 'overran')  # rows that are tried last in a later call


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
        while todo or workers.jobs:
            while todo and workers.can_begin(todo[0]):
                left = end - time.monotonic()
                if left < min(LEAST, todo[0].limit):
                    todo.clear()
                else:
                    workers.begin(todo.pop(0), setting, left)
            for step, row in workers.ended():
                rows[step.name] = row
                write(args.out, machine, rows, steps)
                said = f'{row["seconds"]:6.1f} s  {step.name}: {in_words(row)}'
                print(said, flush=True)
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
    if not (out / 'config.py').exists():  # the results alone were carried here
        results['rows'].pop('setup/peer', None)
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


class Job(NamedTuple):
    """A step in its process; `limit` is when it is killed, in `time.monotonic`."""

    step: Step
    process: multiprocessing.Process
    pipe: Connection
    log: Path
    began: float
    limit: float


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
        self.jobs: list[Job] = []
        self.most = min(BESIDE, len(os.sched_getaffinity(0)))
        self.spare = self.start()

    def start(self) -> tuple:
        ours, theirs = self.context.Pipe()
        imported = self.context.Event()
        given = (theirs, imported)
        process = self.context.Process(target=gpu_steps.serve, args=given)
        process.start()
        theirs.close()
        return process, ours, imported

    def can_begin(self, step: Step) -> bool:
        """Whether a step may run beside those that do."""
        beside = all(one.beside for one in (step, *(job.step for job in self.jobs)))
        return not self.jobs or (beside and len(self.jobs) < self.most)

    def begin(self, step: Step, setting: gpu_steps.Setting, left: float) -> None:
        """Give a step to a process of its own, for `left` seconds at most."""
        process, pipe, imported = self.spare
        end = time.monotonic() + IMPORTS  # which is no part of the step's time
        while process.is_alive() and not imported.wait(0.1) and time.monotonic() < end:
            pass
        self.spare, began = self.start(), time.monotonic()
        seconds = min(step.limit, left)
        log = setting.out / 'logs' / f'{step.name.replace("/", "_")}.txt'
        log.unlink(missing_ok=True)
        setting = setting._replace(seconds=seconds)
        with suppress(BrokenPipeError):  # it died at its imports
            pipe.send((step.function, step.options, setting, log))
        self.jobs.append(Job(step, process, pipe, log, began, began + seconds))

    def ended(self) -> list[tuple[Step, dict]]:
        """Wait until a step has ended or is too late; return such with their rows."""
        if not self.jobs:
            return []
        ends = [end for job in self.jobs for end in (job.pipe, job.process.sentinel)]
        first = min(job.limit for job in self.jobs)
        ready = wait(ends, max(0.0, first - time.monotonic()))
        now, result = time.monotonic(), []
        for job in list(self.jobs):
            if job.pipe in ready or job.process.sentinel in ready or now >= job.limit:
                self.jobs.remove(job)
                row = row_of(job)
                end_all(job.process)
                result.append((job.step, dict(row, seconds=now - job.began)))
        return result

    def close(self) -> None:
        for process in (self.spare[0], *(job.process for job in self.jobs)):
            end_all(process)


def row_of(job: Job) -> dict:
    """Return what a step sent, or say how it ended without."""
    try:
        if job.pipe.poll():
            return job.pipe.recv()
    except EOFError:  # it dies
        job.process.join(5)
    if job.process.is_alive():
        seconds = job.limit - job.began
        status = 'overran' if seconds >= job.step.limit else 'no time'
        return dict(status=status, why=f'not ready after {seconds:.0f} s')
    said = []
    if job.log.exists():
        said = job.log.read_text(errors='replace').splitlines()[-1:]
    end = f'ended with exit status {job.process.exitcode}'
    return dict(status='crashed', why=': '.join([end, *said]))


def end_all(process: multiprocessing.Process) -> None:
    """Kill a step's process and those that it started, which are a group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join(10)  # one that hangs in the driver stays


if __name__ == '__main__':
    main()
