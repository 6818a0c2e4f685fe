"""What a Python config file itself says: its bases, its variables, who set a key."""

import ast
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config


def resolved(file: Path) -> Config:
    """The config of a file; read again only when the file has changed."""
    return _resolved(file, file.stat().st_mtime_ns)


@functools.lru_cache
def _resolved(file: Path, changed: int) -> Config:
    return Config.fromfile(file)


def base_files(file: Path) -> list[Path]:
    """The files that a Python config names in `_base_`, as it names them."""
    if file.suffix != '.py':
        return []
    for node in ast.parse(file.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and '_base_' in assigned_names(node):
            names = ast.literal_eval(node.value)
            names = [names] if isinstance(names, str) else names
            return [(file.parent / n).resolve() for n in names if '{{' not in n]
    return []


def assigned_names(node: ast.Assign) -> set[str]:
    """Names on the left of `a = ...` or `a, b = ...`."""
    inside = [part for target in node.targets for part in ast.walk(target)]
    return {part.id for part in inside if isinstance(part, ast.Name)}


def names_in(file: Path) -> tuple[set[str], set[str], set[str]]:
    """Names a config file assigns at its top, reads, and reads of its bases."""
    tree = ast.parse(file.read_text(encoding='utf-8'))
    top = [node for node in tree.body if isinstance(node, ast.Assign)]
    assigned = set().union(*map(assigned_names, top)) - {'_base_'}
    read, of_base = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            read.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            of_base |= {node.attr} if node.value.id == '_base_' else set()
    return assigned, read, of_base


def origin(config: Config, path: tuple) -> str:
    """Return the file that gave the key at `path` its value, or `--cfg-options`."""
    file = Path(config.filename)
    if not same_there(resolved(file), config, path):
        return '--cfg-options'
    while True:
        inherited = [
            base
            for base in base_files(file)
            if same_there(resolved(base), config, path)
        ]
        if not inherited:
            return str(file)
        file = inherited[-1]


def leaves(value: object, path: tuple = ()) -> Iterator[tuple[tuple, object]]:
    """Every value of a config that is no dict, with its path."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from leaves(child, (*path, key))
    elif isinstance(value, list) and any(isinstance(v, Mapping | list) for v in value):
        for k, child in enumerate(value):
            yield from leaves(child, (*path, k))
    else:
        yield path, value


def same_there(one: Config, other: Config, path: tuple) -> bool:
    values = []
    for config in (one, other):
        value = config._cfg_dict
        for key in path:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return False
        values.append(value)
    return values[0] == values[1]


def dotted(path: Sequence) -> str:
    return '.'.join(map(str, path))
