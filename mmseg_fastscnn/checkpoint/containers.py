"""Read the three containers of checkpoints: zip files, older ones, safetensors.

The bytes are read once, and what is checked is what is used. torch itself reads a zip
file without its check sums, so that a flipped bit changes a weight without a word.
"""

import io
import json
import struct
import zipfile

import safetensors.torch

from mmseg_fastscnn.checkpoint.records import STORAGES, Damaged, Refused
from mmseg_fastscnn.checkpoint.tensors import MAX_VIEWS, Converter
from mmseg_fastscnn.checkpoint.unpickling import unpickle

# How a file of torch before 1.6 begins: two pickles of a number each.
LEGACY = b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.'


def content_of(data: bytes) -> object:
    """Return what a PyTorch file holds: tensors, containers and plain values.

    Raises:
        Refused: It holds something else.
        Exception: It is no such file, or a damaged one; of many types.
    """
    if data.startswith(LEGACY):
        return from_legacy(data)
    return from_zip(data)


def from_zip(data: bytes) -> object:
    """Read today's format: a zip file of a pickle and of one member per storage."""
    members = checked_members(data)
    (pickled,) = [name for name in members if name.endswith('/data.pkl')] or [None]
    if pickled is None:
        raise Damaged('It is a zip file without the member data.pkl.')
    prefix = pickled.removesuffix('data.pkl')
    if f'{prefix}constants.pkl' in members:
        raise Refused('a TorchScript program')
    if members.get(f'{prefix}byteorder', b'little') != b'little':
        raise Damaged('It was written on a big-endian machine.')
    start = f'{prefix}data/'
    storages = {
        name.removeprefix(start): content
        for name, content in members.items()
        if name.startswith(start)
    }
    content, _ = unpickle(io.BytesIO(members[pickled]))
    return Converter(storages, MAX_VIEWS * len(data)).plain(content)


def checked_members(data: bytes) -> dict[str, bytes]:
    """Return the members of a zip file by name, after a test of their check sums.

    Raises:
        Damaged: They claim more bytes than the file has, or a name comes twice.
        zipfile.BadZipFile: A check sum does not fit, or the file is no zip file.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        entries = file.infolist()
        if sum(entry.file_size for entry in entries) > len(data):
            raise Damaged(
                'Its members claim more bytes than the file has. If it was compressed, '
                'unpack it and pack it anew without compression, as torch does.'
            )
        members = {entry.filename: file.read(entry) for entry in entries}
    if len(members) < len(entries):
        raise Damaged('Two of its members have the same name.')
    return members


def from_legacy(data: bytes) -> object:
    """Read the format of torch before 1.6: pickles, then the storages one by one."""
    file = io.BytesIO(data)
    file.seek(len(LEGACY))
    unpickle(file)  # sizes of types on the machine that wrote it
    content, kinds = unpickle(file)
    keys, _ = unpickle(file)
    storages = {}
    for key in keys:
        (count,) = struct.unpack('<q', file.read(8))
        size = count * STORAGES[kinds[key].rpartition('.')[2]].itemsize
        storages[key] = file.read(max(size, 0))
        if len(storages[key]) != size:
            raise Damaged('Its end is missing.')
    return Converter(storages, MAX_VIEWS * len(data)).plain(content)


def from_safetensors(data: bytes) -> dict:
    """Read safetensors; `meta` is what `to_safetensors` wrote, if it did.

    Raises:
        Exception: It is no such file, or a damaged one; of many types.
    """
    tensors = safetensors.torch.load(data)
    size = int.from_bytes(data[:8], 'little')
    header = json.loads(data[8 : 8 + size])
    meta = header.get('__metadata__', {}).get('meta')
    return dict(state_dict=tensors, meta=json.loads(meta) if meta else {})


def to_safetensors(content: dict) -> bytes:
    """Return a file of `state_dict`, with `meta` as a text of JSON in its header."""
    metadata = dict(format='pt', meta=json.dumps(content['meta']))
    tensors = {
        name: v.contiguous().clone() for name, v in content['state_dict'].items()
    }
    return safetensors.torch.save(tensors, metadata)
