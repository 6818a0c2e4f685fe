"""Refuse a config that says something nobody reads.

A config is a tree of dicts. One with a `type` holds the arguments of a class, whose
signature says which keys and which kinds of values there are; the few without one are
listed here. At the top level stand what the runner reads and, in Python files, helper
variables, which only their own file and its heirs can read.
"""

import ast
import difflib
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import (
    EpochBasedTrainLoop,
    IterBasedTrainLoop,
    LogProcessor,
    Runner,
)
from mmengine.runner.loops import TestLoop, ValLoop
from torch.utils.data import DataLoader

from mmseg_fastscnn.registry import REGISTRIES

TOP_LEVEL = {
    *inspect.signature(Runner.__init__).parameters,
    *('tta_model', 'tta_pipeline', 'test_pipeline'),
    *('class_aliases', 'checkpoint_classes', 'custom_imports'),
    *('find_unused_parameters', 'sync_bn', 'model_wrapper_cfg', 'compile'),
    *('activation_checkpointing', 'efficient_conv_bn_eval'),
} - {'self', 'cfg'}
ANYTHING = None  # in place of a set of keys: whatever there is


def arguments(function: Callable) -> set[str]:
    return set(inspect.signature(function).parameters) - {'self', 'args', 'kwargs'}


LOADER = arguments(DataLoader.__init__) | {'num_batch_per_epoch'}
LOOPS = arguments(IterBasedTrainLoop) | arguments(EpochBasedTrainLoop)
WITHOUT_TYPE = {  # keys of the dicts that have no `type`, by the end of their path
    'train_dataloader': LOADER,
    'val_dataloader': LOADER,
    'test_dataloader': LOADER,
    'train_cfg': LOOPS | {'by_epoch'},
    'val_cfg': arguments(ValLoop),
    'test_cfg': arguments(TestLoop),
    'model.train_cfg': ANYTHING,
    'model.test_cfg': {'mode', 'crop_size', 'stride'},
    'data_preprocessor.test_cfg': {'size', 'size_divisor'},
    'auto_scale_lr': {'enable', 'base_batch_size'},
    'randomness': arguments(Runner.set_randomness),
    'env_cfg': {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},
    'mp_cfg': {'mp_start_method', 'opencv_num_threads'},
    'log_processor': arguments(LogProcessor),
    'data_prefix': {'img_path', 'seg_map_path'},
}
DEFAULT_TYPE = {'optim_wrapper': 'OptimWrapper'}
# Keys that a builder takes out before the class sees them.
BUILDER_KEYS = {
    *('type', '_scope_', 'priority', 'requires_grad', 'override', 'layer'),
    *('constructor', 'paramwise_cfg'),
}

Problem = tuple[tuple, str]  # path of keys and indices, and what is wrong there


def check_config(
    config: Config, options: Iterable[str] = (), translated: bool = False
) -> None:
    """Raise ValueError, naming every key that nobody reads and every misfit value.

    Args:
        config: A resolved config, read from a file.
        options: Dotted keys that `--cfg-options` set.
        translated: The config says the same as its file, in other words.
    """
    problems = [] if translated else top_level_problems(config, options)
    for key in TOP_LEVEL & set(config.keys()):
        problems += problems_in(config[key], (key,))
    if problems:
        lines = [
            f'{dotted(path)}: {problem} (set in '
            f'{config.filename if translated else origin(config, path)})'
            for path, problem in problems
        ]
        raise ValueError('The config is not understood.\n  ' + '\n  '.join(lines))


def dotted(path: Sequence) -> str:
    return '.'.join(map(str, path))


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the known name that is most like `name`, if one is."""
    found = difflib.get_close_matches(str(name), sorted(known), n=1, cutoff=0.7)
    return f'; did you mean {found[0]!r}?' if found else ''


# --- the top level -------------------------------------------------------------------


def resolved(file: Path) -> Config:
    """The config of a file; read again only when the file has changed."""
    return _resolved(file, file.stat().st_mtime_ns)


@functools.lru_cache
def _resolved(file: Path, changed: int) -> Config:
    return Config.fromfile(file)


def base_files(file: Path) -> list[Path]:
    """The files that a Python config names in `_base_`, as it names them."""
    if file.suffix != '.py':
        return []
    for node in ast.parse(file.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and '_base_' in assigned_names(node):
            names = ast.literal_eval(node.value)
            names = [names] if isinstance(names, str) else names
            return [(file.parent / n).resolve() for n in names if '{{' not in n]
    return []


def assigned_names(node: ast.Assign) -> set[str]:
    """Names on the left of `a = ...` or `a, b = ...`."""
    inside = [part for target in node.targets for part in ast.walk(target)]
    return {part.id for part in inside if isinstance(part, ast.Name)}


def names_in(file: Path) -> tuple[set[str], set[str], set[str]]:
    """Names a config file assigns at its top, reads, and reads of its bases."""
    tree = ast.parse(file.read_text(encoding='utf-8'))
    top = [node for node in tree.body if isinstance(node, ast.Assign)]
    assigned = set().union(*map(assigned_names, top)) - {'_base_'}
    read, of_base = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            read.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            of_base |= {node.attr} if node.value.id == '_base_' else set()
    return assigned, read, of_base


def top_level_problems(config: Config, options: Iterable[str]) -> list[Problem]:
    """Find keys at the top that neither the runner nor a config file reads."""
    keys, problems = set(config.keys()), []
    file = Path(config.filename)
    if file.suffix == '.py' and base_files(file):
        problems += unread_variables(file, set())
        variables = set(resolved(file).keys())
    else:  # a resolved config: its variables went into its values when it was written
        variables = keys
        for key in keys - TOP_LEVEL:
            hint = nearest(key, TOP_LEVEL - keys)
            problems += [((key,), f'nobody reads this key{hint}')] if hint else []
    for option in options:
        key = option.split('.')[0]
        if key in TOP_LEVEL:
            continue
        message = f'nobody reads this key{nearest(key, TOP_LEVEL)}'
        if key in variables:
            message = (
                'is a variable, and the config file has used it already; set the keys '
                'that it went into instead'
            )
        problems.append(((key,), message))
    return problems


def unread_variables(file: Path, read_by_heirs: set[str]) -> list[Problem]:
    """Find what a Python config file and its bases assign and nobody reads."""
    assigned, read, of_base = names_in(file)
    problems = []
    for name in sorted(assigned - read - read_by_heirs - TOP_LEVEL):
        hint = nearest(name, TOP_LEVEL)
        if any(name in resolved(base) for base in base_files(file)):
            hint = (
                '; its base file has used its own value of it already, so set the keys '
                'that it goes into as well'
            )
        problems.append(((name,), f'nobody reads this key{hint}'))
    for base in base_files(file):
        problems += unread_variables(base, read_by_heirs | of_base)
    return problems


# --- below it ------------------------------------------------------------------------


def problems_in(value: object, path: tuple) -> list[Problem]:
    """Check a dict's keys and values, and all that is inside of it."""
    problems = []
    if isinstance(value, Mapping):
        problems += problems_of_keys(value, path)
        children = value.items()
    elif isinstance(value, list | tuple):
        children = enumerate(value)
    else:
        return []
    for key, child in children:
        problems += problems_in(child, (*path, key))
    return problems


def problems_of_keys(value: Mapping, path: tuple) -> list[Problem]:
    kind = value.get('type', DEFAULT_TYPE.get(path[-1]))
    if kind is None:
        allowed = allowed_without_type(path)
        if allowed is ANYTHING:
            return []
        unknown = [key for key in value if key not in allowed]
        owner = path[-1]
    else:
        function = find_type(kind)
        if function is None:
            known = {name for registry in REGISTRIES for name in all_names(registry)}
            return [((*path, 'type'), f'{kind!r} is not known{nearest(kind, known)}')]
        allowed, owner = accepted_keys(function), function.__name__
        if allowed is ANYTHING:
            return []
        unknown = [key for key in value if key not in allowed | BUILDER_KEYS]
        misfits = misfit_values(value, function, path)
        if misfits:
            return misfits
    return [
        ((*path, key), f'{owner} has no such key{nearest(key, allowed)}')
        for key in unknown
    ]


def allowed_without_type(path: tuple) -> set[str] | None:
    """Look up a dict without `type` by its path, then by its last key."""
    for name in (dotted(path[-2:]), path[-1]):
        if name in WITHOUT_TYPE:
            return WITHOUT_TYPE[name]
    return ANYTHING


def all_names(registry: Registry) -> set[str]:
    return {*registry.module_dict, *registry.parent.module_dict}


def find_type(name: object) -> Callable | None:
    """The class or function that a config's `type` names, in whichever registry."""
    if not isinstance(name, str):
        return name
    found = (registry.get(name) for registry in REGISTRIES)
    return next((function for function in found if function is not None), None)


def accepted_keys(function: Callable) -> set[str] | None:
    """Keyword arguments of a function or class; ANYTHING if it takes any.

    `**kwargs` of a class go to the next class of its inheritance.
    """
    if not inspect.isclass(function):
        return keys_and_rest(function)[0]
    keys = set()
    for owner in function.__mro__:
        if '__init__' in vars(owner) and owner is not object:
            own, takes_rest = keys_and_rest(owner.__init__)
            keys |= own
            if not takes_rest:
                return keys
    # mmengine's CheckpointHook accepts any key, for the sake of old configs, and
    # ignores it; others pass it on
    return keys if function.__name__ == 'CheckpointHook' else ANYTHING


def keys_and_rest(function: Callable) -> tuple[set[str], bool]:
    parameters = inspect.signature(function).parameters.values()
    rest = any(p.kind is p.VAR_KEYWORD for p in parameters)
    named = {
        p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    }
    return named - {'self'}, rest


def misfit_values(value: Mapping, function: Callable, path: tuple) -> list[Problem]:
    """Compare values with the annotations of the parameters that they go to."""
    owners = function.__mro__ if inspect.isclass(function) else [function]
    hints: dict = {}
    for owner in reversed(owners):
        target = vars(owner).get('__init__') if inspect.isclass(owner) else owner
        if inspect.isfunction(target):
            hints |= inspect.get_annotations(target)
    problems = []
    for key, item in value.items():
        hint = hints.get(key, typing.Any)
        if not fits(item, hint):
            shown = hint.__name__ if isinstance(hint, type) else str(hint)
            problems.append(
                (
                    (*path, key),
                    f'{function.__name__} needs {shown.replace("typing.", "")} here, '
                    f'not {type(item).__name__} {item!r}',
                )
            )
    return problems


def fits(value: object, hint: object) -> bool:
    """Whether a config's value can be meant for a parameter of this annotation."""
    origin_, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin_ in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if hint is typing.Any:
        return True
    if hint in (None, type(None)):
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint in (int, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (hint is float or value == int(value))
    if origin_ in (list, tuple, Sequence) or hint in (list, tuple, Sequence):
        return isinstance(value, list | tuple)
    if origin_ in (dict, Mapping):
        return isinstance(value, Mapping)
    if isinstance(hint, type):
        return isinstance(value, hint | Mapping)
    return True


# --- where a key was set -------------------------------------------------------------


def origin(config: Config, path: tuple) -> str:
    """Return the file that gave the key at `path` its value, or `--cfg-options`."""
    file = Path(config.filename)
    if not same_there(resolved(file), config, path):
        return '--cfg-options'
    while True:
        inherited = [
            base
            for base in base_files(file)
            if same_there(resolved(base), config, path)
        ]
        if not inherited:
            return str(file)
        file = inherited[-1]


def leaves(value: object, path: tuple = ()) -> Iterator[tuple[tuple, object]]:
    """Every value of a config that is no dict, with its path."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from leaves(child, (*path, key))
    elif isinstance(value, list) and any(isinstance(v, Mapping | list) for v in value):
        for k, child in enumerate(value):
            yield from leaves(child, (*path, k))
    else:
        yield path, value


def same_there(one: Config, other: Config, path: tuple) -> bool:
    values = []
    for config in (one, other):
        value = config._cfg_dict
        for key in path:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return False
        values.append(value)
    return values[0] == values[1]
