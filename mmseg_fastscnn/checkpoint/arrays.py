"""Turn what a checkpoint says of numpy's arrays and numbers into tensors and Python's.

A file says which bytes and which type; what is called is chosen here.
"""

import math

import numpy as np
import torch
from torch import Tensor

from mmseg_fastscnn.checkpoint.records import (
    ArrayRecord,
    BytesRecord,
    Damaged,
    DtypeRecord,
    ScalarRecord,
)

# numpy's codes of the number types; an array of any other dtype is refused.
NUMBERS = {'b1', 'i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'i8', 'u8', 'f2', 'f4', 'f8'}
MAX_DIMS = 8


def dtype_of(record: object) -> np.dtype:
    """Return the number type that a record describes, made from our own table."""
    if not isinstance(record, DtypeRecord) or not record.args:
        raise Damaged('An array has no dtype.')
    code = record.args[0]
    if code not in NUMBERS:
        raise Damaged(f'An array is of dtype {str(code)[:20]!r}, no number.')
    has_order = isinstance(record.state, tuple) and len(record.state) > 1
    return np.dtype(code).newbyteorder(
        '>' if has_order and record.state[1] == '>' else '<'
    )


def numbers(kind: np.dtype, data: object, shape: object, order: str) -> np.ndarray:
    """Read numbers from bytes, of which there must be as many as the shape needs."""
    if isinstance(data, BytesRecord):
        data = as_bytes(data)
    if isinstance(data, str):  # of Python 2
        data = data.encode('latin-1')
    good = (
        isinstance(data, bytes)
        and isinstance(shape, tuple)
        and len(shape) <= MAX_DIMS
        and all(type(side) is int and side >= 0 for side in shape)
        and len(data) == math.prod(shape) * kind.itemsize
    )
    if not good:
        raise Damaged('An array is damaged.')
    native = np.frombuffer(data, kind).astype(kind.newbyteorder('='))
    return native.reshape(shape, order=order)


def array(record: ArrayRecord) -> Tensor:
    """Return the tensor that the record of an array describes."""
    state = record.state if isinstance(record.state, tuple) else ()
    if len(state) != 5:
        raise Damaged('An array is damaged.')
    _, shape, kind, is_fortran, data = state
    order = 'F' if is_fortran else 'C'
    return torch.from_numpy(
        np.ascontiguousarray(numbers(dtype_of(kind), data, shape, order))
    )


def number(record: ScalarRecord) -> bool | int | float:
    """Return the number that the record of a numpy number describes."""
    if len(record.args) != 2:
        raise Damaged('A number is damaged.')
    kind, data = record.args
    return numbers(dtype_of(kind), data, (), 'C').item()


def as_bytes(record: BytesRecord) -> bytes:
    """Return the bytes that a record describes."""
    text, encoding = [*record.args, 'utf-8', None][:2]
    if not isinstance(text, str) or encoding not in ('latin1', 'latin-1'):
        raise Damaged('Bytes are written as no latin-1 text.')
    return text.encode('latin-1')
