"""What a class or function accepts: keyword arguments, and the kinds of values."""

import inspect
import types
import typing
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from mmseg_fastscnn.registry import REGISTRIES


class Accepted(typing.NamedTuple):
    """What a class or function accepts.

    Attributes:
        keys: Annotation of each key.
        others: Whether any other key is accepted as well.
    """

    keys: dict[str, object]
    others: bool = False


def find_type(name: object) -> Callable | None:
    """Return the class or function that a config's `type` names, in any registry."""
    if not isinstance(name, str):
        return name if callable(name) else None
    for registry in REGISTRIES:
        if '.' in name:  # with a scope or a module
            function = registry.get(name)
        else:  # `get` would also look for a module of that name, which takes long
            registry.import_from_location()
            known = ChainMap(registry.module_dict, registry.parent.module_dict)
            function = known.get(name)
        if callable(function):
            return function
    return None


def torchvision_dataset(settings: Mapping) -> Callable | None:
    """Return torchvision's class that `TorchvisionDataset` builds."""
    try:
        from torchvision import datasets  # only here: torchvision is optional
    except (ImportError, RuntimeError):
        return None
    return getattr(datasets, str(settings.get('name')), None)


def named_by(key: str, default: str) -> Callable[[Mapping], Callable | None]:
    """Return what finds the type that settings name under a key."""
    return lambda settings: find_type(settings.get(key, default))


# Classes whose `**kwargs` do not go to their base class, and who gets these, by the
# settings.
KWARGS_GO_TO: dict[str, Callable[[Mapping], Callable | None]] = {
    'mmengine.EMAHook': named_by('ema_type', 'ExponentialMovingAverage'),
    'mmcv.RandomResize': named_by('resize_type', 'Resize'),
    'mmcv.RandomChoiceResize': named_by('resize_type', 'Resize'),
    'mmseg_fastscnn.TorchvisionDataset': torchvision_dataset,
    'mmengine.ZeroRedundancyOptimizer': lambda settings: getattr(
        torch.optim, str(settings.get('optimizer_type')), None
    ),
}
TYPE_ARGUMENTS = ('ema_type', 'resize_type')  # arguments that name a type


def accepted(function: Callable, settings: Mapping) -> Accepted:
    """Return what a class or function accepts as keyword arguments.

    `**kwargs` of a class go to the next class of its inheritance, or to where
    `KWARGS_GO_TO` says.

    Args:
        function: A class, whose `__init__` counts, or a function.
        settings: The dict of the config; some `**kwargs` depend on it.
    """
    keys: dict[str, object] = {}
    for owner, constructor in constructors(function):
        keys = {**own_keys(constructor), **keys}
        if not takes_kwargs(constructor):
            return Accepted(keys)
        name = f'{owner.__module__.partition(".")[0]}.{owner.__name__}'
        if name in KWARGS_GO_TO:
            target = KWARGS_GO_TO[name](settings)
            if target is None:
                return Accepted(keys, others=True)
            further = accepted(target, settings)
            return Accepted({**further.keys, **keys}, further.others)
    # the last one uses any key itself; without a constructor there are no keys at all
    return Accepted(keys, others=bool(constructors(function)))


def constructors(function: Callable) -> list[tuple[Callable, Callable]]:
    """List (owner, `__init__`) of a class and its bases, in the order of inheritance.

    A function is its own owner and constructor.
    """
    if not inspect.isclass(function):
        return [(function, function)]
    return [
        (owner, vars(owner)['__init__'])
        for owner in function.__mro__
        if '__init__' in vars(owner) and owner is not object
    ]


def own_keys(function: Callable) -> dict[str, object]:
    """Return the annotation of each named parameter, `typing.Any` without one."""
    return {
        name: typing.Any if p.annotation is p.empty else p.annotation
        for name, p in inspect.signature(function).parameters.items()
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and name != 'self'
    }


def takes_kwargs(function: Callable) -> bool:
    if function is nn.Module.__init__:  # it takes **kwargs only to refuse them
        return False
    parameters = inspect.signature(function).parameters.values()
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def fits(value: object, hint: object) -> bool:
    """Return whether a config's value fits a parameter with this annotation.

    A dict fits any class, since most are built from dicts. Any value fits an annotation
    that is not known here.
    """
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if hint is typing.Any:
        return True
    if hint in (None, type(None)):
        return value is None
    if hint in (bool, str):
        return isinstance(value, hint)
    if hint in (int, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (hint is float or float(value).is_integer())
    if origin in (list, tuple, Sequence) or hint in (list, tuple, Sequence):
        return isinstance(value, list | tuple)
    if origin in (dict, Mapping) or typing.is_typeddict(hint):
        return isinstance(value, Mapping)
    if origin is Callable:
        return callable(value) or isinstance(value, Mapping)
    if isinstance(hint, type):
        return isinstance(value, hint | Mapping)
    return True


def shown(hint: object) -> str:
    """Write an annotation as a person would read it."""
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    return str(hint).replace('typing.', '').replace('collections.abc.', '')
