"""Text files that name the images of a data set, in the forms that tools write."""

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from mmseg_fastscnn.datasets.label_errors import shorten


class SplitFile:
    """A text file that names one image per line, and perhaps its label.

    A line is the path of an image, relative to the image folder or else to the data
    root, or absolute but below one of them; with or without its suffix. A label may
    follow after a comma, a tab or spaces. Empty lines, and lines that begin with # and
    name no image, are comments. Backslashes separate folders where no such file exists.

    Args:
        path: Path of the split file.
        roots: Image folder and data root.
        labels: Folder of the labels, if there are any.
        img_suffix: Suffixes of image names.
        seg_map_suffix: Suffix of label names.
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

    def pairs(self) -> tuple[list[dict], list[FileNotFoundError]]:
        """Return one pair for each line that names an image, and what is missing."""
        pairs, missing = [], []
        for number, line in enumerate(text_lines(self.path), start=1):
            pair = self._pair(line, number) if line else None
            if pair:
                pairs.append(pair)
            elif line and not line.startswith('#'):
                missing.append(f'line {number}: {line}')
        if not missing:
            return pairs, []
        error = FileNotFoundError(
            f'{self.path} names {len(missing)} image(s) that do not exist below '
            f'{" or ".join(self.roots)}: {shorten(missing)}. Add the files, or '
            f'correct the lines, data_prefix.img_path, or '
            f'img_suffix={tuple(self.img_suffix)}.'
        )
        return pairs, [error]

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


def text_lines(path: str | Path) -> list[str]:
    """Return the lines of a text file, stripped; ValueError if it is not UTF-8."""
    try:
        text = Path(path).read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not UTF-8 text: {error}.') from error
    return [line.strip() for line in text.splitlines()]


def relative(name: str, root: str) -> str | None:
    """Path of a file relative to `root`; None if it is absolute and not below that."""
    if not os.path.isabs(name):
        return PurePosixPath(name).as_posix()
    path, root = os.path.abspath(name), os.path.abspath(root)
    if os.path.commonpath([path, root]) != root:
        return None
    return os.path.relpath(path, root)


def ends_in(name: str, *suffixes: str) -> bool:
    """Whether a file name has one of the suffixes, in small or capital letters."""
    return name.lower().endswith(tuple(suffix.lower() for suffix in suffixes))
