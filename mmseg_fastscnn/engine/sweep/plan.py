"""The runs of a sweep: which recipe with which seed on which fold of the data."""

import itertools
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from mmseg_fastscnn.config.source import leaves
from mmseg_fastscnn.datasets.soft_layout import INDEX, file_hash
from mmseg_fastscnn.engine.record.facts import hash_of
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
        config_sha256: Hash of the config as it is read now.
        files: Hashes of the files that config and arguments name now, by path.
    """

    recipe: str
    fold: str
    seed: int
    folder: Path
    words: tuple[str, ...]
    config_sha256: str
    files: Mapping[str, str] = field(hash=False)

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
        now = {self.words[0]: self.config_sha256, **self.files}
        before = {self.words[0]: state['config_sha256'], **state.get('files', {})}
        for file, digest in before.items():
            if now.get(file) != digest:
                raise ValueError(
                    f'{file} has changed since {self.folder} was trained with it. '
                    f'Give another --out, or remove that folder.'
                )
        return state

    def is_done(self) -> bool:
        state = self.state()
        return state is not None and state['status'] == 0

    def write_state(self, seconds: float, status: int | None) -> None:
        content = dict(words=self.words, seconds=seconds, status=status)
        content |= dict(config_sha256=self.config_sha256, files=self.files)
        write_file(self.folder / STATE, json.dumps(content).encode())


def recipes_of(configs: Sequence[str], grid: Sequence[str]) -> list[Recipe]:
    """Return each config with each combination of the settings' values.

    Args:
        configs: Config files.
        grid: `KEY=A,B`; commas in brackets do not separate values.

    Raises:
        ValueError: An entry of the grid has no value, or two recipes have one name.
    """
    axes = []
    for entry in grid:
        key, _, values = entry.partition('=')
        if not (key and values):
            raise ValueError(f'--grid {entry} is not of the form KEY=A,B.')
        axes.append([(key, value) for value in split_values(values)])
    recipes: dict[str, Recipe] = {}
    for config, settings in itertools.product(configs, itertools.product(*axes)):
        changed = [f'{key.split(".")[-1]}={value}' for key, value in settings]
        name = re.sub(r'[^\w.=+-]+', '_', ' '.join([Path(config).stem, *changed]))
        if name in recipes:
            raise ValueError(f'Two recipes would be called {name}: rename a config.')
        words = tuple(f'{key}={value}' for key, value in settings)
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
    cfgs: Mapping[str, Config | None],
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
        cfgs: What each config holds now; None for a folder of images.

    Raises:
        ValueError: Two folds have one name, or see `read_settings`.
    """
    runs = []
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
        cfg = cfgs[recipe.config]
        facts = ('' if cfg is None else hash_of(cfg), named_files(words[1:], cfg))
        runs.append(PlannedRun(recipe.name, fold, seed, folder, tuple(words), *facts))
    return runs


def named_files(words: Sequence[str], cfg: Config | None) -> dict[str, str]:
    """Return the files that a run names: lists of images, weights, soft labels.

    A name is looked for in the folders that are named as well, such as `data_root`.

    Args:
        words: The arguments of the run.
        cfg: Its config.

    Returns:
        The hash of each, by its path; that of its index for a folder of soft labels.
    """
    values = {word.rpartition('=')[2] for word in words}
    if cfg is not None:
        for _, value in leaves(cfg.to_dict()):
            parts = value if isinstance(value, list | tuple) else [value]
            values.update(part for part in parts if isinstance(part, str))
    folders = list(filter(os.path.isdir, values))
    paths = {os.path.join(folder, v) for folder in folders for v in {INDEX, *values}}
    paths |= values
    return {path: file_hash(path) for path in sorted(filter(os.path.isfile, paths))}


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
