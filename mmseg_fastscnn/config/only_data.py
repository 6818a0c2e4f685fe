"""Configs that come from strangers: what may stand in one that is only data.

mmengine builds whatever a config names, imports a type with dots, the registry of a
scope and `custom_imports`. A `.py` config is a program and may do so. A YAML or JSON
config, and the text of a config inside a checkpoint, are data: they name registered
types, and nothing in them is imported or run.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from mmengine.config import Config

from mmseg_fastscnn.config.shipped import SHIPPED
from mmseg_fastscnn.registry import SCOPE

SCOPES = (SCOPE, 'mmseg', 'mmcv', 'mmengine')
MOST = 100_000  # values; aliases can make billions of a few lines
DEEPEST = 50
LONGEST = 2**20  # characters of a text

# A KeyError is mmengine's, for a name that it reserves.
UNREADABLE = (
    *(SyntaxError, RecursionError, MemoryError),
    *(KeyError, TypeError, UnicodeError),
)


def check_only_data(data: Mapping, name: str, kind: str, advice: str) -> None:
    """Refuse what would have mmengine import or run something.

    Args:
        data: The whole config.
        name: What error messages call the file.
        kind: What it is, as in 'a .yaml config'.
        advice: What to do, if code is meant.

    Raises:
        ValueError: It has `custom_imports`, a type with dots, an unknown scope or
            variable, or too many values.
    """

    def refuse(what: str, needed: str) -> None:
        raise ValueError(f'{name}: {what}, and {kind} is only data: {needed}. {advice}')

    wrong = [key for key in data if not isinstance(key, str)]
    if wrong:
        raise ValueError(f'{name}: the key {wrong[0]!r} is no text.')
    if 'custom_imports' in data:
        refuse('custom_imports would run modules', 'it imports none')
    for value in values_in(data, name):
        if not isinstance(value, Mapping):
            continue
        for key, item in value.items():
            names_a_type = key in ('type', 'constructor') or str(key).endswith('_type')
            if names_a_type and isinstance(item, str) and '.' in item:
                what = f'{key} is {item[:80]!r}'
                refuse(what, 'it names registered types, without dots')
            names_a_scope = key in ('_scope_', 'default_scope')
            if names_a_scope and item is not None and item not in SCOPES:
                refuse(f'{key} is {str(item)[:80]!r}', f'a scope is one of {SCOPES}')


def values_in(data: Mapping, name: str) -> Iterator[object]:
    """Yield all values inside of a config, up to a number and a depth.

    Raises:
        ValueError: There are more of them, or they are nested deeper.
    """
    left, count = [(data, 0)], 0
    while left:
        value, depth = left.pop()
        count += 1
        if count > MOST or depth > DEEPEST:
            raise ValueError(
                f'{name}: it has more than {MOST:,} values, or more than {DEEPEST} '
                f'levels.'
            )
        yield value
        inside = value.values() if isinstance(value, Mapping) else value
        if isinstance(value, Mapping | list | tuple | set):
            left += [(item, depth + 1) for item in inside]


def check_bases_are_data(names: list[str], file: Path) -> None:
    """Refuse a base that is a program, unless it is one of this project's own."""
    for name in names:
        base = (file.parent / name).resolve()
        is_ours = SHIPPED in base.parents
        if '::' in name or (base.suffix == '.py' and not is_ours):
            raise ValueError(
                f'{file}: _base_ names {name[:80]!r}, which is a program, and a '
                f'{file.suffix} config is only data: its bases are data, too, or lie '
                f'in {SHIPPED}. Write a .py config whose _base_ are both files.'
            )


# --- the text inside a checkpoint ----------------------------------------------------


def parse_config(text: str, name: str) -> Config:
    """Read the text of a config, as training writes it, without running it.

    Args:
        text: Assignments of literals, `dict(...)`, lists, tuples, and names assigned
            before.
        name: What error messages call it.

    Raises:
        ValueError: There is something else in it, or it is not only data.
    """
    if len(text) > LONGEST:
        raise ValueError(f'{name} has {len(text):,} characters, more than {LONGEST:,}.')
    try:
        tree = ast.parse(text)
        data = Evaluation(name).run(tree)
        check_only_data(
            data,
            name,
            'the config in a checkpoint',
            'Give the config file as well.',
        )
        return Config(data)
    except UNREADABLE as error:
        raise ValueError(
            f'{name} is not readable ({type(error).__name__}: {str(error)[:99]}). Give '
            f'the config file as well.'
        ) from error


class Evaluation:
    """The values of a text's assignments.

    Args:
        name: What error messages call the text.
    """

    def __init__(self, name: str):
        self.name = name
        self.values: dict[str, object] = {}
        self.sizes: dict[str, int] = {}
        self.count = 0

    def run(self, tree: ast.Module) -> dict[str, object]:
        for statement in tree.body:
            if isinstance(statement, ast.Expr) and self._is_text(statement.value):
                continue  # a docstring
            targets = getattr(statement, 'targets', ())
            if len(targets) != 1 or not isinstance(targets[0], ast.Name):
                self._refuse(statement)
            before, key = self.count, targets[0].id
            self.values[key] = self._value(statement.value)
            self.sizes[key] = self.count - before
        return self.values

    def _value(self, node: ast.expr) -> object:
        self.count += 1
        if self.count > MOST:
            raise ValueError(f'{self.name} has more than {MOST:,} values.')
        match node:
            case ast.Constant(value=None | bool() | int() | float() | str()):
                return node.value
            case ast.UnaryOp(
                op=ast.USub(), operand=ast.Constant(value=int() | float())
            ):
                return -node.operand.value
            case ast.List():
                return [self._value(item) for item in node.elts]
            case ast.Tuple():
                return tuple(self._value(item) for item in node.elts)
            case ast.Dict():
                return self._dict([], node.keys, node.values)
            case ast.Call(func=ast.Name(id='dict'), args=[] | [_]):
                keys = [k.arg and ast.Constant(k.arg) for k in node.keywords]
                return self._dict(node.args, keys, [k.value for k in node.keywords])
            case ast.Name() if node.id in self.values:
                self.count += self.sizes[node.id]
                return self.values[node.id]
        self._refuse(node)

    def _dict(self, start: list, keys: list, values: list) -> dict:
        """Return a dict; a key of None stands for `**`."""
        result: dict = {}
        pairs = zip([None] * len(start) + keys, start + values, strict=True)
        for key, node in pairs:
            value = self._value(node)
            if key is not None:
                if not isinstance(key, ast.Constant | ast.Tuple | ast.UnaryOp):
                    self._refuse(key)
                result[self._value(key)] = value
            elif isinstance(value, dict):
                result |= value
            else:
                self._refuse(node)
        return result

    @staticmethod
    def _is_text(node: ast.expr) -> bool:
        return isinstance(node, ast.Constant) and isinstance(node.value, str)

    def _refuse(self, node: ast.AST) -> None:
        raise ValueError(
            f'{self.name}, line {node.lineno}: {type(node).__name__} is no literal, '
            f'dict(...), list, tuple or name assigned before. It is not run. Give the '
            f'config file as well, if you trust it.'
        )
