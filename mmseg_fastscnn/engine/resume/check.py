"""Check the state of a run in a checkpoint against the run that goes on from it.

The state that a part of this run has, freshly built, is the pattern: what the file says
must have its keys, kinds and shapes. So nothing that fits no part reaches mmengine or
torch, whose errors would name no file.
"""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmseg_fastscnn.checkpoint.structure import describe

LAST_ITERATION = 10**9
# Settings of a group without which optimizers fail; of others they have defaults.
NEEDED = (
    *('params', 'lr', 'betas', 'eps', 'momentum', 'dampening', 'weight_decay'),
    'muon',
)
# What torch's optimizers keep in the shape of the parameter.
LIKE_PARAMETERS = (
    *('momentum_buffer', 'exp_avg', 'exp_avg_sq', 'max_exp_avg_sq'),
    *('square_avg', 'grad_avg', 'acc_delta', 'sum'),
)


class Misfit(ValueError):
    """A part of the state does not fit; the message says which, without the file."""


def check_state(
    checkpoint: Mapping,
    path: str | Path,
    model: nn.Module,
    optimizer: OptimWrapper,
    schedulers: Sequence,
) -> None:
    """Check what a resumed run takes from a checkpoint.

    Args:
        checkpoint: What `resumable` returned.
        path: File of the checkpoint.
        model: This run's model.
        optimizer: This run's optimizer, or several by name.
        schedulers: This run's parameter schedulers.

    Raises:
        ValueError: A part does not fit this run.
    """
    try:
        check_average(checkpoint, model)
        check_optimizer(checkpoint['optimizer'], optimizer)
        states = checkpoint['param_schedulers']
        for k, (state, own) in enumerate(zip(states, schedulers, strict=True)):
            check_like(state, own.state_dict(), f'param_schedulers.{k}')
        if checkpoint['meta']['iter'] > LAST_ITERATION:
            raise Misfit(f'meta.iter is {checkpoint["meta"]["iter"]}')
    except Misfit as error:
        raise ValueError(
            f'{path} does not fit this run: {error}. Resume with the config that '
            f'trained it, or from an earlier checkpoint; or start from its weights '
            f'with --load-from.'
        ) from error


def check_average(checkpoint: Mapping, model: nn.Module) -> None:
    """Check the second kind of weights, where `EMAHook` has written both."""
    wanted = {f'module.{name}': v for name, v in model.state_dict().items()}
    for name, value in (checkpoint.get('ema_state_dict') or {}).items():
        if name == 'steps':
            if value.numel() != 1:
                raise Misfit(f'ema_state_dict.steps is {describe(value)}')
        elif name.startswith('module.'):
            own = wanted.get(name)
            if (
                own is None
                or name.removeprefix('module.') not in checkpoint['state_dict']
            ):
                raise Misfit(f'ema_state_dict has {name[:99]!r}, the model has not')
            check_tensor(value, own, f'ema_state_dict.{name}')
    missing = wanted.keys() - (checkpoint.get('ema_state_dict') or wanted).keys()
    if missing:
        raise Misfit(f'ema_state_dict has no {min(missing)!r}')


def check_optimizer(state: Mapping, optimizer: OptimWrapper) -> None:
    """Check the state of the optimizer, or of several by name."""
    if not isinstance(state, Mapping):
        raise Misfit(f'optimizer is {describe(state)}, not a dict')
    own = optimizer.state_dict()
    if 'param_groups' not in own:  # several
        for name in own:
            if not isinstance(state.get(name), Mapping):
                raise Misfit(f'optimizer has no {name!r}')
            check_optimizer(state[name], optimizer[name])
        return
    groups, values = state.get('param_groups'), state.get('state')
    if not isinstance(groups, list | tuple) or not isinstance(values, Mapping):
        raise Misfit('optimizer has no state and param_groups')
    if len(groups) != len(own['param_groups']):
        raise Misfit(
            f'optimizer has {len(groups)} groups of parameters, this run has '
            f'{len(own["param_groups"])}'
        )
    for k, (group, mine) in enumerate(zip(groups, own['param_groups'], strict=True)):
        check_like(group, mine, f'optimizer.param_groups.{k}')
        for key in NEEDED:
            if key in mine and key not in group:
                raise Misfit(f'optimizer.param_groups.{k} has no {key!r}')
            if key in group and key not in mine:
                raise Misfit(
                    f'optimizer.param_groups.{k} has {key!r}, this run has not'
                )
    numbers = [k for group in own['param_groups'] for k in group['params']]
    # the wrapper's own `param_groups` may have one more, for the log
    groups = optimizer.optimizer.param_groups
    parameters = [p for group in groups for p in group['params']]
    check_slots(values, dict(zip(numbers, parameters, strict=True)))
    for key in ('loss_scaler', 'base_param_settings'):
        if key in state:
            check_like(state[key], own.get(key) or {}, f'optimizer.{key}')


def check_slots(values: Mapping, parameters: Mapping[int, Tensor]) -> None:
    """Check what an optimizer keeps of each parameter: momentum and the like.

    Parameters may have different sets of slots, but no set may be a proper subset of
    another.
    """
    kinds = {frozenset(v) for v in values.values() if isinstance(v, Mapping)}
    for number, slots in values.items():
        name = f'optimizer.state.{str(number)[:20]}'
        if number not in parameters or not isinstance(slots, Mapping):
            raise Misfit(f'{name} is {describe(slots)}, of no parameter of this run')
        if any(slots.keys() < kind for kind in kinds):
            raise Misfit(f'{name} has less than that of other parameters')
        shape = parameters[number].shape
        for key, value in slots.items():
            is_alike = isinstance(value, Tensor) and value.shape == shape
            if key in LIKE_PARAMETERS and not is_alike and value is not None:
                raise Misfit(
                    f'{name}.{key} is {describe(value)}, for a parameter of shape '
                    f'{list(shape)}'
                )
            if not isinstance(value, (Tensor, type(None))) and not is_finite(value):
                raise Misfit(f'{name}.{str(key)[:40]} is {describe(value)}')
            if key == 'step' and not (is_finite(value) and value >= 0):
                raise Misfit(f'{name}.step is {describe(value)}, not a number of steps')


def check_like(found: object, own: object, name: str) -> None:
    """Check that a value, and all that is in it, is of the kind that this run has.

    None and a number may stand for each other.
    """
    if isinstance(own, Mapping):
        if not isinstance(found, Mapping):
            raise Misfit(f'{name} is {describe(found)}, not a dict')
        for key in own.keys() & found.keys():
            check_like(found[key], own[key], f'{name}.{key}')
    elif isinstance(own, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(own):
            raise Misfit(f'{name} is {describe(found)}, not a list of {len(own)}')
        for k, (one, mine) in enumerate(zip(found, own, strict=True)):
            check_like(one, mine, f'{name}.{k}')
    elif isinstance(own, Tensor) and isinstance(found, Tensor):
        check_tensor(found, own, name)
    elif isinstance(own, str):
        if not isinstance(found, str):
            raise Misfit(f'{name} is {describe(found)}, not a text')
    elif found is not None and not isinstance(found, bool) and not is_finite(found):
        raise Misfit(f'{name} is {describe(found)}, not a finite number')


def check_tensor(found: object, own: Tensor, name: str) -> None:
    """Check shape and kind of numbers of a tensor."""
    is_alike = (
        isinstance(found, Tensor)
        and found.shape == own.shape
        and found.is_floating_point() == own.is_floating_point()
    )
    if not is_alike:
        raise Misfit(f'{name} is {describe(found)}, not {describe(own)}')


def is_finite(value: object) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and bool(torch.isfinite(value).all())
    return isinstance(value, Real) and math.isfinite(value)
