"""A user's folder as data sets of a config; label PNGs and lists in a folder of ours.

photos/                 the user's: only read
photos.fastscnn/        ours
  labels/...png         drawn from shapes, if there are any
  train.txt, val.txt    an image and its label per line
  photos.py             the whole config
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mmseg_fastscnn.datasets.annotations import Found, read_folder
from mmseg_fastscnn.datasets.annotations.own_labels import draw_labels
from mmseg_fastscnn.datasets.annotations.palette import told_apart
from mmseg_fastscnn.datasets.doctor.findings import Finding
from mmseg_fastscnn.writing import whole_file

SPLITS = ('train', 'val', 'test')
NO_CLASS = 'the labels have no class: each pixel is ignored (255, for instance)'


@dataclass
class OwnData:
    """What was found in a folder, and where ours is.

    Attributes:
        folder: The user's folder, an absolute path.
        out: Our folder, an absolute path.
        found: Images, labels and classes; labels are paths now.
        drawn: Whether the labels are drawn by us, and so in our folder.
    """

    folder: Path
    out: Path
    found: Found
    drawn: bool

    def images(self, split: str) -> list[Path]:
        """Return the images of a split."""
        pairs = [pair for pair in self.found.pairs if pair.split == split]
        return [self.folder / pair.image for pair in pairs]

    @property
    def can_train(self) -> bool:
        """Whether there are classes, and images to train on and to validate with."""
        splits = {pair.split for pair in self.found.pairs}
        return bool(self.found.classes) and splits >= {'train', 'val'}

    def lines(self) -> Iterator[str]:
        """Say what was found, and how it is read."""
        found = self.found
        yield f'{self.folder}: {found.form}'
        counts = {split: len(self.images(split)) for split in SPLITS}
        shown = ', '.join(f'{split} {n}' for split, n in counts.items() if n)
        yield f'  images with labels: {shown or "none"}'
        yield f'  {len(found.classes)} classes: {", ".join(found.classes)}'
        if not self.drawn:
            yield f'  label_map (value in the files: class): {found.label_map}'
        yield from (f'  {note}' for note in found.notes)

    def findings(self) -> list[Finding]:
        """Return what cannot be used, each bad file by itself, and what is left out."""
        return [
            *(Finding(True, text) for text in self.found.problems),
            *([] if self.found.classes else [Finding(True, NO_CLASS)]),
            *(Finding(False, f'Left out: {text}') for text in self.found.left_out),
        ]

    def dataset(self, split: str, pipeline: list) -> dict:
        """Return the settings of a split's data set.

        Paths are relative to the folder that holds both folders, where there is one, so
        that the two can move together.
        """
        found, above = self.found, self.folder.parent
        root = above if self.out.parent == above else self.out
        labels = self.out if self.drawn else self.folder
        palette = found.palette or told_apart(found.classes)
        return dict(
            type='SegDataset',
            data_root=str(root),
            data_prefix=dict(
                img_path=below(root, self.folder), seg_map_path=below(root, labels)
            ),
            ann_file=below(root, self.out / f'{split}.txt'),
            seg_map_suffix=self.suffix,
            metainfo=dict(classes=found.classes, palette=palette),
            label_map=found.label_map,
            pipeline=pipeline,
        )

    @property
    def suffix(self) -> str:
        """What the names of all labels end in.

        Raises:
            ValueError: They do not end in one suffix.
        """
        suffixes = {os.path.splitext(pair.label)[1] for pair in self.found.pairs}
        if len(suffixes) != 1:
            raise ValueError(
                f'The labels in {self.folder} end in {", ".join(sorted(suffixes))}. '
                f'Save them all in one format, PNG for instance.'
            )
        return suffixes.pop()

    def write_lists(self) -> None:
        """Write one list per split: an image and its label per line.

        Raises:
            ValueError: A file is in the way, or a name would break a list.
        """
        for split in SPLITS:
            pairs = [pair for pair in self.found.pairs if pair.split == split]
            lines = [f'{pair.image}\t{pair.label}' for pair in pairs]
            for line in lines:
                if not line.replace('\t', '', 1).isprintable():
                    raise ValueError(
                        f'The name of an image or of its label has a character that '
                        f'cannot be printed: {line!a}. Rename the file.'
                    )
            if lines:
                write_text(self.out / f'{split}.txt', '\n'.join(lines) + '\n')


def below(root: Path, path: Path) -> str:
    """Return a path relative to a folder above it, or as it is."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def read_own_data(
    source: str | Path,
    out: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> OwnData:
    """Read a folder, and write labels and lists of it into a folder of ours.

    Args:
        source: The user's folder, to which nothing is written.
        out: Our folder; by default beside it, with the ending `.fastscnn`.
        progress: Called with (labels drawn, labels in all).

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It holds no annotations of a known kind, a class has a name that is
            no text, our folder lies in it, or a file is in the way.
    """
    folder = Path(source).resolve()
    out = Path(out or folder.with_name(f'{folder.name}.fastscnn')).resolve()
    if out.is_relative_to(folder):
        raise ValueError(
            f'{out} is in the data, in {folder}, where lists and labels of ours would '
            f'be taken for yours. Give another folder.'
        )
    found = read_folder(str(folder))
    drawn = not all(isinstance(pair.label, str) for pair in found.pairs)
    if drawn:
        draw_labels(found, out, progress)
    for name in found.classes:
        if not name.isprintable():  # nor could half of a surrogate pair be written
            raise ValueError(
                f'{folder}: a class is called {name!a}, which has a character that '
                f'cannot be printed. Give it another name.'
            )
    data = OwnData(folder, out, found, drawn)
    if data.can_train:
        data.write_lists()
    return data


HEADER = '# Written by fastscnn check; sha256 of what follows: {}\n'


def write_text(path: Path, text: str, first_line: str = '') -> None:
    """Write a text file of ours, never over one that a user wrote or changed.

    Args:
        path: The file.
        text: Its content.
        first_line: What stands above our own line.

    Raises:
        ValueError: The file exists, and is not as we wrote it.
    """
    if os.path.lexists(path) and not is_unchanged(path):
        raise ValueError(
            f'{path} exists and is not as this program wrote it. Remove or rename it '
            f'(`fastscnn check` also takes another place, --out); or leave it, and '
            f'train with a config that names it, not with the folder.'
        )
    digest = hashlib.sha256(text.encode()).hexdigest()
    with whole_file(path) as file:
        file.write((first_line + HEADER.format(digest) + text).encode())


def is_unchanged(path: Path) -> bool:
    """Return whether a text file is as `write_text` left it."""
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    for number, line in enumerate(lines[:2]):
        rest = b''.join(lines[number + 1 :])
        if line.decode(errors='replace') == HEADER.format(
            hashlib.sha256(rest).hexdigest()
        ):
            return True
    return False
