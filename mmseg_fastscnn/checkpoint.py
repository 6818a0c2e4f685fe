"""Load weights safely, and say what was loaded and what was not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor, nn

# Everything beyond tensors and plain containers that mmengine's checkpoints hold: the
# log history. `torch.load` may build these and nothing else.
_reconstruct = np.empty(0).__reduce__()[0]
ALLOWED = [
    HistoryBuffer,
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ('f8', 'f4', 'i8', 'i4', 'bool')),
    (_reconstruct, 'numpy._core.multiarray._reconstruct'),
    (_reconstruct, 'numpy.core.multiarray._reconstruct'),
    (np.bool_(True).__reduce__()[0], 'numpy._core.multiarray.scalar'),
    (np.bool_(True).__reduce__()[0], 'numpy.core.multiarray.scalar'),
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
    except Exception as error:  # torch raises many kinds here; all mean the same
        raise ValueError(
            f'{path} cannot be loaded as a checkpoint. It is damaged, is no PyTorch '
            f'file, or holds objects that are not loaded because they could run code. '
            f'{type(error).__name__}: {str(error).splitlines()[0]}'
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
