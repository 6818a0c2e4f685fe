"""What a checkpoint names, as records that do nothing.

A file takes over a process by having it call what the file names, and names that look
harmless are enough: `numpy.ndarray` can be called to make an array of pointers that the
file chooses. So nothing that a file names is ever called. Each name that an honest
checkpoint holds stands for a record here, which keeps what the file says; other names
are refused. `tensors.py` turns records into tensors and plain values,
`arrays.py` those of numpy.
"""

from pickle import UnpicklingError

import torch


class Damaged(UnpicklingError):
    """Something in the file cannot be meant; the message says what."""


class Refused(UnpicklingError):
    """The file names something that is neither a tensor of numbers nor plain data."""


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


class OrderedDictRecord(dict):
    """`collections.OrderedDict`; its state, names of module versions, is left out."""

    def __setstate__(self, state: object) -> None:
        """Leave the object's own attributes as they are, above all its methods."""


class SetRecord(Record):
    """`set`; its argument is a list of the elements."""


class SizeRecord(Record):
    """`torch.Size`; its argument is a list or tuple of the sides."""


class DeviceRecord(Record):
    """`torch.device`; its arguments are a name and perhaps a number."""


class BytesRecord(Record):
    """Bytes; its arguments are a text and 'latin1', as old pickles have no bytes."""


class StorageRecord(Record):
    """The memory of tensors; its arguments are (kind, key, device, count)."""


class TensorRecord(Record):
    """A tensor; its arguments are (storage, offset, size, stride, ...)."""


class TypedTensorRecord(Record):
    """The same of an untyped storage; the seventh argument is the dtype."""


class ParameterRecord(Record):
    """`torch.nn.Parameter`; its first argument is a tensor."""


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
    'collections.OrderedDict': OrderedDictRecord,
    'builtins.set': SetRecord,
    'torch.Size': SizeRecord,
    'torch.device': DeviceRecord,
    '_codecs.encode': BytesRecord,
    'torch._utils._rebuild_tensor': TensorRecord,
    'torch._utils._rebuild_tensor_v2': TensorRecord,
    'torch._utils._rebuild_tensor_v3': TypedTensorRecord,
    'torch._utils._rebuild_parameter': ParameterRecord,
    'mmengine.logging.history_buffer.HistoryBuffer': HistoryRecord,
    'numpy.core.multiarray._reconstruct': ArrayRecord,  # numpy 1
    'numpy._core.multiarray._reconstruct': ArrayRecord,  # numpy 2
    'numpy.core.multiarray.scalar': ScalarRecord,
    'numpy._core.multiarray.scalar': ScalarRecord,
    'numpy.dtype': DtypeRecord,
    'numpy.ndarray': NdarrayRecord,
    'builtins.getattr': MethodRecord,
}
# Kinds of storages; quantised, complex and other numbers are in no weights.
STORAGES = {
    'FloatStorage': torch.float32,
    'DoubleStorage': torch.float64,
    'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16,
    'LongStorage': torch.int64,
    'IntStorage': torch.int32,
    'ShortStorage': torch.int16,
    'CharStorage': torch.int8,
    'ByteStorage': torch.uint8,
    'BoolStorage': torch.bool,
    'UntypedStorage': torch.uint8,
}
DTYPES = {str(dtype): dtype for dtype in STORAGES.values()}
MODULES_OF_STORAGES = ('torch', 'torch.cuda', 'torch.storage')


def named(module: str, name: str) -> type | str:
    """Return what stands for a name of a file: a record, or the name as a text.

    A text is a constant, which cannot be called.

    Raises:
        Refused: No honest checkpoint holds that name.
    """
    if module == '__builtin__':  # of Python 2, whose pickles torch writes
        module = 'builtins'
    full = f'{module}.{name}'
    if full in NAMES:
        return NAMES[full]
    is_storage = module in MODULES_OF_STORAGES and name in STORAGES
    if is_storage or full in DTYPES:
        return full
    raise Refused(full)


def name_of(kind: type) -> str:
    """Return the name for which a record stands."""
    names = (name for name, record in NAMES.items() if record is kind)
    return next(names, kind.__name__)
