"""Unpickle without calling anything, after a check of the instructions.

Python's unpickler is safe from code only if it finds no callable, which `records.named`
sees to. Three more things could end or stop the process: an index of its memory for
earlier values that is far beyond the values, a tuple so deep that taking its hash
overflows the stack, and long integers that all have the same hash.
"""

import pickle
import pickletools
from typing import BinaryIO

from mmseg_fastscnn.checkpoint.records import Damaged, StorageRecord, named

MAX_DEPTH = 64  # of containers in each other; honest checkpoints have about 6
LONGEST = 2**64
MARK = pickletools.markobject
# Instructions that change a value below others, and leave it where it is.
CHANGES = ('APPEND', 'APPENDS', 'SETITEM', 'SETITEMS', 'ADDITEMS', 'BUILD')


class Unpickler(pickle.Unpickler):
    """Python's unpickler, for which all names are records or constants.

    Attributes:
        kinds: Kind of each storage that was named, such as 'torch.FloatStorage'.
    """

    def __init__(self, file: BinaryIO):
        # texts of Python 2 may be bytes, of which latin-1 keeps every one
        super().__init__(file, encoding='latin-1')
        self.kinds: dict[str, str] = {}

    def find_class(self, module: str, name: str) -> type | str:
        return named(module, name)

    def persistent_load(self, identity: object) -> StorageRecord:
        """Return the storage that a tensor refers to."""
        is_storage = (
            isinstance(identity, tuple)
            and len(identity) >= 5
            and identity[0] == 'storage'
            and isinstance(identity[1], str)
            and type(identity[2]) is str
            and type(identity[4]) is int
            and identity[5:] in ((), (None,))  # a view of another, before torch 0.4
        )
        if not is_storage:
            raise Damaged('A tensor refers to something that is no storage.')
        self.kinds[identity[2]] = identity[1]
        return StorageRecord(*identity[1:5])


def unpickle(file: BinaryIO) -> tuple[object, dict[str, str]]:
    """Read one pickle, and leave the file behind it.

    Returns:
        What it says, and the kind of each storage that it names.

    Raises:
        Refused: It holds what no honest checkpoint holds.
        Exception: It is damaged; of many types.
    """
    start = file.tell()
    check_instructions(file)
    file.seek(start)
    unpickler = Unpickler(file)
    return unpickler.load(), unpickler.kinds


def check_instructions(file: BinaryIO) -> None:
    """Follow how deep each value is, without making any.

    Raises:
        Damaged: A value is too deep, or a number too large to be meant.
    """
    stack: list[int | None] = []  # depth of each value, None for a mark
    memory: dict[int, int] = {}
    for code, argument, position in pickletools.genops(file):
        if isinstance(argument, int) and abs(argument) >= LONGEST:
            raise Damaged('A number has more than 64 bits.')
        if code.name in ('PUT', 'BINPUT', 'LONG_BINPUT', 'MEMOIZE'):
            index = len(memory) if argument is None else argument
            if index > position:
                raise Damaged(f'The value number {index} comes too early.')
            memory[index] = stack[-1]
        elif code.name in ('GET', 'BINGET', 'LONG_BINGET'):
            stack.append(memory[argument])
        else:
            follow(code, stack)
            if stack and (stack[-1] or 0) > MAX_DEPTH:
                raise Damaged(f'Containers are nested deeper than {MAX_DEPTH} levels.')


def follow(code: pickletools.OpcodeInfo, stack: list[int | None]) -> None:
    """Change the stack of depths as an instruction changes the stack of values."""
    before = code.stack_before
    if code.name == 'MARK':
        stack.append(None)
        return
    inside = []
    if MARK in before:
        while (depth := stack.pop()) is not None:
            inside.append(depth)
        before = before[: before.index(MARK)]
    inside += [stack.pop() or 0 for _ in before]
    outside = inside.pop() if code.name in CHANGES else 0
    depth = max(outside, 1 + max(inside, default=-1))
    stack.extend(depth for _ in code.stack_after)
