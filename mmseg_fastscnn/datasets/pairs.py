"""Find the images of a data set and the label of each, in folders or by a split file.

A pair is a dict with `img_path`, `rel_path` (below the image folder, with its suffix)
and, where there are labels, `seg_map_path`.
"""

import os
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from mmengine.fileio import list_from_file

from mmseg_fastscnn.datasets.label_map import shorten


def find_pairs(
    folder: str,
    labels: str | None,
    img_suffix: Sequence[str],
    seg_map_suffix: str,
    ann_file: str = '',
    data_root: str = '',
) -> list[dict]:
    """List all pairs, in the order of the names or of the split file.

    Args:
        folder: Of the images, searched through all levels and links to folders.
        labels: Folder of the labels; None if there are none.
        img_suffix: What image names end in.
        seg_map_suffix: What label names end in.
        ann_file: A split file; see `SplitFile`.
        data_root: What lines of a split file may be relative to.

    Raises:
        FileNotFoundError: A folder, the split file, an image or a label is missing.
        ValueError: Two images differ only in their suffix, or the split file has a
            line that cannot be used.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f'The image folder {folder} does not exist. Set data_root '
            f'(--data-root) and data_prefix.img_path to where the images are.'
        )
    if ann_file:
        roots = (folder, data_root)
        split = SplitFile(ann_file, roots, labels, img_suffix, seg_map_suffix)
        pairs = split.pairs()
    else:
        pairs = [
            dict(img_path=os.path.join(folder, name), rel_path=name)
            for name in image_names(folder, img_suffix)
        ]
    for pair in pairs:
        if labels and 'seg_map_path' not in pair:
            name = without_suffix(pair['rel_path'], img_suffix) + seg_map_suffix
            pair['seg_map_path'] = os.path.join(labels, name)
    check_names(pairs, folder)
    check_labels(pairs, img_suffix, seg_map_suffix)
    return pairs


def image_names(folder: str, suffixes: Sequence[str]) -> list[str]:
    """Paths relative to `folder` of all images below it, sorted.

    Hidden files and folders (names that begin with a dot, as `.ipynb_checkpoints`) are
    no part of a data set.
    """
    names = sorted(
        Path(root, name).relative_to(folder).as_posix()
        for root, files in walk(folder)
        for name in files
        if ends_in(name, *suffixes) and not name.startswith('.')
    )
    if not names:
        raise FileNotFoundError(
            f'No image ends in {" or ".join(suffixes)} below {folder}. '
            f'Correct data_prefix.img_path or img_suffix.'
        )
    return names


def walk(folder: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder below and its files, real ones first, each real one once.

    Links to folders are followed, but not to one that was visited already, nor to one
    that contains `folder`.
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
            yield root, files


def check_names(pairs: Sequence[dict], folder: str) -> None:
    """Raise ValueError if two images would share a label or a prediction's name."""
    count = Counter(pair['rel_path'].rpartition('.')[0] for pair in pairs)
    twins = [name for name, times in count.items() if times > 1]
    if twins:
        raise ValueError(
            f'Below {folder}, images differ only in their suffix or are named '
            f'twice: {shorten(twins)}. They would share a label; remove one of '
            f'each, or set img_suffix.'
        )


def check_labels(
    pairs: Sequence[dict], img_suffix: Sequence[str], seg_map_suffix: str
) -> None:
    """Raise FileNotFoundError if there are images whose label is missing."""
    paths = [pair['seg_map_path'] for pair in pairs if 'seg_map_path' in pair]
    missing = [path for path in paths if not os.path.exists(path)]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(pairs)} pairs have no label: {shorten(missing)}. '
            f'Add the files, name in a split file (ann_file) the images to use, or '
            f'correct data_prefix, img_suffix={tuple(img_suffix)} or '
            f'seg_map_suffix={seg_map_suffix!r}. To predict without labels, set '
            f"data_prefix.seg_map_path=''."
        )


class SplitFile:
    """A text file that names one image per line, and perhaps its label.

    A line is the path of an image, relative to the image folder or else to the data
    root, or absolute but below one of them; with or without its suffix. A label may
    follow after a comma, a tab or spaces. Empty lines, and lines that begin with # and
    name no image, are comments. Backslashes separate folders where no such file exists.

    Args:
        path: Of the file.
        roots: Image folder and data root.
        labels: Folder of the labels, if there are any.
        img_suffix: What image names end in.
        seg_map_suffix: What label names end in.
    """

    def __init__(
        self,
        path: str,
        roots: Sequence[str],
        labels: str | None,
        img_suffix: Sequence[str],
        seg_map_suffix: str,
    ):
        if not os.path.isfile(path):
            raise FileNotFoundError(f'The split file {path} is missing.')
        self.path = path
        self.folder = roots[0]
        self.roots = list(dict.fromkeys(root for root in roots if root))
        self.labels = labels
        self.img_suffix = img_suffix
        self.seg_map_suffix = seg_map_suffix

    def pairs(self) -> list[dict]:
        """Return one pair for each line that is not a comment."""
        pairs, missing = [], []
        for number, line in enumerate(list_from_file(self.path), start=1):
            line = line.removeprefix('\ufeff').strip()
            pair = self._pair(line, number) if line else None
            if pair:
                pairs.append(pair)
            elif line and not line.startswith('#'):
                missing.append(f'line {number}: {line}')
        if missing:
            raise FileNotFoundError(
                f'{self.path} names {len(missing)} image(s) that do not exist below '
                f'{" or ".join(self.roots)}: {shorten(missing)}. Add the files, or '
                f'correct the lines, data_prefix.img_path, or '
                f'img_suffix={tuple(self.img_suffix)}.'
            )
        return pairs

    def _pair(self, line: str, number: int) -> dict | None:
        for name in (line, line.replace('\\', '/')):
            if pair := self._image(name, number):
                return pair
            for separator in (r'\s*,\s*', r'\t+', r'\s+'):
                columns = re.split(separator, name)
                if len(columns) == 2 and (pair := self._image(columns[0], number)):
                    return dict(pair, seg_map_path=self._label(columns[1], number))
        return None

    def _image(self, name: str, number: int) -> dict | None:
        suffixes = ('',) if ends_in(name, *self.img_suffix) else self.img_suffix
        found = self._find(name, number, self.roots, suffixes)
        if found is None:
            return None
        path = os.path.join(*found)
        # by its place in the image folder, from which follow the names of its label
        # and of its prediction, even if the line names it from the data root
        rel_path = relative(os.path.abspath(path), self.folder) or found[1]
        return dict(img_path=path, rel_path=rel_path)

    def _label(self, name: str, number: int) -> str:
        roots = [root for root in (self.labels, self.roots[-1]) if root]
        found = self._find(name, number, roots, ('', self.seg_map_suffix))
        if found is None:
            raise FileNotFoundError(
                f'{self.path}, line {number}: the label {name} does not exist below '
                f'{" or ".join(roots)}.'
            )
        if not ends_in(found[1], self.seg_map_suffix):
            raise ValueError(
                f'{self.path}, line {number}: the label {name} does not end in '
                f'seg_map_suffix={self.seg_map_suffix!r}. Labels of another kind may '
                f'have other ids; set seg_map_suffix to what the labels end in.'
            )
        return os.path.join(*found)

    def _find(
        self, name: str, number: int, roots: Sequence[str], suffixes: Sequence[str]
    ) -> tuple[str, str] | None:
        """Return the root that a file lies below, and its path relative to that."""
        if '..' in PurePosixPath(name).parts:
            raise ValueError(
                f'{self.path}, line {number}: {name} leaves its folder by "..". Name '
                f'files below {" or ".join(roots)}; set data_root to a folder that '
                f'contains them all.'
            )
        inside = [relative(name, root) for root in roots]
        if os.path.exists(name) and os.path.isabs(name) and not any(inside):
            raise ValueError(
                f'{self.path}, line {number}: {name} is not below '
                f'{" or ".join(roots)}. Set data_root to a folder that contains it.'
            )
        for root, rel_path in zip(roots, inside, strict=True):
            for suffix in suffixes if rel_path else ():
                if os.path.isfile(os.path.join(root, rel_path + suffix)):
                    return root, rel_path + suffix
        return None


def relative(name: str, root: str) -> str | None:
    """Path of a file relative to `root`; None if it is absolute and not below that."""
    if not os.path.isabs(name):
        return PurePosixPath(name).as_posix()
    path, root = os.path.abspath(name), os.path.abspath(root)
    if os.path.commonpath([path, root]) != root:
        return None
    return os.path.relpath(path, root)


def without_suffix(name: str, suffixes: Sequence[str]) -> str:
    """The name without the first of the suffixes that it ends in."""
    suffix = next((suffix for suffix in suffixes if ends_in(name, suffix)), '')
    return name[: len(name) - len(suffix)]


def ends_in(name: str, *suffixes: str) -> bool:
    """Whether a file name has one of the suffixes, in small or capital letters."""
    return name.lower().endswith(tuple(suffix.lower() for suffix in suffixes))
