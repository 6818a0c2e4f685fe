"""The parts of a checkpoint that a resumed run takes over, and no others.

mmengine trusts the checkpoint that it resumes: it runs the config inside, removes the
file that `best_ckpt` names, and sets whatever attribute a scheduler's state has. So it
gets only known keys with values of known types, and names of files only if these are
checkpoints in this run's own folder.
"""

import math
import re
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor, nn


def resumable(
    checkpoint: Mapping,
    path: str | Path,
    folder: Path,
    schedulers: Sequence,
    model: nn.Module,
) -> dict:
    """Return the part of a checkpoint from which a run goes on.

    Args:
        checkpoint: What `read_checkpoint` returned.
        path: File of the checkpoint.
        folder: Where this run keeps its checkpoints.
        schedulers: This run's parameter schedulers.
        model: The segmentor.

    Raises:
        ValueError: The checkpoint has no state of a run, or its state is damaged or
            does not fit this run.
    """
    if 'optimizer' not in checkpoint:
        raise ValueError(
            f'{path} holds weights but no state of a run to resume. Start from its '
            f'weights with --load-from.'
        )
    result = {
        key: checkpoint[key]
        for key in ('state_dict', 'ema_state_dict', 'optimizer')
        if key in checkpoint
    }
    result['meta'] = known_meta(checkpoint['meta'], path)
    result['ranks'] = rank_states(checkpoint, path, model)
    result['param_schedulers'] = scheduler_states(checkpoint, path, schedulers)
    result['message_hub'] = restored_hub(checkpoint.get('message_hub'), path, folder)
    return result


def is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def is_early_stopping(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and set(value) == {'wait_count', 'best_score'}
        and is_count(value['wait_count'])
        and isinstance(value['best_score'], float)
    )


def is_time_limit(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and set(value) == {'spent', 'cycles', 'end', 'next'}
        and all(is_count(value[key]) for key in ('cycles', 'end', 'next'))
        and isinstance(value['spent'], float)
        and 0 <= value['spent'] < math.inf
    )


def known_meta(meta: Mapping, path: str | Path) -> dict:
    """Return how far a run is; files of earlier versions lack some of it.

    Raises:
        ValueError: It is of another form than a run writes.
    """
    counts = ('epoch', 'iter', 'seed', 'images_per_step', 'validated')
    counts += ('images', 'dataset_size', 'order_seed')
    forms = dict.fromkeys(counts, is_count)
    forms |= {'early_stopping': is_early_stopping, 'time_limit': is_time_limit}
    result = {key: meta[key] for key in forms if meta.get(key) is not None}
    for key in {**result, 'epoch': None, 'iter': None}:
        if not forms[key](result.get(key)):
            raise ValueError(
                f'{path}: meta has {key}={result.get(key)!r}, which no run writes. The '
                f'file is damaged; resume from an earlier checkpoint.'
            )
    if 'dataset_meta' in meta:
        result['dataset_meta'] = meta['dataset_meta']
    return result


def rank_states(
    checkpoint: Mapping, path: str | Path, model: nn.Module
) -> list[Mapping]:
    """Return what each process had for itself; see `resume/run_state.py`.

    Raises:
        ValueError: It is not of this model.
    """
    states = checkpoint.get('ranks', [])
    buffers = dict(model.named_buffers())
    buffers |= {f'ema.{name}': value for name, value in buffers.items()}
    own = dict(buffers=buffers, gradients=dict(model.named_parameters()))
    fits = isinstance(states, list) and all(
        isinstance(state, Mapping)
        and state.keys() == own.keys()
        and all(are_of(state[kind], own[kind]) for kind in own)
        for state in states
    )
    if not fits:
        raise ValueError(
            f'{path}: what it has of each process (ranks) is damaged, or of another '
            f'model. Resume from an earlier checkpoint.'
        )
    return states


def are_of(found: object, own: Mapping[str, Tensor]) -> bool:
    """Return whether `found` holds only tensors with names and shapes of `own`."""
    return isinstance(found, Mapping) and all(
        isinstance(value, Tensor) and name in own and value.shape == own[name].shape
        for name, value in found.items()
    )


def scheduler_states(
    checkpoint: Mapping, path: str | Path, schedulers: Sequence
) -> list[dict]:
    """Return each scheduler's state without keys that this run's scheduler lacks."""
    states = checkpoint.get('param_schedulers')
    states = [] if states is None else states
    states = states if isinstance(states, list | tuple) else [states]
    known = [set(scheduler.state_dict()) for scheduler in schedulers]
    if len(states) != len(known) or not all(isinstance(s, Mapping) for s in states):
        raise ValueError(
            f'{path} has the state of {len(states)} parameter schedulers, the config '
            f'has {len(known)} (param_scheduler). Resume with the config that trained, '
            f'or start from its weights with --load-from.'
        )
    return [
        {key: state[key] for key in keys if key in state}
        for state, keys in zip(states, known, strict=True)
    ]


def restored_hub(hub: Mapping | None, path: str | Path, folder: Path) -> dict:
    """Return log history, best scores and files to keep, as mmengine's `MessageHub`.

    A best score is taken over only with its file: where that is not in `folder`, the
    search for the best begins again.

    Args:
        hub: The message hub of the checkpoint, if it has one.
        path: File of the checkpoint.
        folder: Where this run keeps its checkpoints.
    """
    hub = hub or {}
    scalars = {
        name: history(name, value, path)
        for name, value in (hub.get('log_scalars') or {}).items()
    }
    info = dict(hub.get('runtime_info') or {})
    same_run = Path(path).resolve().parent == folder.resolve()
    kept = kept_checkpoints(info, folder) if same_run else {}
    return dict(
        log_scalars=scalars,
        runtime_info=kept,
        resumed_keys=dict.fromkeys([*scalars, *kept], True),
    )


def history(name: str, value: object, path: str | Path) -> HistoryBuffer:
    """Return a log history, from its values and its counts: two tensors of shape (n,).

    Raises:
        ValueError: `value` is not of this form.
    """
    good = (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(part, Tensor) and part.dim() == 1 for part in value)
        and len(value[0]) == len(value[1])
        and bool((value[1] > 0).all())  # they divide when a mean is logged
    )
    if not good:
        raise ValueError(
            f'{path}: the log history of {name!r} is damaged. Resume from an earlier '
            f'checkpoint, or start from the weights with --load-from.'
        )
    return HistoryBuffer(*[part.double().numpy() for part in value])


def kept_checkpoints(info: Mapping, folder: Path) -> dict:
    """Return the best scores with their files, and the iterations of kept files."""
    result = {}
    for key, name in info.items():
        if not (str(key).startswith('best_ckpt') and isinstance(name, str)):
            continue
        best = folder / Path(name).name
        score_key = key.replace('best_ckpt', 'best_score', 1)
        score = info.get(score_key)
        is_score = isinstance(score, Real) and math.isfinite(score)
        if best.name.startswith('best_') and best.is_file() and is_score:
            result |= {key: str(best), score_key: float(score)}
    ids = info.get('keep_ckpt_ids')
    if isinstance(ids, list | tuple):
        result['keep_ckpt_ids'] = [
            k
            for k in ids
            if (type(k) is int and k >= 0)
            or (isinstance(k, str) and re.fullmatch(r'iter_\d+\.pth', k))
        ]
    return result


def plain_hub(hub: Mapping) -> dict:
    """Return the state of mmengine's `MessageHub` as tensors and plain values alone.

    With it any torch loads the checkpoint with `weights_only=True`, without a list of
    allowed types.
    """
    scalars = {
        name: [torch.from_numpy(np.asarray(part, np.float64)) for part in buffer.data]
        for name, buffer in hub['log_scalars'].items()
    }
    info = {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in hub['runtime_info'].items()
    }
    return {**hub, 'log_scalars': scalars, 'runtime_info': info}
