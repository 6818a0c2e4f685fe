"""What a class or function accepts: its keys, and the kind of value of each."""

import inspect
import types
import typing
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from mmseg_fastscnn.registry import REGISTRIES


class Accepted(typing.NamedTuple):
    """Annotation of each key, and whether other keys are accepted as well."""

    keys: dict[str, object]
    others: bool = False


def find_type(name: object) -> Callable | None:
    """Return the class or function that a config's `type` names, in any registry."""
    if not isinstance(name, str):
        return name if callable(name) else None
    for registry in REGISTRIES:
        if '.' in name:  # with a scope or a module
            function = registry.get(name)
        else:  # `get` would look for a module of that name, which takes long
            registry.import_from_location()
            known = ChainMap(registry.module_dict, registry.parent.module_dict)
            function = known.get(name)
        if callable(function):
            return function
    return None


def torchvision_dataset(settings: Mapping) -> Callable | None:
    try:
        from torchvision import datasets  # only here: torchvision is optional
    except (ImportError, RuntimeError):
        return None
    return getattr(datasets, str(settings.get('name')), None)


# Classes whose `**kwargs` go elsewhere than to their own base class: from the settings,
# who gets them. (CheckpointHook accepts any key, for old configs, and ignores it.)
KWARGS_GO_TO: dict[str, Callable[[Mapping], Callable | None]] = {
    'mmengine.CheckpointHook': lambda settings: object,
    'mmengine.EMAHook': lambda settings: find_type(
        settings.get('ema_type', 'ExponentialMovingAverage')
    ),
    'mmcv.RandomResize': lambda settings: find_type(
        settings.get('resize_type', 'Resize')
    ),
    'mmcv.RandomChoiceResize': lambda settings: find_type(
        settings.get('resize_type', 'Resize')
    ),
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
    # the last one takes any key and uses it itself, or there is no constructor at all
    return Accepted(keys, others=bool(constructors(function)))


def constructors(function: Callable) -> list[tuple[Callable, Callable]]:
    """List the `__init__` methods of a class, its own first, and whose they are."""
    if not inspect.isclass(function):
        return [(function, function)]
    return [
        (owner, vars(owner)['__init__'])
        for owner in function.__mro__
        if '__init__' in vars(owner) and owner is not object
    ]


def own_keys(function: Callable) -> dict[str, object]:
    """Return the annotation of each named parameter, `typing.Any` where none is."""
    return {
        name: typing.Any if p.annotation is p.empty else p.annotation
        for name, p in inspect.signature(function).parameters.items()
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and name != 'self'
    }


def takes_kwargs(function: Callable) -> bool:
    if function is nn.Module.__init__:  # its **kwargs only make a better error message
        return False
    parameters = inspect.signature(function).parameters.values()
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def fits(value: object, hint: object) -> bool:
    """Whether a config's value can be meant for a parameter of this annotation.

    A dict can be meant for any class, since most are built from dicts. Of what it does
    not know, this says yes.
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
