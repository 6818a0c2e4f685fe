"""What the folders and the names of files say: image or label, and which split."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

SPLITS = {
    **{'train': 'train', 'training': 'train'},
    **{'val': 'val', 'valid': 'val', 'validation': 'val'},
    **{'test': 'test', 'testing': 'test'},
}
IMAGES = {
    *('image', 'images', 'img', 'imgs', 'jpegimages', 'leftimg8bit', 'photo', 'photos'),
    *('picture', 'pictures', 'rgb', 'frame', 'frames', 'input', 'inputs'),
}
LABELS = {
    *('label', 'labels', 'mask', 'masks', 'ann', 'anns', 'annot', 'annots'),
    *('annotation', 'annotations', 'gt', 'gtfine', 'groundtruth', 'truth', 'ground'),
    *('seg', 'segmentation', 'segmentations', 'segmentationclass', 'semantic'),
    *('segmentationclasspng', 'target', 'targets', 'json', 'jsons'),
}
EMPTY = {'dir', 'folder', 'data', 'set', 'default', ''}  # words that say nothing
# between words, before a year as in train2017, and in CamVid's trainannot
WORDS = re.compile(r'[_\-. ]+|\d{4}$|(?<=[nlt])(?=annot$)')
OF_LABEL = re.compile(
    r'[_\-. ](gtFine_label(Train)?Ids|masks?|labels?|gt|seg|segmentation|annot'
    r'|annotation|L)$',
    re.IGNORECASE,
)
OF_IMAGE = re.compile(r'[_\-. ](leftImg8bit|image|img|rgb)$', re.IGNORECASE)
# Pictures that are neither: instances, and drawings for people.
OTHERS = re.compile(
    r'segmentationobject|visuali[sz]ation|_gtFine_(color|instanceIds)',
    re.IGNORECASE,
)
ANY = 'any'  # split of an image whose path names none


class Place(NamedTuple):
    """What a path says.

    Attributes:
        split: 'train', 'val', 'test' or ''.
        role: 'image', 'label' or ''.
        folders: The folders that say neither.
        stem: The name without its suffix.
    """

    split: str
    role: str
    folders: str
    stem: str


def place_of(path: str) -> Place:
    """Read the path of a file below the user's folder."""
    pure = PurePosixPath(path)
    split = role = ''
    kept = []
    for folder in pure.parts[:-1]:
        words = WORDS.split(folder.lower())
        if not (SPLITS.keys() | IMAGES | LABELS | EMPTY).issuperset(words):
            kept.append(folder)
            continue
        for word in words:
            split = SPLITS.get(word, split)
            role = 'image' if word in IMAGES else 'label' if word in LABELS else role
    if not role and OF_LABEL.search(pure.stem):
        role = 'label'
    return Place(split, role, '/'.join(kept), pure.stem)


def split_of(*paths: str) -> str:
    """Return the split that the first of some paths names, '' if none does."""
    return next(filter(None, (place_of(path).split for path in paths)), '')


def match(images: Iterable[str], labels: Iterable[str]) -> tuple[dict, list[str]]:
    """Find the label of each image by its name.

    Args:
        images, labels: Paths below the user's folder.

    Returns:
        Image -> label, and one message for each image that has several.
    """
    by_key: dict[tuple, list[str]] = {}
    for label in labels:
        place = place_of(label)
        for stem in dict.fromkeys((place.stem, OF_LABEL.sub('', place.stem))):
            for split in dict.fromkeys((place.split, ANY)):
                by_key.setdefault((split, place.folders, stem), []).append(label)
    result, problems = {}, []
    for image in images:
        found = next((by_key[k] for k in keys_of(image) if k in by_key), [])
        if len(found) > 1:
            problems.append(f'{image} has several labels: {", ".join(found)}.')
        elif found:
            result[image] = found[0]
    return result, problems


def keys_of(image: str) -> Iterator[tuple[str, str, str]]:
    """Yield by which keys the label of an image is found, the surest first."""
    place = place_of(image)
    for stem in dict.fromkeys((place.stem, OF_IMAGE.sub('', place.stem))):
        for split in (place.split, '') if place.split else ('', ANY):
            yield split, place.folders, stem


def split_lists(files: Iterable[str]) -> dict[str, str]:
    """Return the text files that list the images of a split: split -> path."""
    result = {}
    for path in files:
        stem, suffix = os.path.splitext(os.path.basename(path))
        folder = os.path.basename(os.path.dirname(path)).lower()
        is_list = folder in ('', 'segmentation', 'imagesets', 'splits', 'lists')
        if suffix == '.txt' and stem.lower() in SPLITS and is_list:
            result[SPLITS[stem.lower()]] = path
    return result


def by_ending(paths: Iterable[str]) -> dict[str, list[str]]:
    """Return the paths by each of their endings: whole, without a folder, ...

    Lists and annotations name images relative to a folder that they do not name.
    """
    result: dict[str, list[str]] = {}
    for path in paths:
        parts = PurePosixPath(path).parts
        for k in range(len(parts)):
            result.setdefault('/'.join(parts[k:]), []).append(path)
    return result


def named_image(name: str, endings: dict[str, list[str]], near: str) -> str | None:
    """Return the image that an annotation names, None if there is none or several.

    Args:
        name: Its name, perhaps with folders of another machine.
        endings: From `by_ending`.
        near: The file that names it; an image in its folder comes first.
    """
    parts = PurePosixPath(name.replace('\\', '/')).parts
    split = split_of(near)
    for k in range(len(parts)):
        found = endings.get('/'.join(parts[k:]), [])
        beside = [f for f in found if os.path.dirname(f) == os.path.dirname(near)]
        alike = [f for f in found if split and split_of(f) == split]
        for some in (beside, alike, found):
            if len(some) == 1:
                return some[0]
    return None
