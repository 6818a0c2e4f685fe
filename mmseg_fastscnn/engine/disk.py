"""Checkpoints on the disk: written whole, with patience, and only finite weights."""

import errno
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import EMAHook
from torch import Tensor

from mmseg_fastscnn.models.segmentor import unwrapped
from mmseg_fastscnn.writing import write_file

WHOLE_FILES = dict(backend='whole files')  # `backend_args` of mmengine
RETRY = 10  # seconds until a disk that refuses is tried again


class NotFinite(ValueError):
    """Weights have values that are not finite, so they are not written."""


@register_backend(WHOLE_FILES['backend'])
class WholeFileBackend(LocalBackend):
    """mmengine's access to local files, which writes them whole or not at all."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        folder = Path(filepath).parent
        if not folder.is_dir():  # where a disk is no longer mounted none is made
            raise FileNotFoundError(
                errno.ENOENT, 'The folder of checkpoints is gone', str(filepath)
            )
        try:
            write_file(filepath, obj)
        except OSError as error:
            free = shutil.disk_usage(folder).free
            reason = f'{error.strerror}; {len(obj):,} bytes are needed, {free:,} free'
            raise OSError(error.errno, reason, str(filepath)) from error


def write_patiently(
    action: Callable[[], None], minutes: float, logger: logging.Logger
) -> None:
    """Write something; where the disk refuses, wait and try again.

    Args:
        action: Writes it; it may be called several times.
        minutes: How long to try.
        logger: Gets a line each time that the disk refuses.

    Raises:
        OSError: The disk still refuses after that time.
    """
    end = time.monotonic() + 60 * minutes
    while True:
        try:
            return action()
        except OSError as error:
            left = end - time.monotonic()
            if error.errno is None or left <= 0:
                raise
            # mmengine's logger drops a warning of the same text, without its arguments
            logger.warning(
                f'{error}. Earlier checkpoints are as they were. Training waits for at '
                f'most {left / 60:.2f} more minutes and tries again every {RETRY:g} s.'
            )
            time.sleep(min(RETRY, left))


def checkpoint_size(runner) -> int:
    """Estimate the bytes of a checkpoint: weights, averages, state of the optimizer."""
    model = unwrapped(runner.model)
    weights = sum(v.nbytes for v in model.state_dict().values())
    averaged = any(isinstance(hook, EMAHook) for hook in runner.hooks)
    trained = sum(v.nbytes for v in model.parameters() if v.requires_grad)
    options = runner.optim_wrapper.optimizer.defaults
    per_weight = len(options.get('betas', ())) or bool(options.get('momentum'))
    return weights * (1 + averaged) + trained * per_weight


def compare_with_disk(
    count: int, size: int, folder: Path, logger: logging.Logger
) -> None:
    """Say what room some checkpoints will take, and warn if there is too little.

    Args:
        count: Number of checkpoints.
        size: Bytes of each.
        folder: Where they will be.
        logger: Gets the line.
    """
    free = shutil.disk_usage(folder).free
    enough = count * size <= free
    logger.log(
        logging.INFO if enough else logging.WARNING,
        'Up to %d more checkpoints of about %.1f MB need %.1f MB in %s, where '
        '%.1f MB are free%s',
        *(count, size / 1e6, count * size / 1e6, folder, free / 1e6),
        '.' if enough else ': make room, or lower max_keep_ckpts.',
    )


def not_finite(checkpoint: Mapping) -> list[str]:
    """Return the names of a checkpoint's weights that have nan or infinite values."""
    tensors = {**checkpoint.get('ema_state_dict', {}), **checkpoint['state_dict']}
    return [
        name
        for name, value in tensors.items()
        if isinstance(value, Tensor) and not torch.isfinite(value).all()
    ]
