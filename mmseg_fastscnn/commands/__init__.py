"""The commands, one file per verb: `fastscnn VERB` and `tools/VERB.py` run them.

Each file has `parse_args`, and `main`, which does the work. Nothing heavy is imported
at the top of a file, so that `--help` answers at once: `main` imports what it needs.
"""

import difflib
import os
import re
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import NoReturn

VERBS = (
    *('check', 'train', 'test', 'predict', 'demo', 'export', 'share'),
    *('report', 'compare', 'sweep', 'robustness', 'benchmark', 'get_flops'),
    *('browse_dataset', 'pack_dataset', 'soft_labels', 'make_toy_streets'),
    *('print_config', 'convert_config', 'convert_checkpoint', 'publish_model'),
)
SPINNING = ('predict', 'demo', 'benchmark', 'export')  # they say what a frame takes
MISTAKE = 2  # exit status after a user's mistake, as argparse's
INTERRUPTED = 130  # after Ctrl-C, as the shell's


class Parser(ArgumentParser):
    """Says what is wrong in one message, without the list of all options before it."""

    def error(self, message: str) -> NoReturn:
        what, _, given = message.partition(' arguments: ')
        if what == 'unrecognized':
            known = re.findall(r'--[a-z][\w-]*', self.format_usage())
            first = given.partition(' ')[0]
            for hint in difflib.get_close_matches(first, known, n=1):
                message += f'; did you mean {hint}?'
        self.exit(MISTAKE, f'{self.prog}: {message} (see {self.prog} --help)\n')


def run(verb: str, words: Sequence[str] | None = None, name: str | None = None) -> None:
    """Run a command: read its arguments, then do its work.

    Args:
        verb: One of `VERBS`.
        words: The arguments; by default those of the process.
        name: What the command calls itself in messages; by default the file's name.

    Raises:
        SystemExit: After `--help` or a mistake, see `run_command`.
    """
    module = command(verb)
    parser = Parser(
        prog=name,
        description=module.__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    args = module.parse_args(parser, words)
    if verb not in SPINNING:
        # Threads sleep while they wait: spinning ones take the cores from loading
        # workers and other programs. It must be set before torch is imported.
        os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
    is_there = all(find_spec(package) for package in ('torch', 'mmengine'))
    # to import torch takes longer than to start the runtime of an exported file
    is_needed = getattr(module, 'needs_torch', lambda args: True)(args)
    name_of_entrance = 'entrance' if is_there and is_needed else 'without_torch'
    entrance = import_module(f'{__name__}.{name_of_entrance}')
    entrance.run_command(partial(module.main, args), name)


def command(verb: str) -> ModuleType:
    return import_module(f'{__name__}.{verb}')
