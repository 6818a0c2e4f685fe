"""Read damaged and malicious files, and count what comes of it.

Each case is made from its kind and its number, so that it can be made again. It is read
in a process of its own kind, which may end, hang, or fill its memory:

    python benchmarks/fuzz.py --checkpoints 10000 --images 5000 --packed 2000
    python benchmarks/fuzz.py --only 'pickle, evil' --number 17

refused: one error that names the file. same: read, with the values of the whole file;
a packed copy is mended meanwhile. other: read, where the file was written so on
purpose, or has no check sum that could tell. The rest are faults: executed, crashed,
hung, unnamed, different.
"""

import argparse
import gc
import hashlib
import multiprocessing
import os
import pickle
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from fuzz_checkpoints import MARKER, Checkpoints, small_run
from fuzz_images import Images
from fuzz_packed import Files, Packed, read_copy, write_case
from mmengine.logging import MMLogger

from mmseg_fastscnn.apis import embedded_config
from mmseg_fastscnn.checkpoint import load_weights, read_checkpoint
from mmseg_fastscnn.checkpoint.classes import carry_over_classes
from mmseg_fastscnn.checkpoint.load import inflate_first_convolution
from mmseg_fastscnn.checkpoint.weights_hash import hashes_of
from mmseg_fastscnn.commands.entrance import mistake
from mmseg_fastscnn.datasets.label_map import LabelMap
from mmseg_fastscnn.datasets.loading import LoadImageFromFile, read_label
from mmseg_fastscnn.engine.resume.check import check_state
from mmseg_fastscnn.engine.resume.parts import resumable

FAULTS = ('executed', 'crashed', 'hung', 'unnamed', 'different')
OUTCOMES = ('refused', 'same', 'other', *FAULTS)
SECONDS, MEMORY = 60, 8 * 2**30  # limits of one case and of the process that reads it
# What nobody who reads a file has reason to do.
ACTIONS = {
    *('os.system', 'os.exec', 'os.posix_spawn', 'os.fork', 'subprocess.Popen'),
    *('os.mkdir', 'os.remove', 'os.rename', 'os.rmdir', 'shutil.rmtree', 'os.chmod'),
    *('socket.connect', 'socket.bind', 'os.symlink', 'os.link', 'os.truncate'),
}
FAMILIES = {'checkpoints': Checkpoints, 'images': Images, 'packed': Packed}
COUNTS = dict(checkpoints=10_000, images=5_000, packed=2_000)


# --- what is done with a file --------------------------------------------------------


def use_checkpoint(path: Path) -> list:
    """Load a file as testing, `--load-from`, `--resume` and `init_model` do."""
    checkpoint = read_checkpoint(path)
    parts = small_run()
    uses = (load_strictly, start_from, resume_from, read_config)
    return results(
        path, [lambda use=use: use(checkpoint, path, *parts) for use in uses]
    )


def results(path: Path, uses: list) -> list:
    """Return what each use gave, 'refused' for a named error.

    Raises:
        Exception: All were refused, or an error does not name the file.
    """
    values, failures = [], []
    for use in uses:
        try:
            values.append(use())
        except Exception as error:
            if not is_named(error, path):
                raise
            failures.append(error)
            values.append('refused')
    if len(failures) == len(uses):
        raise failures[0]
    return values


def load_strictly(checkpoint, path, model, optimizer, schedulers) -> dict:
    load_weights(model, checkpoint['state_dict'], True, path)
    return hashes_of(dict(state_dict=model.state_dict()))


def start_from(checkpoint, path, model, optimizer, schedulers) -> None:
    old = (checkpoint['meta'].get('dataset_meta') or {}).get('classes') or ['a']
    names = ['z', 'b', 'c', 'd', 'x']
    state, _ = carry_over_classes(model, checkpoint['state_dict'], names, list(old), {})
    load_weights(model, inflate_first_convolution(model, state), False, path)


def resume_from(checkpoint, path, model, optimizer, schedulers) -> None:
    state = resumable(checkpoint, path, path.parent, schedulers, model)
    check_state(state, path, model, optimizer, schedulers)
    optimizer.load_state_dict(state['optimizer'])
    for scheduler, own in zip(schedulers, state['param_schedulers'], strict=True):
        scheduler.load_state_dict(own)
    for history in state['message_hub']['log_scalars'].values():
        history.mean()
    pickle.dumps(state['meta'])


def read_config(checkpoint, path, *parts) -> None:
    embedded_config(checkpoint, path)


def use_image(path: Path) -> list:
    """Load a file as an image in three ways, and as a label."""
    label_map = LabelMap({k: k % 250 for k in range(256)}, 250)
    uses = [
        lambda step=step: digest(step.transform(dict(img_path=str(path)))['img'])
        for step in (
            LoadImageFromFile(),
            LoadImageFromFile(color_type='unchanged'),
            LoadImageFromFile(imdecode_backend='pillow'),
        )
    ]
    return results(path, [*uses, lambda: digest(read_label(str(path), label_map))])


def use_packed(path: Path) -> list:
    """Read all samples of a packed copy, as it is and as that has mended it."""
    return results(path, [lambda: samples_of(path)] * 2)


def samples_of(path: Path) -> list[tuple]:
    samples = read_copy(path)
    return [(digest(one['img']), digest(one['gt_seg_map'])) for one in samples]


def digest(array: np.ndarray) -> tuple:
    return array.shape, hashlib.sha256(array.tobytes()).hexdigest()


USES = {'checkpoints': use_checkpoint, 'images': use_image, 'packed': use_packed}


def is_named(error: Exception, path: Path) -> bool:
    """Return whether an error is one of this project's for users, with the file."""
    return mistake(error) is not None and str(path) in str(error)


def is_different(found: list, whole: list) -> bool:
    """Return whether a use gave neither what the whole file gives nor an error."""
    pairs = zip(found, whole, strict=True)
    return any(one not in (of_whole, 'refused') for one, of_whole in pairs)


# --- one process that reads ----------------------------------------------------------


class Reader:
    """Reads cases one by one, and watches what happens meanwhile.

    Args:
        folder: Folder for the files.
    """

    def __init__(self, folder: str):
        self.folder = Path(folder)
        self.makers = {name: make() for name, make in FAMILIES.items()}
        self.wholes: dict[bytes | Files, object] = {}
        self.actions: list[str] = []
        self.watched = False
        self.may_change: str | None = None  # folder that the use of a case may change
        sys.addaudithook(self._watch)

    def _watch(self, event: str, arguments: tuple) -> None:
        if self.watched:
            writes = event == 'open' and isinstance(arguments[2], int)
            if writes:
                writes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if (event in ACTIONS or writes) and not self._is_allowed(event, arguments):
                self.actions.append(f'{event} {arguments!r}'[:200])

    def _is_allowed(self, event: str, arguments: tuple) -> bool:
        """Return whether all files of an event lie in the folder that may change."""
        count = 1 if event == 'open' else 2  # the next argument is its mode
        named = [Path(a) for a in arguments[:count] if isinstance(a, str | os.PathLike)]
        if event not in ('open', 'os.truncate'):  # which alone follow links
            named = [path.parent for path in named]
        real = [Path(os.path.realpath(path)) for path in named]
        return bool(self.may_change and real) and all(
            path.is_relative_to(self.may_change) for path in real
        )

    def outcome(self, family: str, kind: str, number: int) -> tuple[str, str]:
        """Return the outcome of a case, and a text about it."""
        maker, use = self.makers[family], USES[family]
        rng = random.Random(f'{kind} {number}')
        suffix, data, whole = maker.case(kind, rng, str(self.folder))
        path = self.folder / f'case{suffix}'
        write(path, data)
        folder = maker.WRITES and path / maker.WRITES
        self.may_change = folder and os.path.realpath(folder)
        found, text = self._use(use, path)
        if self.actions or (self.folder / MARKER).exists():
            text = f'{self.actions} {text}'
            return 'executed', text
        if found is None:
            return text.partition(':')[0], text
        silent = maker.KINDS[kind][1]
        if not whole:
            return 'other', ''
        if whole not in self.wholes:
            write(path, whole)
            self.wholes[whole] = use(path)
        if is_different(found, self.wholes[whole]):
            return ('different' if silent else 'other'), str(found)
        return 'same', ''

    def _use(self, use, path: Path) -> tuple[object, str]:
        self.actions.clear()
        self.watched = True
        try:
            return use(path), ''
        except Exception as error:
            if is_named(error, path):
                return None, f'refused: {error}'
            lines = ''.join(traceback.format_exception(error)[-3:])
            return None, f'unnamed: {lines}'
        finally:
            self.watched = False


def write(path: Path, content: bytes | Files) -> None:
    """Write what a case consists of: a file, or the files of a folder."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        write_case(path, content)


def read_cases(connection, folder: str) -> None:
    """Answer each case (family, kind, number) with its outcome, until None comes."""
    warnings.simplefilter('ignore')
    MMLogger.get_current_instance().setLevel('ERROR')  # of what is mended
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    reader = Reader(folder)
    gc.freeze()  # else each data set's garbage collection walks through all of torch
    connection.send('ready')
    while (case := connection.recv()) is not None:
        connection.send(reader.outcome(*case))
    gc.unfreeze()


# --- all of them ---------------------------------------------------------------------


def outcomes(cases: Iterable[tuple]) -> Iterator[tuple[tuple, str, str]]:
    """Yield each case with its outcome and a text, from processes that may end."""
    context = multiprocessing.get_context('spawn')
    process = None
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            if process is None:
                ours, theirs = context.Pipe()
                process = context.Process(target=read_cases, args=(theirs, folder))
                process.start()
                theirs.close()
                ours.recv()
            ours.send(case)
            try:
                answer = ours.recv() if ours.poll(SECONDS) else ('hung', '')
            except EOFError:
                answer = ('crashed', '')
            yield case, *answer
            if answer[0] in ('hung', 'crashed', 'executed'):
                process.kill()
                process.join()
                process = None
                shutil.rmtree(Path(folder, MARKER), ignore_errors=True)
        if process is not None:
            ours.send(None)
            process.join()


def shares(family: str, count: int) -> list[tuple[str, str, int]]:
    """List cases of all kinds of a family, in their shares."""
    kinds = FAMILIES[family].KINDS
    total = sum(weight for weight, _ in kinds.values())
    return [
        (family, kind, number)
        for kind, (weight, _) in kinds.items()
        for number in range(max(1, round(count * weight / total)))
    ]


def table(counts: dict[str, Counter]) -> str:
    """Return a table in Markdown of outcomes by kind."""
    rows = [('kind', 'cases', *OUTCOMES), ('---',) + ('---:',) * (len(OUTCOMES) + 1)]
    total: Counter = sum(counts.values(), Counter())
    for kind, found in [*counts.items(), ('all', total)]:
        cells = [str(found[outcome]) for outcome in OUTCOMES]
        rows.append((kind, str(found.total()), *cells))
    return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    for family, count in COUNTS.items():
        parser.add_argument(f'--{family}', type=int, default=count)
    parser.add_argument('--only', metavar='KIND', help='one kind of cases')
    parser.add_argument('--number', type=int, help='one case of it')
    args = parser.parse_args()
    cases = [case for family in COUNTS for case in shares(family, vars(args)[family])]
    kinds = sorted({kind for _, kind, _ in cases})
    if args.only is not None:
        cases = [case for case in cases if case[1] == args.only]
    if args.number is not None:
        cases = [case for case in cases if case[2] == args.number]
    if not cases:
        parser.error(f'There is no such case. The kinds are {", ".join(kinds)}.')
    counts: dict[str, Counter] = {}
    start = time.monotonic()
    for (_, kind, number), outcome, text in outcomes(cases):
        counts.setdefault(kind, Counter())[outcome] += 1
        if outcome in FAULTS or args.number is not None:
            print(f'{outcome}: {kind} {number}\n{text}', flush=True)
    print(table(counts))
    print(f'{len(cases)} cases in {time.monotonic() - start:.0f} s')
    faults = sum(found[outcome] for found in counts.values() for outcome in FAULTS)
    sys.exit(1 if faults else 0)


if __name__ == '__main__':
    main()
