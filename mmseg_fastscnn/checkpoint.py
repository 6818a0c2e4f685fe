"""Load weights safely, and say what was loaded and what was not."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor, nn


def history_method(owner: type, name: str):
    """Stand in for `getattr` in checkpoints, for the one use that mmengine makes of it.

    Each `HistoryBuffer` carries its statistics methods, pickled by name.
    """
    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean', 'current'):
        raise UnpicklingError(f'GLOBAL getattr of {owner!r}, {name!r}')
    return getattr(owner, name)


# What `torch.load` may build beyond tensors and plain containers: mmengine's log
# history, made of numpy arrays. Nothing here can be made to run a file's own code.
_array, _scalar = np.empty(0).__reduce__()[0], np.float64(0).__reduce__()[0]
ALLOWED = [
    HistoryBuffer,
    (history_method, 'builtins.getattr'),
    np.ndarray,
    np.dtype,
    *{type(np.dtype(code)) for code in '?bBhHiIlLqQefd'},
    *((_array, f'numpy.{core}.multiarray._reconstruct') for core in ('core', '_core')),
    *((_scalar, f'numpy.{core}.multiarray.scalar') for core in ('core', '_core')),
]


@dataclass
class LoadReport:
    """What `load_weights` did, by tensor name."""

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    other_shape: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        def some(names: list[str]) -> str:
            return ', '.join(names[:4]) + (', ...' if len(names) > 4 else '')

        lines = [f'{len(self.loaded)} tensors loaded']
        for names, what in [
            (self.missing, 'are not in the file and start fresh'),
            (self.other_shape, 'have another shape in the file and start fresh'),
            (self.unexpected, 'of the file are not in the model and are left out'),
        ]:
            if names:
                lines.append(f'{len(names)} {what}: {some(names)}')
        return '; '.join(lines)


def read_checkpoint(path: str | Path) -> dict:
    """Read a file of mmengine's format, or a bare state dict, to the CPU.

    Returns:
        The file's dict, with `state_dict` and `meta` always there; a `module.` that
        data parallel training puts before names is removed.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no checkpoint, or holds more than tensors, plain values and
            mmengine's log history.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'The checkpoint {path} does not exist.')
    try:
        with torch.serialization.safe_globals(ALLOWED):
            content = torch.load(path, map_location='cpu', weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        refused = re.search(r'GLOBAL (\S+)', str(error))
        if refused:
            raise ValueError(
                f'{path} is refused: it holds {refused[1]}, and loading that could run '
                f'code of the file. Nothing of it has run. Ask its author for a file '
                f'of weights alone.'
            ) from error
        raise ValueError(
            f'{path} is no PyTorch checkpoint, or a damaged one '
            f'({type(error).__name__}). Compare its size with the original and fetch '
            f'it again.'
        ) from error
    if not isinstance(content, Mapping):
        raise ValueError(f'{path} holds a {type(content).__name__}, not a state dict.')
    if 'state_dict' not in content:
        content = dict(state_dict=content)
    state = content['state_dict']
    return {
        **content,
        'meta': content.get('meta') or {},
        'state_dict': {k.removeprefix('module.'): v for k, v in state.items()},
    }


def load_weights(
    model: nn.Module, state_dict: Mapping[str, Tensor], strict: bool
) -> LoadReport:
    """Copy into `model` every tensor that has its name and shape.

    Args:
        model: The segmentor.
        state_dict: The file's tensors.
        strict: Refuse a file that does not fill the whole model.

    Raises:
        ValueError: `strict` and not all of the model was found; or under half of the
            backbone was, so that the file is of another network.
    """
    own = model.state_dict()
    report = LoadReport()
    for name, value in own.items():
        if name not in state_dict:
            report.missing.append(name)
        elif state_dict[name].shape != value.shape:
            report.other_shape.append(name)
        else:
            report.loaded.append(name)
    report.unexpected = [name for name in state_dict if name not in own]
    backbone = [name for name in own if name.startswith('backbone.')]
    found = sum(name.startswith('backbone.') for name in report.loaded)
    if found < len(backbone) / 2:
        raise ValueError(
            f'Only {found} of the {len(backbone)} tensors of the backbone are in the '
            f'checkpoint: it is of another network. {report}.'
        )
    if strict and (report.missing or report.other_shape):
        raise ValueError(
            f'The checkpoint does not fill the model: {report}. Was it trained with '
            f'another config (classes, heads)?'
        )
    model.load_state_dict({k: state_dict[k] for k in report.loaded}, strict=False)
    return report
