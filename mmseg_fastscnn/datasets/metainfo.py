"""Class names and colours of a data set: its own, joined with those of the config."""

import difflib
from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np

KEYS = ('classes', 'palette')


class MetaInfo(TypedDict, total=False):
    """The config check reads the keys of `metainfo` here."""

    classes: Sequence[str]
    palette: Sequence[Sequence[int]]


def complete_metainfo(dataset: type, metainfo: Mapping | None) -> dict:
    """Join a data set's own classes and palette with those of the config.

    Args:
        dataset: Its class, with `METAINFO`.
        metainfo: From the config. Keys beside `classes` and `palette` are kept, as in
            mmengine, unless they look like one of these misspelt.

    Raises:
        ValueError: There are no classes, unknown ones, or another number of colours.
    """
    own, given = dataset.METAINFO, dict(metainfo or {})
    for key in given.keys() - {*KEYS, *own}:
        near = difflib.get_close_matches(str(key).lower(), KEYS, 1, 0.75)
        if near:
            raise ValueError(f'metainfo has no key {key!r}; did you mean {near[0]!r}?')
    result = {**own, **given}
    classes = result.get('classes')
    if not classes or isinstance(classes, str):
        raise ValueError(
            f'{dataset.__name__} has no class names (classes={classes!r}); set '
            f"metainfo=dict(classes=('road', ...)) in the config."
        )
    result['classes'] = classes = tuple(classes)
    all_classes = own.get('classes', classes)
    if not set(classes) <= set(all_classes):
        unknown = [name for name in classes if name not in all_classes]
        raise ValueError(
            f'{dataset.__name__} has no classes {unknown}; its classes are '
            f'{", ".join(all_classes)}. For other labels use SegDataset.'
        )
    if 'palette' in own and 'palette' not in given:
        check_length(own['palette'], all_classes)
        colours = dict(zip(all_classes, own['palette'], strict=True))
        result['palette'] = [colours[name] for name in classes]
    result.setdefault('palette', voc_palette(len(classes)))
    check_length(result['palette'], classes)
    result['palette'] = [tuple(colour) for colour in result['palette']]
    return result


def check_length(palette, classes) -> None:
    if len(palette) != len(classes):
        raise ValueError(
            f'palette has {len(palette)} colours for {len(classes)} classes; give one '
            f'(r, g, b) per class.'
        )


def has_own_palette(dataset: type, metainfo: Mapping | None) -> bool:
    """Whether somebody chose the colours, rather than getting VOC's by default."""
    return 'palette' in dataset.METAINFO or 'palette' in (metainfo or {})


def voc_palette(count: int) -> list[tuple[int, int, int]]:
    """PASCAL VOC's colours (r, g, b): bits of the index, spread from the highest."""
    index = np.arange(count)[:, None]
    channel = np.arange(3)[None]
    colours = sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8))
    return [tuple(map(int, colour)) for colour in colours]
