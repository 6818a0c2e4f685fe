"""OpenVINO, without the stack for signal handlers that it sets."""

import ctypes
import sys
from types import ModuleType


class SignalStack(ctypes.Structure):
    """`stack_t` of Linux: where a thread runs signal handlers."""

    _fields_ = [
        ('place', ctypes.c_void_p),
        ('flags', ctypes.c_int),
        ('size', ctypes.c_size_t),
    ]


def signal_stack() -> SignalStack:
    """Return the stack on which this thread runs signal handlers. Linux only."""
    stack = SignalStack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    return stack


def new_core(openvino: ModuleType):
    """Return an `openvino.Core` that knows the CPU.

    Where the CPU has AMX, OpenVINO sets a stack of 20 KB for signal handlers when it
    first looks at the CPU. The registers alone take most of it, so that Python's
    handlers (of Ctrl-C, of a child's end) overflow it, which crashes the process. So
    the stack before is set again.
    """
    core = openvino.Core()
    if sys.platform == 'linux':
        before = signal_stack()
        core.get_property('CPU', 'FULL_DEVICE_NAME')
        ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)
    return core
