"""A config as Python text, quickly.

mmengine lets yapf lay out the text, each time that a checkpoint is written. That takes
a fifth of a second, and several seconds for a label map of twenty ids.
"""

from collections.abc import Mapping
from keyword import iskeyword

from mmengine.config import Config

WIDTH = 88
BRACKETS = {list: ('[', ']'), tuple: ('(', ')')}


class QuickConfig(Config):
    """mmengine's Config, whose text is made by `config_text`."""

    @property
    def pretty_text(self) -> str:
        return config_text(self)


def config_text(config: Config) -> str:
    """Return a config as the text of a config file, keys in the order of the alphabet.

    Reading the text gives the same values. mmengine would fill in what stands behind
    `{{` in a config file, also in a string, and so run what a class name says.
    """
    items = sorted(config.to_dict().items())
    lines = [f'{key} = {as_text(value, len(key) + 3)}\n' for key, value in items]
    return ''.join(lines).replace('{{', r'{\x7b')  # which only strings have


def as_text(value: object, used: int = 0, indent: int = 0) -> str:
    """Return a value as Python text, on several lines where it does not fit on one.

    Args:
        value: A value of a config: dict, list, tuple or plain value.
        used: Characters that stand before it on its line, the indent among them.
        indent: Spaces at the beginning of its line.
    """
    line = on_one_line(value)
    if used + len(line) < WIDTH or not isinstance(value, Mapping | list | tuple):
        return line
    inner, pad = indent + 4, ' ' * (indent + 4)
    if isinstance(value, Mapping):
        opening, separator, closing = ('dict(', '=', ')')
        if not has_names(value):
            opening, separator, closing = '{', ': ', '}'
        heads = [f'{k if separator == "=" else repr(k)}{separator}' for k in value]
        items = zip(heads, value.values(), strict=True)
    else:
        opening, closing = BRACKETS[type(value)]
        items = (('', item) for item in value)
    lines = [
        f'{pad}{head}{as_text(item, inner + len(head) + 1, inner)},\n'
        for head, item in items
    ]
    return f'{opening}\n{"".join(lines)}{" " * indent}{closing}'


def on_one_line(value: object) -> str:
    """Return a value as Python text on one line."""
    if isinstance(value, Mapping):
        if has_names(value):
            parts = [f'{k}={on_one_line(v)}' for k, v in value.items()]
            return f'dict({", ".join(parts)})'
        parts = [f'{k!r}: {on_one_line(v)}' for k, v in value.items()]
        return f'{{{", ".join(parts)}}}'
    if type(value) in BRACKETS:
        opening, closing = BRACKETS[type(value)]
        text = ', '.join(map(on_one_line, value))
        comma = ',' if isinstance(value, tuple) and len(value) == 1 else ''
        return f'{opening}{text}{comma}{closing}'
    return repr(value)


def has_names(value: Mapping) -> bool:
    """Return whether a dict can be written as `dict(key=value)`."""
    return bool(value) and all(
        isinstance(k, str) and k.isidentifier() and not iskeyword(k) for k in value
    )
