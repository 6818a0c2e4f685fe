"""Turn what a checkpoint says into tensors, numbers, texts and containers of these."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mmseg_fastscnn.checkpoint.arrays import MAX_DIMS, array, as_bytes, number
from mmseg_fastscnn.checkpoint.records import (
    DTYPES,
    STORAGES,
    ArrayRecord,
    BytesRecord,
    Damaged,
    DeviceRecord,
    HistoryRecord,
    ParameterRecord,
    Record,
    Refused,
    ScalarRecord,
    SetRecord,
    SizeRecord,
    StorageRecord,
    TensorRecord,
    TypedTensorRecord,
    name_of,
)
from mmseg_fastscnn.checkpoint.unpickling import MAX_DEPTH

MAX_VALUES = 2_000_000  # counting a container as often as it occurs
# A tensor may be a view that repeats few values, or one of many of the same values. All
# together may have this many times the bytes of the file, or else fill the memory.
MAX_VIEWS = 4


class Place(NamedTuple):
    """A tensor's place in its storage, in numbers of values."""

    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def fits(self, count: int) -> bool:
        """Return whether it lies within so many values."""
        values = (self.offset, *self.size, *self.stride)
        if not all(type(value) is int and 0 <= value < 2**62 for value in values):
            return False
        if len(self.size) != len(self.stride) or len(self.size) > MAX_DIMS:
            return False
        last = sum(
            (side - 1) * step for side, step in zip(self.size, self.stride, strict=True)
        )
        return 0 in self.size or self.offset + last < count


class Converter:
    """Makes plain values of the records of one file.

    Args:
        storages: Bytes of each storage, by its key.
        allowance: How many bytes all tensors together may have.
    """

    def __init__(self, storages: Mapping[str, bytes], allowance: int):
        self.storages = storages
        self.left = allowance
        self.memories: dict[tuple, Tensor] = {}
        # A file may hold one container in many places, and so take for ever without it.
        self.done: dict[int, tuple] = {}
        self.count = 0

    def plain(self, value: object, depth: int = 0) -> object:
        """Return a value as tensors, containers and plain values alone.

        A `HistoryBuffer` becomes [values, counts], two float64 tensors of shape (n,).
        Other numpy arrays become tensors, and numpy numbers become Python's.

        Raises:
            Damaged, Refused: Something in it is not one of these, or is damaged.
        """
        before = self.count
        _, result, size = self.done.get(id(value), (None, None, 1))
        self.count += size
        if self.count > MAX_VALUES:
            raise Damaged(f'It holds more than {MAX_VALUES:,} values.')
        if id(value) in self.done:
            return result
        if depth > MAX_DEPTH:  # or it contains itself
            raise Damaged(f'Containers are nested deeper than {MAX_DEPTH} levels.')
        if isinstance(value, Mapping):
            result = {
                self.plain(k, depth + 1): self.plain(v, depth + 1)
                for k, v in value.items()
            }
        elif isinstance(value, list | tuple | set):
            result = type(value)(self.plain(item, depth + 1) for item in value)
        else:
            result = self._single(value, depth)
        # the value is kept, so that its id stays its own
        self.done[id(value)] = value, result, self.count - before
        return result

    def _single(self, value: object, depth: int) -> object:
        """Return what a record or a plain value that is no container stands for."""
        kind = type(value)
        if isinstance(value, type):
            raise Refused(name_of(value))
        if kind in (TensorRecord, TypedTensorRecord):
            return self._tensor(value)
        if kind is ParameterRecord and value.args:
            return self.plain(value.args[0], depth + 1)
        if kind in (SetRecord, SizeRecord):
            items = self.plain(list(*value.args), depth + 1)
            return set(items) if kind is SetRecord else tuple(items)
        if kind is DeviceRecord:
            return ':'.join(str(part)[:20] for part in value.args)
        if kind is BytesRecord:
            return as_bytes(value)
        if kind is ScalarRecord:
            return number(value)
        if kind is HistoryRecord:
            state = value.state if isinstance(value.state, Mapping) else {}
            parts = [state.get('_log_history'), state.get('_count_history')]
            if not all(isinstance(part, ArrayRecord) for part in parts):
                raise Damaged('A log history is damaged.')
            return [array(part).double() for part in parts]
        if kind is ArrayRecord:
            return array(value)
        if isinstance(value, Record):
            raise Refused(name_of(kind))
        if kind is str:
            value.encode()  # fails for halves of characters, which no terminal prints
        if kind not in (type(None), bool, int, float, str, bytes):
            raise Refused(f'a {kind.__name__}')
        return value

    def _tensor(self, record: Record) -> Tensor:
        """Return the tensor that a record describes, within its storage."""
        if len(record.args) < 4 or not isinstance(record.args[0], StorageRecord):
            raise Damaged('A tensor has no storage.')
        storage, offset, size, stride = record.args[:4]
        dtype = None
        if isinstance(record, TypedTensorRecord):
            dtype = DTYPES.get(str(record.args[6])) if len(record.args) > 6 else None
            if dtype is None:
                raise Refused(str(record.args[6:7]))
        size, stride = self.plain(size), self.plain(stride)
        if not isinstance(size, tuple) or not isinstance(stride, tuple):
            raise Damaged('A tensor has no shape.')
        memory, place = self._memory(storage, dtype), Place(offset, size, stride)
        if not place.fits(len(memory)):
            raise Damaged(
                f'A tensor of shape {list(place.size)[:MAX_DIMS]} lies outside of its '
                f'storage of {len(memory)} values.'
            )
        self.left -= math.prod(place.size) * memory.element_size()
        if self.left < 0:
            raise Damaged('The tensors claim many times the bytes of the file.')
        return memory.as_strided(place.size, place.stride, place.offset)

    def _memory(self, record: StorageRecord, dtype: torch.dtype | None) -> Tensor:
        """Return a storage as a tensor (n,)."""
        kind, key, _, count = record.args
        name = kind.rpartition('.')[2]
        if name not in STORAGES or key not in self.storages:
            raise Damaged(f'The storage {key[:20]!r} of {kind[:40]} is missing.')
        found, data = STORAGES[name], self.storages[key]
        if len(data) != count * found.itemsize:
            raise Damaged(
                f'The storage {key[:20]!r} has {len(data)} bytes where the file '
                f'says {count} values of {found}.'
            )
        dtype = dtype or found
        if (key, dtype) not in self.memories:
            self.memories[key, dtype] = from_bytes(data, dtype)
        return self.memories[key, dtype]


def from_bytes(data: bytes, dtype: torch.dtype) -> Tensor:
    """Return bytes as a tensor (n,) with memory of its own."""
    if len(data) < dtype.itemsize:
        return torch.empty(0, dtype=dtype)
    if dtype is torch.bool:  # of which torch expects that each byte is 0 or 1
        return torch.frombuffer(bytearray(data), dtype=torch.uint8) != 0
    return torch.frombuffer(
        bytearray(data), dtype=dtype, count=len(data) // dtype.itemsize
    )
