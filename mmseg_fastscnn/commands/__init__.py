"""The commands, one file per verb: `fastscnn VERB` and `tools/VERB.py` run them.

Each file has `parse_args`, and `main`, which does the work. Nothing heavy is imported
at the top of a file, so that `--help` answers at once: `main` imports what it needs.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from types import ModuleType

VERBS = (
    *('check', 'train', 'test', 'predict', 'demo', 'export', 'share'),
    *('report', 'compare', 'sweep', 'robustness', 'benchmark', 'get_flops'),
    *('browse_dataset', 'pack_dataset', 'make_toy_streets', 'print_config'),
    *('convert_config', 'convert_checkpoint', 'publish_model'),
)
MISTAKE = 2  # exit status after a user's mistake, as argparse's


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
    parser = ArgumentParser(
        prog=name,
        description=module.__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    args = module.parse_args(parser, words)
    from mmseg_fastscnn.commands.entrance import run_command

    run_command(partial(module.main, args), name)


def command(verb: str) -> ModuleType:
    return import_module(f'{__name__}.{verb}')
