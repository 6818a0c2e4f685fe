"""The runs of a sweep: which recipe with which seed on which fold of the data."""

import functools
import itertools
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from mmseg_fastscnn.config import load_config, require
from mmseg_fastscnn.config.source import leaves
from mmseg_fastscnn.datasets.soft_layout import INDEX
from mmseg_fastscnn.engine.record.facts import hash_of
from mmseg_fastscnn.file_hash import file_hash
from mmseg_fastscnn.writing import write_file

STATE = 'sweep_run.json'


@dataclass(frozen=True)
class Recipe:
    """A config and changed settings, as text."""

    name: str
    config: str
    settings: tuple[str, ...]


@dataclass(frozen=True)
class PlannedRun:
    """One recipe with one seed on one fold of the data.

    Attributes:
        recipe: Name of the recipe.
        fold: Name of the fold; empty without folds.
        seed: The seed.
        folder: Its work dir.
        words: The arguments of `fastscnn train`, without --resume.
        hashes: What it is trained with: see `hashes_now`.
    """

    recipe: str
    fold: str
    seed: int
    folder: Path
    words: tuple[str, ...]
    hashes: Mapping[str, str] = field(hash=False)

    def state(self) -> dict | None:
        """Return `words`, `seconds` and exit `status` of the run; None if not begun.

        Raises:
            ValueError: The folder has a run with other arguments, of a config or of
                files that have changed since, or one that was trained outside of this
                sweep.
        """
        file = self.folder / STATE
        if not file.exists():
            if any(self.folder.glob('*.pth')):
                raise ValueError(
                    f'{self.folder} has checkpoints, and no {STATE}: it is no run of a '
                    f'sweep. Give another --out.'
                )
            return None
        state = json.loads(file.read_bytes())
        if state['words'] != list(self.words):
            raise ValueError(
                f'{self.folder} has a run with other arguments: train '
                f'{" ".join(state["words"])}. Give another --out, or remove it.'
            )
        before = state.get('hashes')
        if before is None:  # written by an earlier version
            before = {self.words[0]: state['config_sha256'], **state['files']}
        if changed := difference(before, self.hashes):
            raise ValueError(
                f'{changed} has changed since {self.folder} was trained with it. '
                f'Give another --out, or remove that folder.'
            )
        return state

    def check_unchanged(self) -> None:
        """Check that config and files are what they were when the sweep was planned.

        Raises:
            ValueError: One has changed.
        """
        if changed := difference(self.hashes, hashes_now(self.words)):
            raise ValueError(
                f'{changed} has changed since this sweep began, so {self.folder} would '
                f'be of another recipe than the runs before. Change it back, or give '
                f'another --out.'
            )

    def is_done(self) -> bool:
        state = self.state()
        return state is not None and state['status'] == 0

    def write_state(self, seconds: float, status: int | None) -> None:
        content = dict(words=self.words, seconds=seconds, status=status)
        content['hashes'] = self.hashes
        write_file(self.folder / STATE, json.dumps(content).encode())


def recipes_of(configs: Sequence[str], grid: Sequence[str]) -> list[Recipe]:
    """Return each config with each combination of the settings' values.

    Args:
        configs: Config files.
        grid: `KEY=A,B`; commas in brackets do not separate values.

    Raises:
        ValueError: An entry of the grid lacks a value or has one twice, or two recipes
            have one name.
    """
    axes = []
    for entry in grid:
        key, _, text = entry.partition('=')
        values = split_values(text)
        if not key or '' in values:
            raise ValueError(f'--grid {entry} is not of the form KEY=A,B.')
        if len(set(values)) < len(values):
            raise ValueError(f'--grid {entry} has a value twice; remove one.')
        axes.append([(key, value) for value in values])
    recipes: dict[str, Recipe] = {}
    for config, settings in itertools.product(configs, itertools.product(*axes)):
        changed = [f'{key.split(".")[-1]}={value}' for key, value in settings]
        name = re.sub(r'[^\w.=+-]+', '_', ' '.join([Path(config).stem, *changed]))
        words = tuple(f'{key}={value}' for key, value in settings)
        if name in recipes:
            first = recipes[name]
            raise ValueError(
                f'Two recipes would be called {name}: '
                f'{" ".join([first.config, *first.settings])} and '
                f'{" ".join([config, *words])}. Rename a config, or sweep over these '
                f'values one by one.'
            )
        recipes[name] = Recipe(name, config, words)
    return list(recipes.values())


def split_values(text: str) -> list[str]:
    """Split at the commas outside of brackets."""
    values, depth = [''], 0
    for letter in text:
        depth += (letter in '[({') - (letter in '])}')
        if letter == ',' and depth == 0:
            values.append('')
        else:
            values[-1] += letter
    return values


def planned_runs(
    recipes: Sequence[Recipe],
    folds: Sequence[str],
    seeds: Sequence[int],
    out: str | Path,
    minutes: float | None,
    train: Sequence[str],
) -> list[PlannedRun]:
    """Return the runs of a sweep, seed by seed: the first ones already compare recipes.

    Args:
        recipes: See `recipes_of`.
        folds: Text files with one KEY=VALUE per line; each recipe is trained with the
            settings of each.
        seeds: Each recipe is trained with each seed.
        out: Folder of the sweep.
        minutes: Length of each run; by default its config says it.
        train: Further arguments of `fastscnn train`.

    Raises:
        ValueError: Two folds have one name, a config is a folder or does not validate,
            or see `load_config` and `read_settings`.
    """
    runs, reads = [], [functools.cache(read) for read in (config_of, file_hash)]
    parts = {Path(file).stem: read_settings(file) for file in folds} or {'': []}
    if len(parts) < len(folds):
        raise ValueError(
            f'--folds {" ".join(folds)}: two files have one name; rename one.'
        )
    choices = itertools.product(dict.fromkeys(seeds), parts, recipes)
    for seed, fold, recipe in choices:
        folder = Path(out) / recipe.name / f'{fold and fold + "_"}seed_{seed}'
        words = [recipe.config, '--work-dir', str(folder), '--seed', str(seed), *train]
        if settings := [*recipe.settings, *parts[fold]]:
            words += ['--cfg-options', *settings]
        if minutes is not None:
            words += ['--minutes', f'{minutes:g}']
        hashes = hashes_now(words, *reads)
        runs.append(PlannedRun(recipe.name, fold, seed, folder, tuple(words), hashes))
    return runs


def config_of(config: str) -> Config:
    """Return the config of a file.

    Raises:
        ValueError: It is a folder, or has no validation; or see `load_config`.
    """
    if os.path.isdir(config):
        raise ValueError(
            f'{config} is a folder, and a sweep takes config files. `fastscnn check '
            f'{config}` writes one, which chooses the same images and batch each time.'
        )
    cfg = load_config(config)
    require(cfg, ['val_dataloader', 'val_evaluator'], 'a sweep, whose table has mIoU,')
    return cfg


def hashes_now(
    words: Sequence[str],
    load: Callable[[str], Config] = config_of,
    hash_file: Callable[[str], str] = file_hash,
) -> dict[str, str]:
    """Return the hashes of a run's config and of the files that it names, by path.

    Files are lists of images, weights, the index of a folder of soft labels. A name is
    looked for in the folders that are named as well, such as `data_root`.

    Args:
        words: The arguments of the run; the first is the config.
        load: Reads the config.
        hash_file: Returns the hash of a file.
    """
    config = load(words[0])
    values = {word.rpartition('=')[2] for word in words[1:]}
    for _, value in leaves(config.to_dict()):
        parts = value if isinstance(value, list | tuple) else [value]
        values.update(part for part in parts if isinstance(part, str))
    folders = list(filter(os.path.isdir, values))
    paths = {os.path.join(folder, v) for folder in folders for v in {INDEX, *values}}
    files = sorted(filter(os.path.isfile, paths | values))
    return {**{file: hash_file(file) for file in files}, words[0]: hash_of(config)}


def difference(before: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """Return the first path whose hash is not what it was; None if there is none."""
    return next((path for path in before if now.get(path) != before[path]), None)


def read_settings(file: str) -> list[str]:
    """Return the lines of a file of settings.

    Raises:
        ValueError: It is no text, or a line is not of the form KEY=VALUE.
    """
    try:
        text = Path(file).read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f'--folds {file} cannot be read as text: {error}.') from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        if not line.partition('=')[2]:
            raise ValueError(f'{file}: {line!r} is not of the form KEY=VALUE.')
    return lines
