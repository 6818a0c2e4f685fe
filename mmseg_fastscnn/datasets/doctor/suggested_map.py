"""The label map that would read labels, from the values in their files."""

from collections import Counter
from collections.abc import Mapping

from mmseg_fastscnn.structures import IGNORED

MOST = 40  # different values beyond which labels are no map of classes but a picture


def reading_map(values: Mapping, classes: int | None = None) -> dict | None:
    """Return a `label_map` that gives each value a class, in the order of the values.

    Args:
        values: Raw ids, or colours (r, g, b), -> pixels.
        classes: Number of classes, if it is known: then the values must be as many, not
            counting those for what is not labelled (255; 0 or black if there is one
            value too many).

    Returns:
        The map; None if there are too many values or they do not fit the classes.
    """
    ids = list(as_ids(values))
    if not ids or len(ids) > MOST:
        return None
    ignored = [value for value in (IGNORED, (255, 255, 255)) if value in ids]
    if ids == [0, IGNORED]:
        ignored = []  # a mask whose foreground is 255
    named = [value for value in ids if value not in ignored]
    if named and named[0] in (0, (0, 0, 0)) and classes == len(named) - 1:
        ignored.append(named.pop(0))
    if classes not in (None, len(named)):
        return None
    mapping = {value: train_id for train_id, value in enumerate(named)}
    return mapping | dict.fromkeys(ignored, IGNORED)


def as_ids(values: Mapping) -> dict:
    """Return values in order; the colours of a gray image as the ids that it holds."""
    colours = [value for value in values if isinstance(value, tuple)]
    if any(len(set(colour)) > 1 for colour in colours):
        # ids beside them would be of another kind of label
        return {colour: values[colour] for colour in sorted(colours)}
    merged: Counter = Counter()
    for value, count in values.items():
        merged[value[0] if isinstance(value, tuple) else value] += count
    return dict(sorted(merged.items()))
