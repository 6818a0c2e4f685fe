"""What config files themselves say: bases, variables, and which file set a key."""

import ast
import functools
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from mmengine.config import Config

MAX_DEPTH = 50  # of the collections of a YAML file


class YamlLoader(getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):
    """PyYAML's safe loader, which also reads the tuples that mmengine writes."""


YamlLoader.add_constructor(
    'tag:yaml.org,2002:python/tuple',
    lambda loader, node: tuple(loader.construct_sequence(node)),
)


@functools.lru_cache
def resolved(file: Path) -> Config:
    """Return the config of a file joined with its bases.

    All callers get the same object until `resolved.cache_clear()`, which `read_config`
    calls, so it must not be changed.
    """
    # not lazy: an `import` in a config would switch mmengine to its other format
    return Config.fromfile(file, lazy_import=False)


def data_of(file: Path) -> object:
    """Return the content of a YAML or JSON file, read without running code."""
    text = file.read_text(encoding='utf-8')
    if file.suffix == '.json':
        return json.loads(text)
    check_depth(text)
    return yaml.load(text, YamlLoader)


def check_depth(text: str) -> None:
    """Raise YAMLError for collections so deep that reading them ends the process."""
    depth = 0
    for event in yaml.parse(text, YamlLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise yaml.YAMLError(f'it is nested deeper than {MAX_DEPTH} levels')


def base_files(file: Path) -> list[Path]:
    """List the files that a config names in `_base_`.

    Those named by an environment variable or by an installed package (`mmdet::...`),
    which only mmengine finds, are left out.
    """
    names = [with_file_name(name, file) for name in base_names(file)]
    return [
        Path(os.path.abspath(file.parent / name))
        for name in names
        if '{{' not in name and '::' not in name
    ]


def base_names(file: Path) -> Sequence[str]:
    """Return the value of `_base_`; a single name becomes a list of one."""
    if file.suffix == '.py':
        names = base_in_python(file)
    else:
        data = data_of(file)
        names = data.get('_base_', []) if isinstance(data, dict) else []
    return [names] if isinstance(names, str) else names


def base_in_python(file: Path) -> str | Sequence[str]:
    """Return the value of `_base_` of a Python file."""
    for node in ast.parse(file.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and '_base_' in assigned_names(node):
            # like mmengine, which evaluates any expression, but without names in it
            return eval(compile(ast.Expression(node.value), str(file), 'eval'), {})
    return []


def with_file_name(text: str, file: Path) -> str:
    """Fill in mmengine's templates that stand for parts of the file's own path."""
    parts = dict(
        fileDirname=os.path.abspath(file.parent),
        fileBasename=file.name,
        fileBasenameNoExtension=file.stem,
        fileExtname=file.suffix,
    )
    for name, part in parts.items():
        text = re.sub(r'\{\{\s*' + name + r'\s*\}\}', lambda _, part=part: part, text)
    return text


def assigned_names(node: ast.Assign) -> set[str]:
    """Return the names on the left of `a = ...` or `a, b = ...`."""
    inside = [part for target in node.targets for part in ast.walk(target)]
    return {part.id for part in inside if isinstance(part, ast.Name)}


def names_in(file: Path) -> tuple[set[str], set[str], set[str]]:
    """Return three sets of names of a Python config file.

    Returns:
        Names that it assigns at the top level, names that it reads, and names that it
        reads from its bases (`_base_.NAME`).
    """
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
    """Return which file gave the key at `path` its value, or `--cfg-options`."""
    file = Path(config.filename)
    if not have_same_value(resolved(file), config, path):
        return '--cfg-options'
    while True:
        inherited = [
            base
            for base in base_files(file)
            if have_same_value(resolved(base), config, path)
        ]
        if not inherited:
            return str(file)
        file = inherited[-1]


def have_same_value(one: Config, other: Config, path: tuple) -> bool:
    """Return whether both configs have a value at `path`, and the same one."""
    values = []
    for value in (one, other):
        for key in path:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return False
        values.append(value)
    return values[0] == values[1]


def leaves(value: object, path: tuple = ()) -> Iterator[tuple[tuple, object]]:
    """Yield every value of a config that is not a dict, with its path."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from leaves(child, (*path, key))
    elif isinstance(value, list | tuple) and any(
        isinstance(v, Mapping | list) for v in value
    ):
        for k, child in enumerate(value):
            yield from leaves(child, (*path, k))
    else:
        yield path, value


def dotted(path: Sequence) -> str:
    return '.'.join(map(str, path))
