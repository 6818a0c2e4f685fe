"""Find the images of a data set and the label of each, in folders or by a split file.

A pair is a dict with `img_path`, `rel_path` (below the image folder, with its suffix)
and, where there are labels, `seg_map_path`.
"""

import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from mmseg_fastscnn.datasets.label_errors import shorten
from mmseg_fastscnn.datasets.split_file import SplitFile, ends_in
from mmseg_fastscnn.file_kinds import IMAGES

IMAGE_SUFFIXES = (*IMAGES, '.npy')


class DataPrefix(TypedDict, total=False):
    """Keys of `data_prefix`, which the config check reads here."""

    img_path: str
    seg_map_path: str


def list_pairs(
    folder: str,
    labels: str | None,
    img_suffix: Sequence[str],
    seg_map_suffix: str,
    ann_file: str,
    data_root: str,
) -> tuple[list[dict], list[Exception]]:
    """List all pairs, in the order of the names or of the split file.

    Args:
        folder: Folder of the images, searched through all levels and links to folders.
        labels: Folder of the labels; None if there are none.
        img_suffix: Suffixes of image names.
        seg_map_suffix: Suffix of label names.
        ann_file: Split file (see `split_file.py`); by default all images are used.
        data_root: Folder that lines of a split file may be relative to.

    Returns:
        The pairs, and what is wrong with some of them: a label is missing (its pair is
        in the list), an image of the split file is missing (it is not), two images
        differ only in their suffix.

    Raises:
        FileNotFoundError: A folder or the split file is missing, or all images.
        ValueError: The split file has a line that cannot be used.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f'The image folder {folder} does not exist. Set data_root '
            f'(--data-root) and data_prefix.img_path to where the images are.'
        )
    problems: list[Exception] = []
    if ann_file:
        roots = (folder, data_root)
        split = SplitFile(ann_file, roots, labels, img_suffix, seg_map_suffix)
        pairs, missing = split.pairs()
        problems += missing
    else:
        pairs = [
            dict(img_path=os.path.join(folder, name), rel_path=name)
            for name in image_names(folder, img_suffix)
        ]
    for pair in pairs:
        if labels and 'seg_map_path' not in pair:
            name = without_suffix(pair['rel_path'], img_suffix) + seg_map_suffix
            pair['seg_map_path'] = os.path.join(labels, name)
    problems += same_names(pairs, folder)
    problems += missing_labels(pairs, img_suffix, seg_map_suffix)
    return pairs, problems


def image_names(folder: str, suffixes: Sequence[str]) -> list[str]:
    """Return the paths, relative to `folder`, of all images below it, sorted."""
    names = sorted(name for name in files_below(folder) if ends_in(name, *suffixes))
    if not names:
        raise FileNotFoundError(
            f'No image ends in {" or ".join(suffixes)} below {folder}. '
            f'Correct data_prefix.img_path or img_suffix.'
        )
    return names


def files_below(folder: str | Path) -> Iterator[str]:
    """Yield the paths, relative to `folder` and with slashes, of all files below it.

    Hidden files and folders (names that begin with a dot, as `.ipynb_checkpoints`) are
    left out. Links to folders are followed after the folders themselves, but not to one
    that was visited already, nor to one that contains `folder`.
    """
    above = Path(folder).resolve()
    visited = {str(parent) for parent in above.parents}
    starts = deque([folder])
    while starts:
        for root, folders, files in os.walk(starts.popleft()):
            real = os.path.realpath(root)
            folders[:] = [name for name in folders if not name.startswith('.')]
            if real in visited:
                folders.clear()
                continue
            visited.add(real)
            links = (os.path.join(root, name) for name in sorted(folders))
            starts.extend(link for link in links if os.path.islink(link))
            for name in files:
                if not name.startswith('.'):
                    yield Path(root, name).relative_to(folder).as_posix()


def same_names(pairs: Sequence[dict], folder: str) -> Iterator[ValueError]:
    """Find images that would share a label or a prediction's name."""
    count = Counter(pair['rel_path'].rpartition('.')[0] for pair in pairs)
    twins = [name for name, times in count.items() if times > 1]
    if twins:
        yield ValueError(
            f'Below {folder}, images differ only in their suffix or are named '
            f'twice: {shorten(twins)}. They would share a label; remove one of '
            f'each, or set img_suffix.'
        )


def missing_labels(
    pairs: Sequence[dict], img_suffix: Sequence[str], seg_map_suffix: str
) -> Iterator[FileNotFoundError]:
    """Find images whose label is missing."""
    paths = [pair['seg_map_path'] for pair in pairs if 'seg_map_path' in pair]
    missing = [path for path in paths if not os.path.exists(path)]
    if missing:
        yield FileNotFoundError(
            f'{len(missing)} of {len(pairs)} pairs have no label: {shorten(missing)}. '
            f'Add the files, name in a split file (ann_file) the images to use, or '
            f'correct data_prefix, img_suffix={tuple(img_suffix)} or '
            f'seg_map_suffix={seg_map_suffix!r}. To predict without labels, set '
            f"data_prefix.seg_map_path=''."
        )


def without_suffix(name: str, suffixes: Sequence[str]) -> str:
    """Return the name without the first of the suffixes that it ends in."""
    suffix = next((suffix for suffix in suffixes if ends_in(name, suffix)), '')
    return name[: len(name) - len(suffix)]


def by_new_name(backend_args: dict | None) -> dict | None:
    """Call the local disk 'local', as mmengine's file backends do, and not 'disk'."""
    if backend_args and backend_args.get('backend') == 'disk':
        return dict(backend_args, backend='local')
    return backend_args


def check_local(backend_args: Mapping | None) -> None:
    """Raise ValueError for a file backend that is not the local disk."""
    if backend_args and backend_args.get('backend') not in ('local', 'disk'):
        raise ValueError(
            f'backend_args={dict(backend_args)}: labels and lists of files are read '
            f"from the local disk only. Leave it out, or set dict(backend='local')."
        )
