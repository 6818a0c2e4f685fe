"""Read a config file with its bases: one config, or one clear error.

A Python config is a program, and reading it runs it. YAML and JSON are data, and
reading them here never runs code; mmengine would build any object that a YAML file
names.
"""

import ast
import copy
import difflib
import json
import os
import re
import traceback
from importlib.util import find_spec
from pathlib import Path

import yaml
from mmengine.config import Config

from mmseg_fastscnn.config.only_data import check_bases_are_data, check_only_data
from mmseg_fastscnn.config.shipped import CONFIGS
from mmseg_fastscnn.config.source import (
    base_files,
    base_names,
    data_of,
    dotted,
    leaves,
    resolved,
)
from mmseg_fastscnn.file_kinds import CHECKPOINTS, CONFIG_FILES

ARCHIVES = ('.zip', '.tar', '.gz', '.tgz', '.7z', '.rar')


def read_config(path: str | Path) -> Config:
    """Read a config file with its bases.

    Args:
        path: The file; or the name of a shipped one, where there is no such file.

    Raises:
        FileNotFoundError: The file, or one of its bases, does not exist.
        ValueError: A file cannot be read as a config: it is not text, has a syntax
            error, fails while it runs, has code in YAML, is in mmengine's import
            format, or is its own base. The message has the file and, if known, the
            line.
    """
    file = Path(path)
    if not file.exists() and (CONFIGS / file).is_file():
        file = CONFIGS / file
    if not file.is_file():
        raise FileNotFoundError(no_file(file))
    files = check_files(file, ())
    resolved.cache_clear()  # a file may have changed since
    try:
        config = copy.deepcopy(resolved(file))
    except Exception as error:
        raise ValueError(f'{place(error, files, file)}: {in_words(error)}') from error
    for name in [name for name in config if isinstance(config[name], type)]:
        config.pop(name)  # an imported class; mmengine drops functions and modules only
    for key, value in leaves(config.to_dict()):
        if callable(value):
            raise ValueError(
                f'{file}: {dotted(key)} is {value!r}. Write the name of a class or '
                f'function as a string: a config is also written to a file.'
            )
    return config


def no_file(file: Path) -> str:
    """Say that there is no such config, and which name is meant perhaps."""
    if file.is_dir():
        return f'The config {file} is a folder; name a file in it.'
    shipped = sorted(other.name for other in CONFIGS.glob('*.py'))
    beside = [p.name for p in file.parent.glob('*') if p.is_dir() or p.suffix == '.py']
    hint = difflib.get_close_matches(file.name, shipped + beside, n=1)
    meant = f'; did you mean {hint[0]}?' if hint else '.'
    return (
        f'{file} is no file and no folder{meant} '
        f'Shipped configs are {", ".join(shipped)}.'
    )


# --- before it is read ---------------------------------------------------------------


def check_files(file: Path, heirs: tuple[Path, ...]) -> set[Path]:
    """Check that a file and its bases can be read; return all of these files.

    Args:
        file: An existing file.
        heirs: The chain of files that led to it by `_base_`, from the first one on.
    """
    if file in heirs:
        chain = ' -> '.join(str(each) for each in (*heirs, file))
        raise ValueError(f'A config cannot be its own base: {chain}.')
    try:
        check_text(file)
        bases = base_files(file)
    except (SyntaxError, yaml.YAMLError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f'{file} is not readable: {error}') from error
    for name in base_names(file):
        package = name.partition('::')[0] if '::' in name else None
        if package and find_spec(package) is None:
            raise ValueError(
                f'{file} has {name!r} in _base_, a config of the package {package}, '
                f'which is not installed. Give the path of a file.'
            )
    files = {file}
    for base in bases:
        if not base.is_file():
            raise FileNotFoundError(
                f'{base}, which {file} names in _base_, is no file. Names in _base_ '
                f'are relative to the file that they stand in.'
            )
        files |= check_files(base, (*heirs, file))
    return files


def check_text(file: Path) -> None:
    """Raise ValueError unless the file holds a config in a format that is read here."""
    if file.suffix.lower() in ARCHIVES:
        raise ValueError(f'{file} is an archive; unpack it, and give the folder.')
    if file.suffix in CHECKPOINTS:
        raise ValueError(
            f'{file} is a checkpoint, and a config is needed in its place. --help '
            f'shows the order of both.'
        )
    if file.suffix not in CONFIG_FILES:
        raise ValueError(f'The config {file} must end in {", ".join(CONFIG_FILES)}.')
    try:
        text = file.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise ValueError(f'The config {file} is not UTF-8 text: {error}.') from error
    if '\0' in text:
        raise ValueError(f'The config {file} is not UTF-8 text: there are null bytes.')
    if text.startswith('\ufeff'):
        raise ValueError(
            f'The config {file} begins with a byte-order mark; save it as UTF-8 '
            f'without one.'
        )
    if file.suffix == '.py':
        check_format(file, ast.parse(text, str(file)))
    else:
        check_data(file, text)
    try:
        names = base_names(file)
    except Exception as error:
        raise ValueError(
            f'{file}: _base_ must be plain file names ({in_words(error)}).'
        ) from error
    if not (isinstance(names, list) and all(is_file_name(n) for n in names)):
        shown = repr(names)[:200]
        raise ValueError(f'{file}: _base_ must be a file or a list, not {shown}.')
    if file.suffix != '.py':
        check_bases_are_data(names, file)


def is_file_name(name: object) -> bool:
    return isinstance(name, str) and name.isprintable() and len(name) < 1000


def check_format(file: Path, tree: ast.Module) -> None:
    """Refuse mmengine's newer format, whose bases and types are imports."""
    for node in ast.walk(tree):
        if getattr(node, 'id', None) == 'read_base' or getattr(node, 'level', 0):
            raise ValueError(
                f"{file}, line {node.lineno}: this is mmengine's newer format "
                f'(read_base, relative imports), which is not read here. Name base '
                f"files as in _base_ = ['base.py'], and types as in type='FastSCNN'."
            )


def check_data(file: Path, text: str) -> None:
    """Refuse YAML or JSON that holds anything but keys and plain data."""
    if '{{' in text:
        # mmengine fills them in before parsing: what is checked here would not be read
        raise ValueError(f'{file}: templates ({{{{ }}}}) are for .py configs.')
    data = data_of(file)
    if not isinstance(data, dict):
        raise ValueError(f'{file} holds no keys, but a {type(data).__name__}.')
    check_only_data(
        data,
        str(file),
        f'a {file.suffix} config',
        'Write a .py config whose _base_ is this file.',
    )


# --- when reading fails --------------------------------------------------------------


def place(error: Exception, files: set[Path], file: Path) -> str:
    """Say in which file, and if known in which line, reading failed."""
    names = {os.path.abspath(each) for each in files}
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f'{f.filename}, line {f.lineno}' for f in frames if f.filename in names]
    return lines[-1] if lines else str(file_at_fault(file))


def file_at_fault(file: Path) -> Path:
    """Find the deepest base that cannot be read, or the file itself."""
    for base in base_files(file):
        try:
            resolved(base)
        except Exception:
            return file_at_fault(base)
    return file


def in_words(error: Exception) -> str:
    """Say what was wrong, and for mmengine's own errors what to do."""
    text = str(error.args[0]) if isinstance(error, KeyError) else str(error)
    clash = re.match(r'(\w+)=.* is of type <class \'(\w+)\'> in base', text, re.DOTALL)
    if clash:
        key, kind = clash.groups()
        return (
            f'{key} is a dict here and {kind.replace("NoneType", "None")} in a base '
            f'file, so that the two cannot be joined. To replace it, write '
            f'{key}=dict(_delete_=True, ...).'
        )
    if isinstance(error, ImportError) and 'custom modules' in text:
        return (
            f'custom_imports: {error.__cause__}. The folder of the module must be in '
            f'PYTHONPATH.'
        )
    return f'{type(error).__name__}: {text}'
