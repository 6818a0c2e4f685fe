"""Packages that only some users need, imported where they are needed."""

from importlib import import_module
from types import ModuleType


def needed(module: str, purpose: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: Its name, perhaps with dots.
        purpose: What needs it, in the message if it is not there.

    Raises:
        ImportError: It cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split('.')[0]
        raise ImportError(
            f'{purpose} needs {package}, which cannot be imported ({error}): '
            f'pip install {package}'
        ) from error
