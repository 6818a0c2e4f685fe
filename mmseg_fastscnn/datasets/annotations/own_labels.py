"""Draw shapes once, as label PNGs in a folder of ours.

Ids in the files: 0 where there is no shape, 1, 2, ... the names in order, 255 what is
not counted. `labels.json` says from which shapes each file was drawn, so that it is
drawn anew only if these change.
"""

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import cv2

from mmseg_fastscnn.datasets.annotations.found import Found
from mmseg_fastscnn.datasets.annotations.shapes import BACKGROUND, IGNORE
from mmseg_fastscnn.results import check_may_write, write_png
from mmseg_fastscnn.structures import IGNORED
from mmseg_fastscnn.writing import whole_file

LABELS, STATE = 'labels', 'labels.json'
FEW = 0.05  # share of pixels without a shape up to which these are gaps, not a class


def draw_labels(
    found: Found, folder: Path, progress: Callable[[int, int], None] | None
) -> None:
    """Draw the label of each pair, and set classes and label map.

    Args:
        found: Pairs with drawings, which get paths instead.
        folder: Folder of ours, in which the labels are written.
        progress: Called with (labels drawn, labels in all).

    Raises:
        ValueError: There are too many classes, a file is in the way, or two labels
            would be one file.
    """
    names = class_names(found)
    ids = {name: k for k, name in enumerate(names, 1)}
    ids |= dict.fromkeys(IGNORE, IGNORED)
    before, after, drawn_for = state_of(folder), {}, {}
    for done, pair in enumerate(found.pairs, 1):
        name = PurePosixPath(LABELS, pair.image).with_suffix('.png').as_posix()
        other = drawn_for.setdefault(name, pair.image)
        if other != pair.image:
            raise ValueError(
                f'{other} and {pair.image} differ only in their suffix, so their '
                f'labels would be one file. Rename one of the images.'
            )
        digest, path = pair.label.digest(ids), folder / name
        check_may_write(path)
        drawn = before.get(name)
        if drawn is None or drawn[0] != digest or not path.exists():
            label = pair.label.draw(ids)
            write_png(path, label)
            drawn = digest, label.size - cv2.countNonZero(label), label.size
        after[name] = drawn
        pair.label = name
        if progress:
            progress(done, len(found.pairs))
    with whole_file(folder / STATE) as file:
        file.write(json.dumps(after, indent=0).encode())
    pixels = sum(total for _, _, total in after.values())
    uncovered = sum(n for _, n, _ in after.values()) / max(pixels, 1)
    name_background(found, names, uncovered)


def state_of(folder: Path) -> dict[str, list]:
    """Return what was drawn before: name -> digest, pixels without a shape, pixels."""
    try:
        state = json.loads((folder / STATE).read_bytes())
        return {
            name: (str(d), int(n), int(total)) for name, (d, n, total) in state.items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{folder / STATE} is damaged ({error}). Remove it; the labels are drawn '
            f'again.'
        ) from error


def class_names(found: Found) -> list[str]:
    """Return the names of the shapes: in the order of a list, or of the alphabet.

    Raises:
        ValueError: There are none, or more than ids in a label PNG.
    """
    used = {shape.name for pair in found.pairs for shape in pair.label.shapes}
    used -= set(IGNORE)
    absent = [name for name in found.classes if name not in used]
    if absent:
        found.notes.append(f'{", ".join(absent)}: no shape has it, so it is no class.')
    listed = [name for name in found.classes if name in used]
    names = listed + sorted(used - set(listed), key=lambda name: (name.lower(), name))
    if len(names) >= IGNORED:
        raise ValueError(
            f'The shapes have {len(names)} different names; a label PNG holds at most '
            f'254 classes. Are these names of objects, not of classes?'
        )
    return names


def name_background(found: Found, names: list[str], uncovered: float) -> None:
    """Say what pixels without a shape are: gaps, or a class of their own."""
    share = f'{100 * uncovered:.1f} % of the pixels have no shape'
    own = next((name for name in names if name.lower() in BACKGROUND), None)
    if own is None and uncovered > FEW:
        own, names = 'background', ['background', *names]
        found.label_map = {k: k for k in range(len(names))}
        found.notes.append(f'{share}: they are the class background.')
    else:
        found.label_map = {k: k - 1 for k in range(1, len(names) + 1)}
        found.label_map[0] = IGNORED if own is None else names.index(own)
        is_class = f'the class {own}' if own else 'ignored, as gaps between shapes'
        found.notes.append(f'{share}: they are {is_class}.')
    found.label_map[IGNORED] = IGNORED
    found.classes = names
