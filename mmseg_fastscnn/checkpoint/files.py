"""Checkpoint files: read safely, refuse with a reason, write weights."""

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mmseg_fastscnn.checkpoint.names import our_names
from mmseg_fastscnn.checkpoint.records import SAFE_GLOBALS, plain


def read_checkpoint(path: str | Path, weights: str = 'ema') -> dict:
    """Read a checkpoint of any known kind to the CPU.

    Known are files of mmsegmentation 0.x and 1.x and of Tramac/Fast-SCNN-pytorch, bare
    state dicts, and safetensors.

    Args:
        path: The file. If its name ends in `-` and eight hexadecimal digits, as the
            names of released files do, its sha256 must begin with these.
        weights: Which weights to take if the file has two kinds: 'ema' (averaged) or
            'raw' (trained).

    Returns:
        The content of the file. It has `state_dict`, in our names and without the
        `module.` of data parallel training, and `meta`, whose `dataset_meta` has
        `classes` and `palette` if the file has them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged or no checkpoint, it holds more than tensors, plain
            values and mmengine's log history, or it has no averaged weights and
            `weights` is 'raw'.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        inside = sorted(file.name for file in path.glob('*.pth'))
        raise ValueError(f'The checkpoint {path} is a folder; name a file: {inside}.')
    if not path.is_file():
        raise FileNotFoundError(f'The checkpoint {path} does not exist.')
    check_hash(path)
    content = load_safetensors(path) if path.suffix == '.safetensors' else load(path)
    if not isinstance(content, Mapping):
        raise ValueError(f'{path} holds a {type(content).__name__}, not a state dict.')
    if 'state_dict' not in content:
        content = dict(state_dict=content)
    if not any(isinstance(v, Tensor) for v in content['state_dict'].values()):
        raise ValueError(f'{path} has no tensors; its keys are {list(content)[:5]}.')
    state = choose_weights(content, weights, path)
    state = our_names(state)
    meta = dict(content.get('meta') or {})
    if 'dataset_meta' not in meta and meta.get('CLASSES'):  # mmsegmentation 0.x
        meta['dataset_meta'] = dict(
            classes=meta['CLASSES'], palette=meta.get('PALETTE')
        )
    return {**content, 'meta': meta, 'state_dict': state}


def check_hash(path: Path) -> None:
    """Raise ValueError if the file has another sha256 than its name promises."""
    promised = re.search(r'-([0-9a-f]{8})$', path.stem)
    if promised and not promised[1].isdigit():  # eight digits may be a date
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if not found.startswith(promised[1]):
            raise ValueError(
                f'{path}: the name promises a sha256 that begins with {promised[1]}, '
                f'the file has {found[:8]}. It is damaged or was changed: fetch it '
                f'again, or rename it if you changed it.'
            )


def load(path: Path) -> object:
    """Read a PyTorch file as tensors, containers and plain values; see `records.py`.

    Raises:
        ValueError: It is not a checkpoint, or is refused.
    """
    try:
        with torch.serialization.safe_globals(SAFE_GLOBALS):
            return plain(torch.load(path, map_location='cpu', weights_only=True))
    except Exception as error:  # of many kinds, down to IndexError on random bytes
        raise ValueError(f'{path} {what_is_wrong(path, error)}') from error


def what_is_wrong(path: Path, error: Exception) -> str:
    """Say why a file is not loaded, and what to do."""
    refused = re.search(r'GLOBAL (\S+)', str(error))
    if refused:
        return (
            f'is refused: it holds {refused[1]}, and loading that could run code of '
            f'the file. Nothing of it has run. Ask its author for a file of weights.'
        )
    head = path.read_bytes()[:512]
    if head.lstrip()[:1] == b'<':
        return (
            f'is a web page, not a checkpoint: it begins with '
            f'{head.split()[0][:40]!r}. Fetch the file itself.'
        )
    size = f'{path.stat().st_size:,} bytes'
    if head[:2] == b'PK' and not zipfile.is_zipfile(path):
        return f'is cut short: its end is missing after {size}. Fetch it again.'
    return f'is no PyTorch checkpoint, or a damaged one ({size}). Fetch it again.'


def load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        message = f'{path} is no safetensors file, or a damaged one ({error}).'
        raise ValueError(f'{message} Fetch it again.') from error


def choose_weights(content: Mapping, weights: str, path: Path) -> dict[str, Tensor]:
    """Return the averaged or the trained weights of a file's content.

    mmengine and mmcv 1 swap the two kinds before they save, so that `state_dict` has
    the averaged weights. mmengine keeps the trained ones in `ema_state_dict`, mmcv 1 in
    buffers named `ema_` and the parameter's name with underscores for dots.
    """
    if weights not in ('ema', 'raw'):
        raise ValueError(f"weights is {weights!r}; it must be 'ema' or 'raw'.")
    everything = without_prefix(content['state_dict'])
    state = {k: v for k, v in everything.items() if not k.startswith('ema_')}
    if weights == 'ema':
        return state
    other = without_prefix(content.get('ema_state_dict') or {})
    other.pop('steps', None)
    for name in state:
        buffer = f'ema_{name.replace(".", "_")}'
        if buffer in everything:
            other[name] = everything[buffer]
    if not other:
        raise ValueError(f"{path} has no averaged weights, so there are no 'raw' ones.")
    return {**state, **other}


def without_prefix(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without the `module.` that data parallel training adds."""
    return {name.removeprefix('module.'): v for name, v in state_dict.items()}


def write_weights(path: str | Path, content: Mapping) -> Path:
    """Write weights and meta data to a file.

    Args:
        path: `NAME.pth`; `{hash}` in it becomes the first eight hexadecimal digits of
            the file's sha256.
        content: What `read_checkpoint` returned.

    Returns:
        The path of the file.

    Raises:
        FileExistsError: There is a file of that name already.
    """
    meta = {
        key: content['meta'][key]
        for key in ('dataset_meta', 'iter', 'epoch', 'cfg')
        if key in content['meta']
    }
    buffer = io.BytesIO()
    torch.save(dict(state_dict=dict(content['state_dict']), meta=meta), buffer)
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()[:8]
    path = Path(str(path).replace('{hash}', digest))
    if path.exists():
        raise FileExistsError(f'{path} exists; remove it or choose another name.')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getbuffer())
    return path
