"""Kill a training run with SIGKILL at random moments, and go on from what it left.

After each kill, as soon as a first checkpoint was complete, the one that
`last_checkpoint` names must load, and a run with `--resume` must go on from it. On the
slow disk files are written in pieces of 1 MB with a pause after each, so that most
kills land inside a write. A run is a fork of this process, which has imported torch.

Usage (25 kills on each disk, for each number of kept checkpoints: 100 in all):
    python benchmarks/kill.py --kills 25
"""

import argparse
import io
import os
import random
import re
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
import torch._dynamo
from matplotlib import pyplot  # noqa: F401  (here, so that runs start sooner)
from mmengine.config import Config
from mmengine.runner import runner as runner_of_mmengine

from mmseg_fastscnn.checkpoint import read_checkpoint
from mmseg_fastscnn.datasets.toy_streets import write_toy_streets
from mmseg_fastscnn.registry import REGISTRIES

ROOT = Path(__file__).parents[1]
CONFIG = 'configs/fastscnn/fast_scnn_toy_streets.py'
PIECE, PAUSE = 2**20, 0.05
FAULTS = {
    'none': 'no loadable checkpoint',
    'pointer': 'last_checkpoint names no loadable file',
    'resume': '--resume did not go on',
}


class SlowFile:
    """A file that takes its time to write."""

    def __init__(self, file: io.IOBase):
        self.file = file

    def __getattr__(self, name: str) -> object:
        return getattr(self.file, name)

    def __enter__(self) -> 'SlowFile':
        time.sleep(PAUSE)
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def write(self, content: bytes | str) -> None:
        for start in range(0, len(content), PIECE):
            self.file.write(content[start : start + PIECE])
            self.file.flush()
            time.sleep(PAUSE)


def make_writing_slow() -> None:
    """Replace `open` in this process for files that are written anew."""
    real = io.open

    def slow_open(file: object, mode: str = 'r', *args: object, **kwargs: object):
        opened = real(file, mode, *args, **kwargs)
        return SlowFile(opened) if mode in ('w', 'wb') else opened

    __builtins__.open = io.open = slow_open


def shorten_the_start() -> None:
    """Import everything, and leave out what takes seconds and changes no weights."""
    for registry in REGISTRIES:
        registry.import_from_location()
    Config.pretty_text = property(lambda config: '')  # laid out anew per checkpoint
    runner_of_mmengine.collect_env = dict  # runs compilers for their versions


def train(work_dir: Path, data: Path, log: Path, keep: int, slow: bool) -> int:
    """Start `tools/train.py --resume` in a fork; return its process id."""
    child = os.fork()
    if child:
        return child
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.chdir(ROOT)
    sys.argv = [
        *['tools/train.py', CONFIG, '--work-dir', str(work_dir)],
        *['--data-root', str(data), '--resume', '--cfg-options'],
        *['train_cfg.max_iters=100000', 'train_cfg.val_interval=4'],
        *['default_hooks.checkpoint.interval=2', 'default_hooks.logger.interval=1'],
        f'default_hooks.checkpoint.max_keep_ckpts={keep}',
        *['train_dataloader.batch_size=2', 'train_dataloader.num_workers=0'],
        'val_dataloader.num_workers=0',
    ]
    if slow:
        make_writing_slow()
    status = 1
    try:
        runpy.run_path('tools/train.py', run_name='__main__')
    finally:
        os._exit(status)


def wait_for(log: Path, child: int, pattern: str) -> re.Match | None:
    """Wait until a run has logged something; None if it has ended before."""
    while True:
        found = re.search(pattern, log.read_text() if log.exists() else '')
        ended, _ = os.waitpid(child, os.WNOHANG)
        if found or ended:
            return found
        time.sleep(0.02)


def loads(path: Path) -> int | None:
    """Return the iteration of a checkpoint, None if it cannot be loaded."""
    try:
        return read_checkpoint(path)['meta']['iter']
    except (ValueError, KeyError, FileNotFoundError):
        return None


def named(work_dir: Path) -> int | None:
    """Return the iteration of the checkpoint that `last_checkpoint` names."""
    pointer = work_dir / 'last_checkpoint'
    name = Path(pointer.read_text()).name if pointer.exists() else ''
    return loads(work_dir / name) if name else None


def kill_often(
    data: Path, kills: int, keep: int, slow: bool, longest: float
) -> Counter:
    """Kill a run and resume it, again and again; count what went wrong."""
    found = Counter()
    folder = Path(tempfile.mkdtemp(prefix='kill.'))
    work_dir, log, last = folder / 'run', folder / 'log', None
    for _ in range(kills):
        log.unlink(missing_ok=True)
        child = train(work_dir, data, log, keep, slow)
        began = wait_for(log, child, r'iterations from (\d+)')
        if began is None or (last is not None and int(began[1]) != last):
            found['resume'] += 1
            print(log.read_text()[-400:] if began is None else began[0], flush=True)
        if began is not None:
            wait_for(log, child, r'Iter\(train\)')
            time.sleep(random.uniform(0, longest))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        found['drafts'] += len(list(work_dir.glob('.*.part')))
        files = [path for path in work_dir.glob('*.pth') if loads(path) is not None]
        last = named(work_dir)
        if last is None and (work_dir / 'last_checkpoint').exists():
            found['pointer' if files else 'none'] += 1
            shutil.rmtree(work_dir)  # nothing to go on from: begin anew
        regular = [path for path in files if path.name.startswith('iter_')]
        found['most files'] = max(found['most files'], len(regular))
    found['iterations'] = last or 0
    shutil.rmtree(folder)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kills', type=int, default=25, help='per disk and keep')
    parser.add_argument('--disk', nargs='+', default=['fast', 'slow'])
    parser.add_argument('--keep', type=int, nargs='+', default=[1, 3])
    parser.add_argument('--longest', type=float, default=2.0, help='seconds to a kill')
    args = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(0)
    shorten_the_start()
    data = Path(tempfile.mkdtemp(prefix='streets.'))
    write_toy_streets(data, (64, 128), num_train=6, num_val=2)
    total = Counter()
    print('disk  keep  kills  ' + '  '.join(FAULTS.values()) + '  in a write  files')
    for disk in args.disk:
        for keep in args.keep:
            slow = disk == 'slow'
            found = kill_often(data, args.kills, keep, slow, args.longest)
            total += found
            faults = [found[fault] for fault in FAULTS]
            print(disk, keep, args.kills, *faults, found['drafts'], found['most files'])
    shutil.rmtree(data)
    sys.exit(any(total[fault] for fault in FAULTS))


if __name__ == '__main__':
    main()
