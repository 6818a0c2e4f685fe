"""Checkpoint files: read safely, refuse with a reason, write weights."""

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mmseg_fastscnn.checkpoint.containers import (
    content_of,
    from_safetensors,
    to_safetensors,
)
from mmseg_fastscnn.checkpoint.names import our_names
from mmseg_fastscnn.checkpoint.records import Damaged, Refused
from mmseg_fastscnn.checkpoint.shipped import SHIPPED_WEIGHTS
from mmseg_fastscnn.checkpoint.structure import check_structure
from mmseg_fastscnn.checkpoint.weights_hash import hashes_of
from mmseg_fastscnn.file_kinds import is_exported
from mmseg_fastscnn.writing import write_file

SAFETENSORS = '.safetensors'


def read_checkpoint(path: str | Path, weights: str = 'ema') -> dict:
    """Read a checkpoint of any known kind to the CPU.

    Known are files of mmsegmentation 0.x and 1.x and of Tramac/Fast-SCNN-pytorch, bare
    state dicts, and safetensors.

    Args:
        path: The file; or the text 'streets' for the weights of generated streets that
            come with the package, even where there is a file of that name: that one is
            './streets' or a `Path`. If the file's name ends in `-` and eight
            hexadecimal digits, as the names of released files do, its sha256 must begin
            with these.
        weights: Which weights to take if the file has two kinds: 'ema' (averaged) or
            'raw' (trained).

    Returns:
        The content of the file. It has `state_dict`, in our names and without the
        `module.` of data parallel training, and `meta`, whose `dataset_meta` has
        `classes` and `palette`, and whose `cfg` is the text of the config, if the file
        has them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged or no checkpoint, it holds more than tensors, plain
            values and mmengine's log history, its weights are not finite or have
            another hash than it says (see `structure.py`), or it has no averaged
            weights and `weights` is 'raw'.
    """
    if isinstance(path, str):  # `Path` drops the './' that tells a file from the name
        path = SHIPPED_WEIGHTS.get(path, path)
    path = Path(path).expanduser()
    if path.is_dir():
        inside = sorted(file.name for file in path.glob('*.pth'))
        advice = f'name a file: {inside}' if inside else 'there are none in it'
        raise ValueError(f'The checkpoint {path} is a folder; {advice}.')
    if is_exported(path):
        raise ValueError(
            f'{path} is an exported file, for prediction only. Give the checkpoint '
            f'that it was made from.'
        )
    if not path.is_file():
        names = f' With the package come: {", ".join(SHIPPED_WEIGHTS)}.'
        raise FileNotFoundError(
            f'The checkpoint {path} does not exist.{"" if path.suffix else names}'
        )
    data = path.read_bytes()
    check_hash(path, data)
    content = load(path, data)
    state = choose_weights(content, weights, path)
    return {**content, 'meta': known_meta(content), 'state_dict': our_names(state)}


def check_hash(path: Path, data: bytes) -> None:
    """Raise ValueError if the file has another sha256 than its name promises."""
    promised = re.search(r'-([0-9a-f]{8})$', path.stem)
    if promised and not promised[1].isdigit():  # eight digits may be a date
        found = hashlib.sha256(data).hexdigest()
        if not found.startswith(promised[1]):
            raise ValueError(
                f'{path}: the name promises a sha256 that begins with {promised[1]}, '
                f'the file has {found[:8]}. It is damaged or was changed: fetch it '
                f'again, or rename it if you changed it.'
            )


def load(path: Path, data: bytes) -> dict:
    """Return the content of a file, which has `state_dict`, after all checks.

    Raises:
        ValueError: It is not a checkpoint, or is refused.
    """
    read = from_safetensors if path.suffix == SAFETENSORS else content_of
    try:
        content = read(data)
    except Exception as error:  # of many kinds, down to IndexError on random bytes
        raise ValueError(f'{path} {what_is_wrong(path, data, error)}') from error
    if not isinstance(content, Mapping):
        raise ValueError(f'{path} holds a {type(content).__name__}, not a state dict.')
    if 'state_dict' not in content:
        content = dict(state_dict=content)
    state = content['state_dict']
    named = state if isinstance(state, Mapping) else {}
    if not any(isinstance(value, Tensor) for value in named.values()):
        keys = [str(key)[:40] for key in named or content][:5]
        raise ValueError(f'{path} has no tensors; its keys are {keys}.')
    try:
        check_structure(content)
    except Damaged as error:
        raise ValueError(
            f'{path} is not usable: {error} Use an earlier checkpoint, or fetch it '
            f'again.'
        ) from error
    return content


def what_is_wrong(path: Path, data: bytes, error: Exception) -> str:
    """Say why a file is not loaded, and what to do."""
    if isinstance(error, Refused):
        return (
            f'is refused: it holds {str(error)[:99]!r}, which is neither a tensor of '
            f'numbers nor plain data, and could run code. Nothing of it has run. Ask '
            f'its author for a file of weights.'
        )
    if data.lstrip()[:1] == b'<':
        return (
            f'is a web page, not a checkpoint: it begins with '
            f'{data.split()[0][:40]!r}. Fetch the file itself.'
        )
    size = f'{len(data):,} bytes'
    if data[:2] == b'PK' and b'PK\5\6' not in data[-(2**16) :]:  # how a zip file ends
        return f'is cut short: its end is missing after {size}. Fetch it again.'
    if path.suffix == SAFETENSORS:
        return f'is no safetensors file, or a damaged one ({error}). Fetch it again.'
    reason = ''
    is_zip_damage = isinstance(error, zipfile.BadZipFile) and data[:2] == b'PK'
    if is_zip_damage or isinstance(error, Damaged):
        reason = f' {str(error).removesuffix(".")}.'
    return (
        f'is no PyTorch checkpoint, or a damaged one ({size}).{reason} Fetch it again.'
    )


def known_meta(content: Mapping) -> dict:
    """Return the meta data of a file under the names of mmengine."""
    meta = dict(content.get('meta') or {})
    if 'dataset_meta' not in meta and meta.get('CLASSES'):  # mmsegmentation 0.x
        meta['dataset_meta'] = dict(
            classes=meta['CLASSES'], palette=meta.get('PALETTE')
        )
    if meta.get('config') and not meta.get('cfg'):
        meta['cfg'] = meta['config']
    dataset_meta = meta.get('dataset_meta') or {}
    if isinstance(dataset_meta.get('palette'), Tensor):
        palette = dataset_meta['palette'].tolist()
        meta['dataset_meta'] = {**dataset_meta, 'palette': palette}
    return meta


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
    """Write weights and meta data to a file, with a hash of the weights.

    Args:
        path: `NAME.pth`, or `NAME.safetensors` for that format; `{hash}` in it becomes
            the first eight hexadecimal digits of the file's sha256.
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
    written = dict(state_dict=dict(content['state_dict']), meta=meta)
    meta['sha256'] = hashes_of(written)
    buffer = io.BytesIO()
    if Path(path).suffix == SAFETENSORS:
        buffer.write(to_safetensors(written))
    else:
        torch.save(written, buffer)
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()[:8]
    path = Path(str(path).replace('{hash}', digest))
    if path.exists():
        raise FileExistsError(f'{path} exists; remove it or choose another name.')
    write_file(path, buffer.getbuffer())
    return path
