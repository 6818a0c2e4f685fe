"""Check a dict of a config, and all that is inside it, against its reader.

The reader is a class or function, whose signature says which keys there are and which
kinds of values they take. `places.py` says what mmengine's builders do besides.
"""

import difflib
import typing
from collections.abc import Iterable, Mapping

from mmengine.optim import DefaultOptimWrapperConstructor

from mmseg_fastscnn.config.places import (
    DEFAULT_HOOKS,
    PARAMWISE_KEYS,
    Place,
    must_be_dict,
    place_of,
    reader_of,
)
from mmseg_fastscnn.config.signatures import (
    TYPE_ARGUMENTS,
    Accepted,
    accepted,
    find_type,
    fits,
    shown,
)
from mmseg_fastscnn.config.source import dotted
from mmseg_fastscnn.registry import COUNTERPARTS, REGISTRIES

OF_OTHERS = {('Albu', 'transforms')}  # (type, key) of what another library reads
Problem = tuple[tuple, str]  # path of keys and indices, and what is wrong there


def nearest(name: object, known: Iterable[str]) -> str:
    """Return a hint at the known name most like `name`; '' if none is like it."""
    found = difflib.get_close_matches(str(name), sorted(known), n=1, cutoff=0.7)
    return f'; did you mean {found[0]!r}?' if found else ''


def problems_in(value: object, path: tuple, hint: object = typing.Any) -> list[Problem]:
    """Check a value and all that is inside it.

    Args:
        value: Any value of the config.
        path: Its keys and list indices, from the top level.
        hint: Annotation of the parameter that gets it. A TypedDict says which keys a
            dict has.
    """
    if isinstance(value, list | tuple):
        items = [problems_in(item, (*path, k)) for k, item in enumerate(value)]
        return [problem for found in items for problem in found]
    if isinstance(value, str | int | float) and must_be_dict(path):
        return [(path, f'must be a dict, not {value!r}')]
    if not isinstance(value, Mapping):
        return []
    problems = special_problems(value, path)
    try:
        owner, known = find_reader(value, path, hint)
    except NoReader as error:
        return [*problems, error.args]  # nothing is known of what is inside, either
    problems += problems_of_keys(value, path, owner, known)
    for key, child in value.items():
        if (value.get('type'), key) in OF_OTHERS:
            continue
        wanted = known.keys.get(key, typing.Any)
        problems += problems_in(child, (*path, key), wanted)
    return problems


class NoReader(Exception):
    """Nobody can read a dict; the exception's arguments are a `Problem`."""


def find_reader(value: Mapping, path: tuple, hint: object) -> tuple[str, Accepted]:
    """Find who reads a dict; return the reader's name and what it accepts.

    Raises:
        NoReader: The dict has no `type` and needs one, or an unknown one.
    """
    place = place_of(path)
    name = str(path[-1])
    kind = value.get('type', reader_of(value, path))
    if kind is None:
        if place.needs_type and not holds_several(value, path):
            raise NoReader(path, missing_type(value, path))
        return name, keys_without_type(hint, place)
    if str(kind) in place.types:
        function = place.types[str(kind)]
        if function is None:
            return name, Accepted({}, others=True)  # mmengine reads it by hand
    else:
        function = find_type(kind)
        # mmcv has classes of some of these names, but they do not work here
        if function is None or str(kind) in COUNTERPARTS:
            raise NoReader((*path, 'type'), unknown_type(kind, place.types))
        name = function.__name__ if 'type' in value else name
    known = accepted(function, value)
    choosing = {'type'} if 'type' in value else place.instead_of_type
    keys = dict.fromkeys(('_scope_', *choosing, *place.taken_out), typing.Any)
    keys |= {key: known.keys[key] for key in known.keys if key not in place.passed}
    return name, Accepted(keys, known.others)


def keys_without_type(hint: object, place: Place) -> Accepted:
    """Return what a dict without `type` may hold, by its annotation or its place."""
    for part in (hint, *typing.get_args(hint)):
        if typing.is_typeddict(part):
            return Accepted(typing.get_type_hints(part))
    keys = dict.fromkeys((*(place.keys or ()), *place.taken_out), typing.Any)
    return Accepted(keys, others=place.keys is None)


def problems_of_keys(
    value: Mapping, path: tuple, owner: str, known: Accepted
) -> list[Problem]:
    """Find unknown keys, and values of another kind than annotated."""
    problems = []
    for key, item in value.items():
        text = None
        wanted = known.keys.get(key, typing.Any)
        if key not in known.keys and not known.others:
            text = f'unknown key for {owner}{nearest(key, known.keys)}'
        elif not fits(item, wanted):
            text = f'must be {shown(wanted)} for {owner}, not {item!r}'
        elif key in TYPE_ARGUMENTS and find_type(item) is None:
            text = unknown_type(item)
        if text is not None:
            problems.append(((*path, key), text))
    return problems


def holds_several(value: Mapping, path: tuple) -> bool:
    """Return whether a dict holds schedulers of several optimizers, by their names."""
    return path == ('param_scheduler',) and all(
        isinstance(item, Mapping | list | tuple) for item in value.values()
    )


def missing_type(value: Mapping, path: tuple) -> str:
    """Say that a dict needs a `type`, and what to do if it is an item of a list."""
    if not isinstance(path[-1], int):
        return "has no type; say which class it sets up, as in type='NAME'"
    heads = '; model=dict(num_classes=N) reaches every head'
    return (
        "has no type. A list replaces the base file's whole list, so write all of its "
        f'items in full{heads if "num_classes" in value else ""}. One item of it is '
        f'changed with --cfg-options {dotted(path)}.KEY=VALUE'
    )


def unknown_type(kind: object, choices: Iterable[str] = ()) -> str:
    """Say that a type is not known and, as far as possible, what to use instead."""
    if str(kind) in COUNTERPARTS:
        return f'{kind!r} is not known here; {COUNTERPARTS[str(kind)]}'
    known = set(choices) or {
        name
        for registry in REGISTRIES
        for name in (*registry.module_dict, *registry.parent.module_dict)
    }
    return f'{kind!r} is not known{nearest(kind, known)}'


# --- dicts whose keys depend on others -----------------------------------------------


def special_problems(value: Mapping, path: tuple) -> list[Problem]:
    """Find problems of dicts at the few places that have rules of their own."""
    if path == ('default_hooks',):
        return problems_of_default_hooks(value, path)
    if path == ('optim_wrapper',):
        return problems_of_paramwise(value, path)
    if path == ('train_cfg',) and 'type' not in value and 'by_epoch' not in value:
        return [(path, "has no type; say type='IterBasedTrainLoop'")]
    return []


def problems_of_default_hooks(hooks: Mapping, path: tuple) -> list[Problem]:
    """Find misspelt names of mmengine's hooks, and None for hooks it does not have."""
    problems = []
    for name in sorted(hooks.keys() - DEFAULT_HOOKS):
        hint = nearest(name, DEFAULT_HOOKS)
        if hint:
            problems.append(((*path, name), f'unknown key for default_hooks{hint}'))
        elif hooks[name] is None:
            known = ', '.join(sorted(DEFAULT_HOOKS))
            text = f'None removes a default hook; these are {known}'
            problems.append(((*path, name), text))
    return problems


def problems_of_paramwise(wrapper: Mapping, path: tuple) -> list[Problem]:
    """Check the options of mmengine's constructor of parameter groups, and of ours."""
    options = wrapper.get('paramwise_cfg') or {}
    constructor = find_type(wrapper.get('constructor', DefaultOptimWrapperConstructor))
    name = getattr(constructor, '__name__', None)
    if name != DefaultOptimWrapperConstructor.__name__:
        return []
    path = (*path, 'paramwise_cfg')
    problems = unknown_keys(options, PARAMWISE_KEYS, path)
    if problems:
        return problems
    path = (*path, 'custom_keys')
    patterns = options.get('custom_keys', {})
    if not isinstance(patterns, Mapping):
        return unknown_keys(patterns, (), path)
    # besides the two factors, a group may set any argument of the optimizer
    allowed = {'lr_mult', 'decay_mult', *optimizer_arguments(wrapper.get('optimizer'))}
    for pattern, settings in patterns.items():
        problems += unknown_keys(settings, allowed, (*path, pattern))
    return problems


def optimizer_arguments(optimizer: object) -> set[str]:
    """Return which arguments an optimizer accepts, the parameters excepted."""
    kind = find_type(optimizer.get('type')) if isinstance(optimizer, Mapping) else None
    return set(accepted(kind, optimizer).keys) - {'params'} if kind else set()


def unknown_keys(value: object, known: Iterable[str], path: tuple) -> list[Problem]:
    if not isinstance(value, Mapping):
        return [(path, f'must be a dict, not {value!r}')]
    return [
        ((*path, key), f'unknown key for {path[-1]}{nearest(key, known)}')
        for key in value
        if key not in known
    ]
