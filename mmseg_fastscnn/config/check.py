"""Refuse a config with an unknown key, or with a value that cannot be meant.

A config is a tree of dicts. A dict with a `type` holds the arguments of a class, whose
signature says which keys there are and which kinds of values they take (`dicts.py`). At
the top level are the keys that the runner reads and, in Python files, helper variables,
which only their own file and the files based on it can read.
"""

import typing
from collections.abc import Iterable
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from mmseg_fastscnn.config.dicts import Problem, nearest, problems_in
from mmseg_fastscnn.config.signatures import fits, own_keys, shown
from mmseg_fastscnn.config.source import base_files, dotted, names_in, origin, resolved

# Beyond mmengine's annotations, the work dir may be None (the command line sets it) and
# the log level may be a number.
RUNNER = {
    **own_keys(Runner.__init__),
    **dict(work_dir=str | None, log_level=str | int),
}
TOP_LEVEL = {
    *RUNNER,
    *('tta_model', 'tta_pipeline', 'test_pipeline'),
    *('class_aliases', 'checkpoint_classes', 'custom_imports', 'max_bad_steps'),
    *('find_unused_parameters', 'sync_bn', 'model_wrapper_cfg', 'compile'),
    *('activation_checkpointing', 'efficient_conv_bn_eval'),
} - {'cfg'}
OF_0X = dict(
    data='train_dataloader, val_dataloader and test_dataloader',
    optimizer='optim_wrapper.optimizer',
    optimizer_config='optim_wrapper.clip_grad',
    lr_config='param_scheduler',
    runner='train_cfg',
    total_iters='train_cfg.max_iters',
    checkpoint_config='default_hooks.checkpoint',
    evaluation='train_cfg.val_interval and val_evaluator',
    log_config='default_hooks.logger',
    fp16='--amp',
)


def check_config(
    config: Config, options: Iterable[str] = (), from_file: bool = True
) -> None:
    """Check the keys of a config and the kinds of their values.

    Args:
        config: The whole config.
        options: Dotted keys that `--cfg-options` set.
        from_file: Whether the config has what the file `config.filename` says, so that
            variables of the file can be checked, and the file be named as the origin of
            a value. This is not so if it was translated, or made or changed in Python.

    Raises:
        ValueError: There are unknown keys or values that do not fit; all are named.
    """
    problems, variables = top_level_problems(config) if from_file else ([], set())
    problems += option_problems(options, variables)
    for key in config:
        if key in TOP_LEVEL:
            wanted = RUNNER.get(key, typing.Any)
            if fits(config[key], wanted):
                problems += problems_in(config[key], (key,))
            else:
                text = f'must be {shown(wanted)}, not {config[key]!r}'
                problems.append(((key,), text))
    problems += incomplete_splits(config)

    def place_of(path: tuple) -> str:
        if dotted(path) in options:
            return '--cfg-options'
        return origin(config, path) if from_file else config.filename or 'Python'

    if problems:
        lines = [
            f'{dotted(path)}: {text} (set in {place_of(path)})'
            for path, text in problems
        ]
        raise ValueError('The config is not understood.\n  ' + '\n  '.join(lines))


# --- the top level -------------------------------------------------------------------


def top_level_problems(config: Config) -> tuple[list[Problem], set[str]]:
    """Find keys at the top level that neither the runner nor a config file reads.

    Returns:
        The problems, and the names that the file assigns.
    """
    problems: list[Problem] = []
    keys, file = set(config.keys()), Path(config.filename)
    variables = set(resolved(file).keys()) if file.suffix == '.py' else set()
    if file.suffix == '.py' and base_files(file):
        problems += unread_variables(file, set())
    else:  # joined with its bases: what was a variable may be left over, and is allowed
        for key in sorted(keys - TOP_LEVEL):
            hint = nearest(key, TOP_LEVEL - keys)
            problems += [((key,), f'unknown key{hint}')] if hint else []
    return problems, variables


def option_problems(options: Iterable[str], variables: set[str]) -> list[Problem]:
    """Find dotted keys of `--cfg-options` that begin with a name that nobody reads."""
    problems: list[Problem] = []
    for option in options:
        key = option.split('.')[0]
        if key in TOP_LEVEL:
            continue
        text = f'unknown key{nearest(key, TOP_LEVEL)}'
        if key in OF_0X:
            text = f'a key of mmsegmentation 0.x; here it is {OF_0X[key]}'
        elif key in variables:
            text = (
                'is a variable, and the config file has used it already; set the keys '
                'that it went into instead'
            )
        problems.append(((key,), text))
    return problems


def unread_variables(file: Path, read_by_heirs: set[str]) -> list[Problem]:
    """Find what a Python config file or one of its bases assigns and nobody reads.

    Args:
        file: The config file.
        read_by_heirs: Names that the files based on it read of it.
    """
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
    """Find splits with one or two of the three parts that mmengine needs."""
    problems = []
    for split in ('val', 'test'):
        names = [f'{split}_dataloader', f'{split}_cfg', f'{split}_evaluator']
        given = [name for name in names if config.get(name) is not None]
        only_data = given == names[:1] and not any(n in config for n in names[1:])
        # allowed, for use from Python: a data set alone gives a model its classes
        if 0 < len(given) < 3 and not only_data:
            missing = [name for name in names if name not in given]
            text = (
                f'is set and {" and ".join(missing)} '
                f'{"is" if len(missing) == 1 else "are"} not: set all of '
                f'{", ".join(names)}, or set all three to None'
            )
            problems.append(((given[0],), text))
    return problems
