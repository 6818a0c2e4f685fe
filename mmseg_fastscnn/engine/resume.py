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
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader

from mmseg_fastscnn.checkpoint import read_checkpoint
from mmseg_fastscnn.engine.checkpoints import POINTER, CheckpointHook

OF_A_RUN = re.compile(r'((iter|epoch)_\d+|best_.+)\.pth')  # names that training writes


def last_checkpoint(work_dir: str | Path) -> Path | None:
    """Return the last checkpoint of a work dir, even if the work dir was moved."""
    pointer = Path(work_dir, POINTER)
    if not pointer.exists():
        return None
    named = Path(pointer.read_text().strip())
    moved = Path(work_dir, named.name)
    return moved if moved.exists() else named


def check_work_dir(config: Config) -> None:
    """Check that training will not write over the checkpoint that it starts from.

    Raises:
        ValueError: The checkpoint lies in the work dir, or where the checkpoints go,
            and has a name that training would write.
    """
    folders = [Path(config.work_dir)]
    out_dir = (config.get('default_hooks', {}).get('checkpoint') or {}).get('out_dir')
    if out_dir:
        folders.append(Path(out_dir, folders[0].name))
    start = Path(config.get('load_from') or '')
    is_there = start.resolve().parent in [folder.resolve() for folder in folders]
    replaced = is_there and OF_A_RUN.fullmatch(start.name)
    if replaced and not config.get('resume'):
        raise ValueError(
            f'--load-from {start} lies in the work dir, or in out_dir of the '
            f'checkpoints, where training would write over it. Choose another '
            f'--work-dir, or go on with that run by --resume.'
        )


def seed_of(path: str | Path) -> int | None:
    """Return the seed of the run that wrote a checkpoint, None if the file has none."""
    seed = read_checkpoint(path)['meta'].get('seed')
    return seed if type(seed) is int else None


def checkpoint_folder(runner: Runner) -> Path:
    """Return where a run keeps its checkpoints."""
    hook = next((h for h in runner.hooks if isinstance(h, CheckpointHook)), None)
    return Path(runner.work_dir) if hook is None else hook.folder(runner)


class SkippingIterator:
    """Iterator over the training batches after a resume.

    mmengine's loop asks for the batch of each earlier iteration, only to throw it away.
    Here it gets None for these, and nothing is loaded.

    Args:
        dataloader: Data loader with our `InfiniteSampler`.
        skip: Number of earlier iterations.
    """

    def __init__(self, dataloader: DataLoader, skip: int):
        dataloader.sampler.start = skip * dataloader.batch_size
        self.skip = skip
        self.iterator = iter(dataloader)

    def __next__(self) -> dict | None:
        if self.skip > 0:
            self.skip -= 1
            return None
        return next(self.iterator)


def resumable(
    checkpoint: Mapping, path: str | Path, folder: Path, schedulers: Sequence
) -> dict:
    """Return the part of a checkpoint from which a run goes on.

    Args:
        checkpoint: What `read_checkpoint` returned.
        path: File of the checkpoint.
        folder: Where this run keeps its checkpoints.
        schedulers: This run's parameter schedulers.

    Raises:
        ValueError: The checkpoint has no state of a run, or its state is damaged or
            does not fit this run.
    """
    if 'optimizer' not in checkpoint:
        raise ValueError(
            f'{path} holds weights but no state of a run to resume. Start from its '
            f'weights with --load-from.'
        )
    meta = checkpoint['meta']
    count = {key: meta.get(key) for key in ('epoch', 'iter')}
    if any(type(value) is not int or value < 0 for value in count.values()):
        raise ValueError(
            f'{path}: meta has {count} where the finished epochs and iterations should '
            f'be. The file is damaged; resume from an earlier checkpoint.'
        )
    result = {
        key: checkpoint[key]
        for key in ('state_dict', 'ema_state_dict', 'optimizer')
        if key in checkpoint
    }
    result['meta'] = {
        key: meta[key]
        for key in (*count, 'seed', 'dataset_meta', 'images_per_step')
        if key in meta
    }
    result['param_schedulers'] = scheduler_states(checkpoint, path, schedulers)
    result['message_hub'] = restored_hub(checkpoint.get('message_hub'), path, folder)
    return result


def scheduler_states(
    checkpoint: Mapping, path: str | Path, schedulers: Sequence
) -> list[dict]:
    """Return each scheduler's state without the keys that it does not have itself."""
    states = checkpoint.get('param_schedulers') or []
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


def restored_hub(hub: object, path: str | Path, folder: Path) -> dict:
    """Return log history, best scores and files to keep, as mmengine's `MessageHub`.

    A best score is taken over only with its file: where that is not in `folder`, the
    search for the best begins again.

    Args:
        hub: The message hub of the checkpoint.
        path: File of the checkpoint.
        folder: Where this run keeps its checkpoints.
    """
    hub = hub if isinstance(hub, Mapping) else {}
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
