"""What readers return: images, what is drawn on each, classes, and what is wrong."""

import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mmseg_fastscnn.datasets.annotations.shapes import Drawing
from mmseg_fastscnn.datasets.pairs import IMAGE_SUFFIXES, files_below
from mmseg_fastscnn.datasets.split_file import ends_in, text_lines


@dataclass
class Pair:
    """An image and its label.

    Attributes:
        image: Path below the folder, with slashes.
        label: Path of a label image below the folder, or shapes still to be drawn.
        split: 'train', 'val' or 'test'; '' if nothing says which.
    """

    image: str
    label: str | Drawing
    split: str = ''


@dataclass
class Found:
    """What a reader found in a folder.

    Attributes:
        form: Kind of the annotations, for people.
        pairs: Images with their labels.
        classes: Names of the classes, in order.
        label_map: Raw id or colour (r, g, b) -> train id, of label images.
        palette: (r, g, b) of each class; empty if the files give none.
        problems: One message for each file that cannot be used.
        left_out: Messages about images and labels that are not used.
        notes: How the files are read.
    """

    form: str
    pairs: list[Pair]
    classes: list[str] = field(default_factory=list)
    label_map: dict = field(default_factory=dict)
    palette: list[tuple[int, int, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Folder:
    """A user's folder: its files, listed once.

    Args:
        root: Path of the folder.

    Raises:
        FileNotFoundError: There is no such folder.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)
        if not self.root.is_dir():
            raise FileNotFoundError(f'{root} is no folder.')

    @cached_property
    def files(self) -> list[str]:
        """Paths of all files below, with slashes; without hidden ones."""
        return sorted(files_below(self.root))

    @cached_property
    def images(self) -> list[str]:
        return [name for name in self.files if ends_in(name, *IMAGE_SUFFIXES)]

    @cached_property
    def json_files(self) -> dict[str, object]:
        """Content of each JSON file; the error of one that cannot be read."""
        result: dict[str, object] = {}
        for name in self.files:
            if ends_in(name, '.json'):
                try:
                    result[name] = json.loads((self.root / name).read_bytes())
                except (ValueError, OSError, RecursionError) as error:
                    result[name] = error
        return result

    def named(self, *names: str) -> str | None:
        """Return the file of one of these names that lies least deep, if any."""
        matching = [f for f in self.files if os.path.basename(f).lower() in names]
        return min(matching, key=lambda f: (f.count('/'), f), default=None)

    def lines(self, name: str) -> list[str]:
        """Return the lines of a text file that are not empty.

        Raises:
            ValueError: It is not UTF-8 text.
        """
        return [line for line in text_lines(self.root / name) if line]
