"""Classes, colours and ids of a data set: its own, joined with those of the config."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Protocol, TypedDict

import numpy as np

from mmseg_fastscnn.datasets.label_map import LabelMap

KEYS = ('classes', 'palette')


class MetaInfo(TypedDict, total=False):
    """Keys of `metainfo`; the config check reads them here."""

    classes: Sequence[str]
    palette: Sequence[Sequence[int]]


class Labelled(Protocol):
    """What a data set says about its label files."""

    METAINFO: Mapping
    LABEL_MAP: Mapping[int, int] | None
    reduce_zero_label: bool
    ignore_index: int


def complete_metainfo(dataset: type, metainfo: Mapping | None) -> dict:
    """Join a data set's own classes and palette with those of the config.

    Args:
        dataset: Its class, with `METAINFO`.
        metainfo: From the config; None counts as not given. Keys besides
            `classes` and `palette` are kept, as in mmengine, unless they look like one
            of these misspelt.

    Raises:
        ValueError: There are no classes, unknown ones, or another number of colours.
    """
    own = dataset.METAINFO
    given = {k: v for k, v in (metainfo or {}).items() if v is not None}
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


def make_label_map(
    dataset: Labelled, label_map: Mapping | None, metainfo: Mapping | None
) -> LabelMap:
    """Build the label map of a data set.

    Args:
        dataset: The data set; it may choose its `LABEL_MAP` when it is made.
        label_map: From the config.
        metainfo: From the config.

    Raises:
        ValueError: There are both a label map and `reduce_zero_label`, or a setting
            does not fit the classes.
    """
    complete = complete_metainfo(type(dataset), metainfo)
    classes, palette = complete['classes'], complete['palette']
    # VOC's colours, the default, say nothing about those in the label files
    is_given = (metainfo or {}).get('palette') is not None
    check_palette = is_given or 'palette' in dataset.METAINFO
    mapping = choose_label_map(dataset, label_map, classes)
    return LabelMap(mapping, len(classes), dataset.ignore_index, palette, check_palette)


def choose_label_map(
    dataset: Labelled, label_map: Mapping | None, classes: Sequence[str]
) -> Mapping:
    """Return the user's label map; else the data set's own, on the classes in use."""
    ignored = dataset.ignore_index
    if label_map is not None:
        if dataset.reduce_zero_label:
            raise ValueError(
                'reduce_zero_label=True is a label_map: 0 is ignored, k is class '
                'k - 1. Give one of the two.'
            )
        return label_map
    all_classes = dataset.METAINFO.get('classes', classes)
    raw_to_class = dataset.LABEL_MAP or {k: k for k in range(len(all_classes))}
    if dataset.reduce_zero_label:
        one_less = {k + 1: k for k in range(len(all_classes))}
        raw_to_class = {255: ignored, 0: ignored} | one_less
    train_id = {
        k: classes.index(name) for k, name in enumerate(all_classes) if name in classes
    }
    return {raw: train_id.get(k, ignored) for raw, k in raw_to_class.items()}


def check_length(palette: Sequence[Sequence[int]], classes: Sequence[str]) -> None:
    """Raise ValueError unless there is one colour per class."""
    if len(palette) != len(classes):
        raise ValueError(
            f'palette has {len(palette)} colours for {len(classes)} classes; give one '
            f'(r, g, b) per class.'
        )


def voc_palette(count: int) -> list[tuple[int, int, int]]:
    """Return PASCAL VOC's colours (r, g, b): an index's bits, spread from the top."""
    index = np.arange(count)[:, None]
    channel = np.arange(3)[None]
    colours = sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8))
    return [tuple(map(int, colour)) for colour in colours]
