"""What a checkpoint must look like: one check of all parts that are used later."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from mmseg_fastscnn.checkpoint.records import DTYPES, Damaged
from mmseg_fastscnn.checkpoint.weights_hash import HASHED, weights_sha256

KNOWN = set(DTYPES.values())
Check = Callable[[object], bool]


def describe(value: object) -> str:
    """Say in a few words what a value of a file is."""
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix('torch.')
        return f'a {kind} tensor of shape {list(value.shape)}'
    if isinstance(value, str | bytes):
        return f'the text {value[:40]!r}'
    if value is None or isinstance(value, bool | int | float):
        return repr(value)[:40]
    return f'a {type(value).__name__} of {len(value)}'


def has_text_keys(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def is_names(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(x, str) for x in value)


def is_palette(value: object) -> bool:
    if isinstance(value, Tensor):
        value = value.tolist()
    return isinstance(value, list | tuple) and all(
        isinstance(colour, list | tuple)
        and len(colour) == 3
        and all(type(part) is int and 0 <= part <= 255 for part in colour)
        for colour in value
    )


def is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**32


def is_text(value: object) -> bool:
    return isinstance(value, str)


# For each place what stands there, and its check. A part may also be absent or None.
SCHEMA: dict[tuple[str, ...], tuple[str, Check]] = {
    ('state_dict',): ('named tensors', has_text_keys),
    ('ema_state_dict',): ('named tensors', has_text_keys),
    ('meta',): ('a dict', has_text_keys),
    ('meta', 'cfg'): ('the text of a config', is_text),
    ('meta', 'config'): ('the text of a config', is_text),
    ('meta', 'seed'): ('an integer of 32 bits', is_count),
    ('meta', 'images_per_step'): ('a number of images', is_count),
    ('meta', 'CLASSES'): ('a list of names', is_names),
    ('meta', 'PALETTE'): ('a list of colours (r, g, b)', is_palette),
    ('meta', 'sha256'): ('a dict', has_text_keys),
    ('meta', 'dataset_meta'): ('a dict', has_text_keys),
    ('meta', 'dataset_meta', 'classes'): ('a list of names', is_names),
    ('meta', 'dataset_meta', 'palette'): ('a list of colours (r, g, b)', is_palette),
    ('optimizer',): ('a dict', has_text_keys),
    ('message_hub',): ('a dict', has_text_keys),
    ('message_hub', 'log_scalars'): ('a dict', has_text_keys),
    ('message_hub', 'runtime_info'): ('a dict', has_text_keys),
}


def check_structure(content: Mapping) -> None:
    """Check the parts of a checkpoint, and that its weights are whole.

    Numbers that training logged may be nan or infinite, as losses of skipped steps are.
    Weights, averaged weights and the state of the optimizer must be finite.

    Raises:
        Damaged: A part is of another kind than it should be, a tensor is not finite, or
            the weights have another hash than the file says.
    """
    for place, (needed, check) in SCHEMA.items():
        found = content
        for key in place:
            found = found.get(key) if found is not None else None
        if found is not None and not check(found):
            raise Damaged(f'{".".join(place)} is {describe(found)}, not {needed}.')
    for key in HASHED:
        for name, value in (content.get(key) or {}).items():
            if not isinstance(value, Tensor) or value.dtype not in KNOWN:
                raise Damaged(
                    f'{key} has {describe(value)} as {name[:99]!r}, where a tensor of '
                    f'numbers should be.'
                )
    check_hashes(content)
    for key in (*HASHED, 'optimizer'):
        check_finite(content.get(key), key)


def check_hashes(content: Mapping) -> None:
    """Raise Damaged if weights have another hash than the file promises."""
    promised = (content.get('meta') or {}).get('sha256') or {}
    for key in HASHED:
        if content.get(key) and key in promised:
            found = weights_sha256(content[key])
            if found != promised[key]:
                raise Damaged(
                    f'The sha256 of its {key} is {found[:8]}..., where the file '
                    f'promises {str(promised[key])[:8]}...: its weights were changed.'
                )


def check_finite(value: object, name: str) -> None:
    """Raise Damaged if a tensor has values that are nan, infinite or beyond float32."""
    for path, tensor in tensors_in(value, name):
        if tensor.is_floating_point():
            bad = int((~torch.isfinite(tensor.float())).sum())
            if bad:
                raise Damaged(
                    f'{path} has {bad} of {tensor.numel()} values that are not finite '
                    f'(nan or infinite).'
                )


def tensors_in(value: object, name: str) -> Iterator[tuple[str, Tensor]]:
    """Yield each tensor inside of a value, with its path."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from tensors_in(item, f'{name}.{str(key)[:99]}')
    elif isinstance(value, list | tuple):
        for k, item in enumerate(value):
            yield from tensors_in(item, f'{name}.{k}')
