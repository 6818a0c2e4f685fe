"""Parse mmengine's log history in checkpoint files without calling what files name.

Checkpoints of mmengine hold `HistoryBuffer` objects made of numpy arrays. A file takes
over a process by having it call what the file names, and names that look harmless are
enough: `numpy.ndarray` can be called to make an array of pointers that the file
chooses. So each such name stands for a record here, which keeps what the file says and
does nothing. `plain` turns records into numbers and tensors and refuses the rest.
"""

import math
from collections.abc import Mapping
from pickle import UnpicklingError

import numpy as np
import torch
from torch import Tensor

# numpy's codes of the number types; an array of any other dtype is refused.
NUMBERS = {'b1', 'i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'i8', 'u8', 'f2', 'f4', 'f8'}
MAX_DIMS = 8


class Record:
    """An object as a file describes it, without being built.

    Attributes:
        args: The arguments with which the file would call its class or function.
        state: The state that the file would set.
    """

    def __new__(cls, *args: object):
        record = super().__new__(cls)
        record.args, record.state = args, None
        return record

    def __init__(self, *args: object):
        """Accept the arguments that `__new__` has kept."""

    def __setstate__(self, state: object) -> None:
        self.state = state


class HistoryRecord(Record):
    """`mmengine.logging.HistoryBuffer`."""


class ArrayRecord(Record):
    """A numpy array; its state is (version, shape, dtype, is_fortran, bytes)."""


class ScalarRecord(Record):
    """A numpy number; its arguments are (dtype, bytes)."""


class DtypeRecord(Record):
    """A numpy dtype; its first argument is the code, its state has the byte order."""


class NdarrayRecord(Record):
    """The class `numpy.ndarray`, an argument of `_reconstruct`."""


class MethodRecord(Record):
    """A method by name; each `HistoryBuffer` holds its statistics methods."""


NAMES = {
    'mmengine.logging.history_buffer.HistoryBuffer': HistoryRecord,
    'numpy.core.multiarray._reconstruct': ArrayRecord,  # numpy 1
    'numpy._core.multiarray._reconstruct': ArrayRecord,  # numpy 2
    'numpy.core.multiarray.scalar': ScalarRecord,
    'numpy._core.multiarray.scalar': ScalarRecord,
    'numpy.dtype': DtypeRecord,
    'numpy.ndarray': NdarrayRecord,
    'builtins.getattr': MethodRecord,
}
# What `torch.load(weights_only=True)` may use beyond tensors and plain containers.
SAFE_GLOBALS = [(record, name) for name, record in NAMES.items()]


def plain(content: object) -> object:
    """Return the content of a file as tensors, containers and plain values alone.

    A `HistoryBuffer` becomes [values, counts], two float64 tensors of shape (n,). Other
    numpy arrays become tensors, and numpy numbers become Python's.

    Raises:
        UnpicklingError: A record is not one of these, or is damaged.
    """
    return _plain(content, {})


def _plain(value: object, done: dict[int, object]) -> object:
    # A file may hold one container in many places, and so take for ever without this.
    if id(value) in done:
        return done[id(value)][1]
    if isinstance(value, Record):
        result = number(value) if isinstance(value, ScalarRecord) else parsed(value)
    elif isinstance(value, type) and issubclass(value, Record):
        raise refused(value)
    elif isinstance(value, Mapping):
        result = type(value)(
            (_plain(k, done), _plain(v, done)) for k, v in value.items()
        )
    elif isinstance(value, list | tuple | set) and type(value) is not torch.Size:
        result = type(value)(_plain(item, done) for item in value)
    else:
        result = value
    done[id(value)] = value, result  # `value` is kept so that its id stays its own
    return result


def parsed(record: Record) -> object:
    """Return the tensors that a history or an array describes; refuse other records."""
    if isinstance(record, HistoryRecord):
        state = record.state if isinstance(record.state, Mapping) else {}
        parts = [state.get('_log_history'), state.get('_count_history')]
        if not all(isinstance(part, ArrayRecord) for part in parts):
            raise UnpicklingError('A log history of the file is damaged.')
        return [array(part).double() for part in parts]
    if isinstance(record, ArrayRecord):
        return array(record)
    raise refused(type(record))


def refused(kind: type[Record]) -> UnpicklingError:
    """Return an error with the text in which torch names what it refuses."""
    name = next(name for name, record in NAMES.items() if record is kind)
    return UnpicklingError(f'GLOBAL {name}')


def dtype(record: object) -> np.dtype:
    """Return the number type that a record describes, made from our own table."""
    if not isinstance(record, DtypeRecord) or not record.args:
        raise UnpicklingError('An array of the file has no dtype.')
    code = record.args[0]
    if code not in NUMBERS:
        raise UnpicklingError(f'An array of the file is of dtype {code!r}, no number.')
    has_order = isinstance(record.state, tuple) and len(record.state) > 1
    return np.dtype(code).newbyteorder(
        '>' if has_order and record.state[1] == '>' else '<'
    )


def numbers(kind: np.dtype, data: object, shape: tuple, order: str) -> np.ndarray:
    """Read numbers from bytes, of which there must be as many as the shape needs."""
    if isinstance(data, str):  # pickle protocol 2 has no bytes, only text in latin-1
        data = data.encode('latin-1')
    good = (
        isinstance(data, bytes)
        and isinstance(shape, tuple)
        and len(shape) <= MAX_DIMS
        and all(type(side) is int and side >= 0 for side in shape)
        and len(data) == math.prod(shape) * kind.itemsize
    )
    if not good:
        raise UnpicklingError('An array of the file is damaged.')
    native = np.frombuffer(data, kind).astype(kind.newbyteorder('='))
    return native.reshape(shape, order=order)


def array(record: ArrayRecord) -> Tensor:
    """Return the tensor that the record of an array describes."""
    state = record.state if isinstance(record.state, tuple) else ()
    if len(state) != 5:
        raise UnpicklingError('An array of the file is damaged.')
    _, shape, kind, is_fortran, data = state
    order = 'F' if is_fortran else 'C'
    return torch.from_numpy(
        np.ascontiguousarray(numbers(dtype(kind), data, shape, order))
    )


def number(record: ScalarRecord) -> bool | int | float:
    """Return the number that the record of a numpy number describes."""
    if len(record.args) != 2:
        raise UnpicklingError('A number of the file is damaged.')
    kind, data = record.args
    return numbers(dtype(kind), data, (), 'C').item()
