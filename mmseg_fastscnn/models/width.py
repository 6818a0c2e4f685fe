"""The network made wider or narrower by one number."""

import inspect

from mmseg_fastscnn.registry import MODELS

STEP = 8  # channels are multiples of it, which CPUs and GPUs compute fastest


def with_width(part: dict, width: float, fixed: str) -> dict:
    """Return the config of a part of the model with its channels times a width.

    Args:
        part: Config of the backbone or of a head.
        width: The factor.
        fixed: The channels that stay: those of the image, or of the classes.

    Raises:
        ValueError: The width is not positive.
    """
    if not width > 0:
        raise ValueError(f'width is {width}; it must be over 0.')
    values = {**defaults_of(part), **part}
    scaled = {
        key: times(value, width)
        for key, value in values.items()
        if key.endswith('channels') and key != fixed and value is not None
    }
    return {**part, **scaled}


def defaults_of(part: dict) -> dict:
    """Return the default arguments of the class that a config names."""
    parameters = inspect.signature(MODELS.get(part['type'])).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def times(channels: int | tuple[int, ...], width: float) -> int | tuple[int, ...]:
    if not isinstance(channels, int):
        return tuple(times(one, width) for one in channels)
    return max(STEP, int(channels * width / STEP + 0.5) * STEP)
