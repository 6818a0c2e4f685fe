"""The files in which a run keeps what its validations found.

    record/starts.jsonl        one line per start of the run: command, seed, versions
    record/validations.jsonl   one line per validation, in the order of iterations
    record/iter_720.npz        confusion matrix, pixel counts per image
    record/pictures_720.npz    some results as pictures, of the last two validations

Each file is written as a whole. A run that is resumed goes on with them; what an
earlier start found after the iteration of the checkpoint is dropped.
"""

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from mmseg_fastscnn.writing import write_file

FOLDER = 'record'  # in the work dir
STARTS, VALIDATIONS = 'starts.jsonl', 'validations.jsonl'
COUNTS, PICTURES = 'iter', 'pictures'  # beginnings of names
KEYS = {'iter', 'time'}  # of every line

Arrays = dict[str, np.ndarray]


def begin_record(work_dir: str | Path, start: Mapping, resumes: bool) -> None:
    """Record a start of a run.

    Args:
        work_dir: The run's folder.
        start: Facts about the start; `iter` is the number of finished iterations.
        resumes: Whether the run goes on with the one that the record is of. If not,
            that record is removed.

    Raises:
        ValueError: A file there is not a record.
        OSError: A file cannot be written.
    """
    folder = Path(work_dir, FOLDER)
    starts, found = read_lines(folder / STARTS), read_lines(folder / VALIDATIONS)
    kept = [line for line in found if resumes and line['iter'] <= start['iter']]
    for line in found[len(kept) :]:
        for kind in (COUNTS, PICTURES):
            arrays_file(work_dir, kind, line['iter']).unlink(missing_ok=True)
    write_lines(folder / STARTS, [*(starts if resumes else ()), start])
    write_lines(folder / VALIDATIONS, kept)


def add_validation(
    work_dir: str | Path, line: Mapping, counts: Arrays, pictures: Arrays
) -> None:
    """Record a validation; one of the same iteration is replaced.

    Raises:
        ValueError: The file is not a record.
        OSError: A file cannot be written.
    """
    path = Path(work_dir, FOLDER, VALIDATIONS)
    before = [other for other in read_lines(path) if other['iter'] < line['iter']]
    for kind, arrays in ((COUNTS, counts), (PICTURES, pictures)):
        content = io.BytesIO()  # since zip files are written with seeks
        np.savez_compressed(content, **arrays)
        write_file(arrays_file(work_dir, kind, line['iter']), content.getvalue())
    write_lines(path, [*before, line])
    for other in before[:-1]:
        arrays_file(work_dir, PICTURES, other['iter']).unlink(missing_ok=True)


def arrays_file(work_dir: str | Path, kind: str, iteration: int) -> Path:
    """Return where the `COUNTS` or `PICTURES` of a validation are."""
    return Path(work_dir, FOLDER, f'{kind}_{iteration}.npz')


def read_arrays(work_dir: str | Path, kind: str, iteration: int) -> Arrays:
    """Return the `COUNTS` or `PICTURES` of a validation; {} if there is no file.

    Raises:
        ValueError: The file is damaged.
    """
    path = arrays_file(work_dir, kind, iteration)
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except Exception as error:  # of numpy, zipfile or zlib
        raise ValueError(f'{path} is damaged ({error}). Remove it.') from error


def read_lines(path: Path) -> list[dict]:
    """Return the lines of a record; none if there is no such file.

    Raises:
        ValueError: A line is not of a record.
    """
    if not path.is_file():
        return []
    lines = []
    for number, text in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if not (isinstance(line, dict) and line.keys() >= KEYS):
            raise ValueError(
                f'{path}, line {number} is not of a record: {text[:60]!r}. Move the '
                f'file away.'
            )
        lines.append(line)
    return lines


def write_lines(path: Path, lines: Iterable[Mapping]) -> None:
    """Replace a record by these lines."""
    write_file(path, b''.join(json.dumps(line).encode() + b'\n' for line in lines))
