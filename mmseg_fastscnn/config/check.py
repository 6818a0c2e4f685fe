"""Refuse a config with an unknown key, or with a value that cannot be meant.

A config is a tree of dicts. One with a `type` holds the arguments of a class, whose
signature says which keys and which kinds of values there are (`dicts.py`). At the top
level stand what the runner reads and, in Python files, helper variables, which only
their own file and its heirs can read.
"""

import typing
from collections.abc import Iterable
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from mmseg_fastscnn.config.dicts import Problem, nearest, problems_in
from mmseg_fastscnn.config.signatures import fits, own_keys, shown
from mmseg_fastscnn.config.source import base_files, dotted, names_in, origin, resolved

# Two values may be of other kinds than mmengine's annotations say.
RUNNER = {
    **own_keys(Runner.__init__),
    **dict(work_dir=str | None, log_level=str | int),
}
TOP_LEVEL = {
    *RUNNER,
    *('tta_model', 'tta_pipeline', 'test_pipeline'),
    *('class_aliases', 'checkpoint_classes', 'custom_imports'),
    *('find_unused_parameters', 'sync_bn', 'model_wrapper_cfg', 'compile'),
    *('activation_checkpointing', 'efficient_conv_bn_eval'),
} - {'cfg'}


def check_config(
    config: Config, options: Iterable[str] = (), from_file: bool = True
) -> None:
    """Raise ValueError, naming every unknown key and every misfit value.

    Args:
        config: The whole config.
        options: Dotted keys that `--cfg-options` set.
        from_file: The config says what the file `config.filename` says, so that this
            file's variables can be checked and named as the origin of a value. Not so
            where it was translated, or made or changed in Python.
    """
    problems = top_level_problems(config, options) if from_file else []
    for key in config:
        if key in TOP_LEVEL:
            wanted = RUNNER.get(key, typing.Any)
            if fits(config[key], wanted):
                problems += problems_in(config[key], (key,))
            else:
                text = f'must be {shown(wanted)}, not {config[key]!r}'
                problems.append(((key,), text))
    problems += incomplete_splits(config)
    if problems:
        lines = [
            f'{dotted(path)}: {text} (set in '
            f'{origin(config, path) if from_file else config.filename or "Python"})'
            for path, text in problems
        ]
        raise ValueError('The config is not understood.\n  ' + '\n  '.join(lines))


# --- the top level -------------------------------------------------------------------


def top_level_problems(config: Config, options: Iterable[str]) -> list[Problem]:
    """Find keys at the top that neither the runner nor a config file reads."""
    problems: list[Problem] = []
    keys, variables = set(config.keys()), set(config.keys())
    file = Path(config.filename)
    if file.suffix == '.py' and base_files(file):
        problems += unread_variables(file, set())
        variables = set(resolved(file).keys())
    else:  # a resolved config: its variables went into its values when it was written
        for key in sorted(keys - TOP_LEVEL):
            hint = nearest(key, TOP_LEVEL - keys)
            problems += [((key,), f'unknown key{hint}')] if hint else []
    for option in options:
        key = option.split('.')[0]
        if key in TOP_LEVEL:
            continue
        text = f'unknown key{nearest(key, TOP_LEVEL)}'
        if key in variables:
            text = (
                'is a variable, and the config file has used it already; set the keys '
                'that it went into instead'
            )
        problems.append(((key,), text))
    return problems


def unread_variables(file: Path, read_by_heirs: set[str]) -> list[Problem]:
    """Find what a Python config file and its bases assign and nobody reads."""
    if file.suffix != '.py':
        return []
    assigned, read, of_base = names_in(file)
    problems = []
    for name in sorted(assigned - read - read_by_heirs - TOP_LEVEL):
        hint = nearest(name, TOP_LEVEL)
        text = f'unknown key, and a variable that no file uses{hint}'
        if any(name in resolved(base) for base in base_files(file)):
            text = (
                'is a variable of the base file, which has used its own value of it '
                'already; set the keys that it goes into as well'
            )
        problems.append(((name,), text))
    for base in base_files(file):
        problems += unread_variables(base, read_by_heirs | of_base)
    return problems


def incomplete_splits(config: Config) -> list[Problem]:
    """Find a split of which mmengine would miss a part; it needs all three or none."""
    problems = []
    for split in ('val', 'test'):
        names = [f'{split}_dataloader', f'{split}_cfg', f'{split}_evaluator']
        given = [name for name in names if config.get(name) is not None]
        only_data = given == names[:1] and not any(n in config for n in names[1:])
        # a model can be used from Python with a data set, for its classes, alone
        if 0 < len(given) < 3 and not only_data:
            missing = [name for name in names if name not in given]
            problems.append(
                (
                    (given[0],),
                    f'is set and {" and ".join(missing)} '
                    f'{"is" if len(missing) == 1 else "are"} not: set all of '
                    f'{", ".join(names)}, or set all three to None',
                )
            )
    return problems
