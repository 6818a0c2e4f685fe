"""Everything that a run left in its folder, read for reports."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmseg_fastscnn.checkpoint import read_checkpoint
from mmseg_fastscnn.datasets.bad_samples import json_lines
from mmseg_fastscnn.engine.record.files import (
    COUNTS,
    FOLDER,
    PICTURES,
    STARTS,
    VALIDATIONS,
    Arrays,
    read_arrays,
    read_lines,
)
from mmseg_fastscnn.engine.record.pictures import Result, from_arrays
from mmseg_fastscnn.engine.skipped_samples import NAME as SKIPPED
from mmseg_fastscnn.results import is_ours

Curve = list[tuple[int, float]]


@dataclass
class Run:
    """A run, as its folder tells it.

    Attributes:
        folder: The work dir.
        starts: One dict per start of the run, see `engine/record/facts.py`.
        validations: One dict per validation, see `engine/record/hook.py`.
        training: The logged lines of training, in the order of iterations.
        evaluations: What `metrics*.json` in the folder, or one level below, say.
        skipped: The samples that training left out.
    """

    folder: Path
    starts: list[dict]
    validations: list[dict]
    training: list[dict]
    evaluations: dict[str, dict] = field(default_factory=dict)
    skipped: list[dict] = field(default_factory=list)

    @property
    def name(self) -> str:
        folder = self.folder.resolve()
        of_sweep = 'seed_' in folder.name
        return f'{folder.parent.name}/{folder.name}' if of_sweep else folder.name

    @property
    def metainfo(self) -> dict:
        """The classes and their palette."""
        return {key: self.starts[-1][key] for key in ('classes', 'palette')}

    @property
    def done(self) -> int:
        """Number of iterations that the record knows of."""
        return max(
            [line['iter'] for line in [*self.training, *self.validations]] or [0]
        )

    @property
    def length(self) -> int:
        """Number of iterations of the whole run, as it was planned last."""
        start = self.starts[-1]
        later = [v for v in self.validations if v['iter'] > start['iter']]
        return [start, *later][-1].get('length', start['length'])

    @property
    def best(self) -> dict | None:
        """The validation of highest mIoU."""
        scored = [v for v in self.validations if score(v) is not None]
        return max(scored, key=score, default=None)

    @property
    def miou(self) -> Curve:
        """The mIoU of the validations."""
        scores = [(v['iter'], score(v)) for v in self.validations]
        return [(k, value) for k, value in scores if value is not None]

    def curve(self, key: str) -> Curve:
        """Return a value of the training log over iterations."""
        return [(line['iter'], line[key]) for line in self.training if key in line]

    def validated(self, *keys: str) -> Curve:
        """Return a value of the validations, found by keys one inside the other."""
        points = []
        for line in self.validations:
            value = line
            for key in keys:
                value = (value or {}).get(key)
            if value is not None:
                points.append((line['iter'], value))
        return points

    def counts(self, validation: Mapping) -> Arrays:
        return read_arrays(self.folder, COUNTS, validation['iter'])

    def images(self) -> frozenset[str]:
        """Return the names of the images of the best validation, if they are known."""
        return frozenset(map(str, self.counts(self.best).get('paths', ())))

    def results(
        self, validation: Mapping, kind: str
    ) -> list[tuple[Result, np.ndarray | None]]:
        """Return the `worst` or the `shown` results of a validation, with images."""
        arrays = read_arrays(self.folder, PICTURES, validation['iter'])
        return from_arrays(kind, arrays)


def score(validation: Mapping) -> float | None:
    """Return the mIoU of a validation, with or without the prefix of its metric."""
    for name, value in validation['scores'].items():
        if name.split('/')[-1] == 'mIoU':
            return value
    return None


def read_run(folder: str | Path) -> Run:
    """Read what a run left in its folder.

    Raises:
        FileNotFoundError: There is no record of a run.
        ValueError: A file of the record is damaged.
    """
    folder = Path(folder)
    starts = read_lines(folder / FOLDER / STARTS)
    if not starts:
        raise FileNotFoundError(
            f'{folder} has no {FOLDER}/{STARTS}, so it is no work dir of a training '
            f'run with validation, or of an earlier version. Give the --work-dir of '
            f'train.'
        )
    return Run(
        folder,
        starts,
        read_lines(folder / FOLDER / VALIDATIONS),
        training_lines(folder),
        evaluations(folder),
        json_lines(folder / SKIPPED),
    )


def training_lines(folder: Path) -> list[dict]:
    """Return the lines of training from the logs of all starts, in order.

    What a start logged after the iteration at which the next one went on is left out.
    """
    lines: list[dict] = []
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        of_start = [line for line in json_lines(path) if 'loss' in line]
        if of_start:
            first = of_start[0]['iter']
            lines = [line for line in lines if line['iter'] < first] + of_start
    return lines


def evaluations(folder: Path) -> dict[str, dict]:
    """Return the content of each `metrics*.json` by its path within the folder.

    Files of this name that `fastscnn test` did not write are left out.
    """
    files = [*folder.glob('metrics*.json'), *folder.glob('*/metrics*.json')]
    contents = {path: json.loads(path.read_bytes()) for path in filter(is_ours, files)}
    return {
        path.relative_to(folder).as_posix(): contents[path]
        for path in sorted(contents)
        if 'checkpoint' in contents[path]
    }


def best_checkpoint(folder: Path) -> tuple[Path, dict] | None:
    """Return the best checkpoint, or else the last one, and its meta data."""
    files = sorted(folder.glob('best_*.pth')) or sorted(
        folder.glob('iter_*.pth'), key=lambda path: path.stat().st_mtime
    )
    if not files:
        return None
    return files[-1], read_checkpoint(files[-1])['meta']
