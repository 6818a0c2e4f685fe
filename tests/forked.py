"""Commands in forks of a process that has imported the package.

A start of Python with torch and mmengine takes seconds; a fork takes none. Like a
started one, it is a process of its own with its own arguments and environment, and
nothing that earlier tests did is in it.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest import mock

IMPORTED = [
    *(f'mmseg_fastscnn.{room}' for room in ('models', 'datasets', 'evaluation')),
    *('mmseg_fastscnn.engine.runner', 'mmseg_fastscnn.apis', 'matplotlib.pyplot'),
    # what torch and mmengine import when a training begins
    *('torch._dynamo', 'torch.utils.cpp_extension'),
]


def forks() -> multiprocessing.context.BaseContext:
    """Return what makes processes; the server of the forks does the imports once."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(IMPORTED)
    return context


def run_forked(
    words: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float
) -> tuple[int, str]:
    """Run a Python file in a fork; return its exit status and what it printed."""
    with tempfile.NamedTemporaryFile('r') as output:
        given = (list(words), cwd, dict(env), output.name)
        process = forks().Process(target=execute, args=given)
        with mock.patch.dict(os.environ, env):  # the server, too, should have it
            process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f'{words} runs for more than {timeout} s')
        return process.exitcode, output.read()


def execute(words: list[str], cwd: Path, env: dict[str, str], output: str) -> None:
    """Be the process: arguments, environment and output are those of a command."""
    with open(output, 'a') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None  # so that TMPDIR counts
    os.chdir(cwd)
    sys.argv = words
    multiprocessing.set_start_method(None, force=True)  # as where Python starts anew
    runpy.run_path(words[0], run_name='__main__')
