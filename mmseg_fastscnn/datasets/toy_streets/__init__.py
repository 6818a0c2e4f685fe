"""Synthetic street scenes in Cityscapes' format, drawn from a seed.

A scene is a small world in metres, seen by a camera 1.5 m above the road: x to the
right, y up, z away from the camera. It is painted back to front: sky, ground, what
lines the street, the objects from far to near, the bonnet; light and noise come last.

Read `canvas` (how shapes in metres become pixels), `vehicles` and `objects` (how each
thing is drawn), `street` (where things stand, and the finished scene), and then below
how scenes are written as a data set.
"""

import json
from collections.abc import Callable
from pathlib import Path

import cv2

from mmseg_fastscnn.datasets.toy_streets.street import draw_scene

__all__ = ['draw_scene', 'list_scenes', 'write_toy_streets']

VERSION = 1  # of the drawing: another version's files are not taken for this one's


def list_scenes(
    root: Path, num_train: int, num_val: int
) -> list[tuple[int, Path, Path]]:
    """Seed, path of the image and path of the labelIds of every scene."""
    scenes = []
    for split, first, count in (('train', 0, num_train), ('val', 10**6, num_val)):
        for index in range(count):
            name = f'{split}/toy/toy_{index:06d}_000019'
            image = root / f'leftImg8bit/{name}_leftImg8bit.png'
            label = root / f'gtFine/{name}_gtFine_labelIds.png'
            scenes.append((first + index, image, label))
    return scenes


def write_toy_streets(
    root: str | Path,
    size: tuple[int, int],
    num_train: int,
    num_val: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write toy scenes as a data set in Cityscapes' layout.

    `toy_streets.json`, written last, holds the parameters and marks a complete set: a
    second call with the same ones returns at once. After an interrupted call, the next
    one starts again and writes the same bytes.

    Args:
        root: Folder of the data set, made where it does not exist.
        size: (h, w) of the scenes.
        num_train: Number of scenes in `train`.
        num_val: Number of scenes in `val`, drawn from other seeds.
        progress: Called with (scenes written, scenes in all) after each scene.

    Raises:
        ValueError: The folder holds something else; nothing is written then.
        OSError: A file cannot be written.
    """
    root = Path(root)
    note, scenes = root / 'toy_streets.json', list_scenes(root, num_train, num_val)
    counts = {'num_train': num_train, 'num_val': num_val}
    wanted = json.dumps({'version': VERSION, 'size': [*map(int, size)], **counts})
    found = note.read_text() if note.exists() else None
    if found == wanted:
        return
    ours = {path for _, *paths in scenes for path in paths}
    others = [path for path in root.rglob('*') if path.is_file() and path not in ours]
    if others:
        raise ValueError(
            f'{root} holds {found or others[0]}, but toy streets with {wanted} need a '
            f'folder of their own: pass another root, or empty this one yourself.'
        )
    for done, (seed, *paths) in enumerate(scenes, 1):
        for path, pixels in zip(paths, draw_scene(seed, size), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not cv2.imwrite(str(path), pixels):
                raise OSError(f'Could not write {path}: is the disk full?')
        if progress:
            progress(done, len(scenes))
    note.write_text(wanted)
