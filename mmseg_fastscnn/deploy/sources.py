"""What a user names as sources of frames, and what their results are called."""

import glob
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from mmseg_fastscnn.file_kinds import IMAGES, VIDEOS
from mmseg_fastscnn.results import is_ours

STREAMS = ('rtsp://', 'rtmp://', 'http://', 'https://')

Tell = Callable[[str], None]  # what is told of something, in one sentence


class Source(NamedTuple):
    """A file, a camera or a network stream.

    Attributes:
        place: Path of the file, number of the camera or address of the stream.
        name: Relative path of its results, without suffix.
    """

    place: str
    name: Path

    @property
    def is_camera(self) -> bool:
        return self.place.isdecimal()

    @property
    def is_live(self) -> bool:
        """Whether its frames come as time passes."""
        return self.is_camera or self.place.startswith(STREAMS)

    @property
    def is_image(self) -> bool:
        return not self.is_live and Path(self.place).suffix.lower() in IMAGES


Words = str | Path | int | Source | Sequence[str | Path | int | Source]


def find_sources(words: Words, note: Tell) -> list[Source]:
    """Return the sources that a user names, each once, in the order given.

    Results are called after a file's place in the folder that was given, or in the part
    of a pattern before its first wildcard, else after the file. Where two would have
    the same name, it is made longer: by the suffix, or by folders above.

    Args:
        words: Files, patterns, folders (all images and videos in them, at any depth,
            but hidden ones and results of this program), numbers of cameras, addresses
            of network streams, or `-` for a list of these on the standard input, one
            per line.
        note: Is told which files of a folder are left out.

    Raises:
        FileNotFoundError: A source does not exist, or a pattern or a folder has no
            images and no videos.
        ValueError: A file is of no known kind.
    """
    found: list[Source] = []
    for word in listed(words):
        if isinstance(word, Source):
            found.append(word)
        elif word.isdecimal():
            found.append(Source(word, Path(f'camera_{word}')))
        elif word.startswith(STREAMS):
            found.append(Source(word, Path(name_of_address(word))))
        elif Path(word).is_dir():
            found += in_folder(Path(word), Path(word), note)
        elif Path(word).exists():
            found.append(known_file(Path(word), Path(Path(word).name)))
        else:
            found += in_pattern(word, note)
    by_place = {source.place: source for source in found}  # each once
    return with_own_names(list(by_place.values()))


def listed(words: Words) -> Iterator[str | Source]:
    """Yield the words, with the standard input's lines in place of `-`."""
    several = isinstance(words, Iterable) and not isinstance(words, str | Source)
    for word in words if several else [words]:
        if word == '-':
            yield from filter(None, (line.strip() for line in sys.stdin))
        else:
            yield word if isinstance(word, Source) else str(word)


def name_of_address(address: str) -> str:
    """Return a name for a stream, without its password and without slashes."""
    place = address.partition('://')[2].rpartition('@')[2]
    return re.sub(r'\W', '_', place)


def in_folder(folder: Path, root: Path, note: Tell) -> list[Source]:
    """Return the images and videos below a folder, named after their place in `root`.

    Raises:
        FileNotFoundError: It has none.
    """
    files = [
        path
        for path in sorted(folder.rglob('*'))
        if path.suffix.lower() in IMAGES + VIDEOS and path.is_file()
        # hidden ones are drafts, thumbnails and what other systems leave beside files
        if not any(part.startswith('.') for part in path.relative_to(folder).parts)
    ]
    results = {path for path in files if is_ours(path)}
    if results:
        note(f'{folder}: results of this program are left out ({len(results)}).')
    if len(files) == len(results):
        raise FileNotFoundError(
            f'{folder} has no images and no videos ({" ".join(IMAGES + VIDEOS)})'
            f'{", only results of this program" if results else ""}.'
        )
    return [
        known_file(path, path.relative_to(root))
        for path in files
        if path not in results
    ]


def in_pattern(pattern: str, note: Tell) -> list[Source]:
    """Return the files that a pattern matches, and those in folders that it matches.

    Raises:
        FileNotFoundError: There are none.
    """
    parts = Path(pattern).parts
    root = Path(*takewhile(lambda part: not re.search(r'[*?[]', part), parts))
    found = []
    for match in map(Path, sorted(glob.glob(pattern, recursive=True))):
        if match.is_dir() and '**' not in pattern:
            found += in_folder(match, root, note)
        elif not match.is_dir():
            found.append(known_file(match, match.relative_to(root)))
    if not found:
        raise FileNotFoundError(f'{pattern} does not exist, and no file matches it.')
    return found


def known_file(path: Path, name: Path) -> Source:
    """Return the source of a file; ValueError if it is of no known kind."""
    if path.suffix.lower() not in IMAGES + VIDEOS:
        raise ValueError(
            f'{path} is of no known kind. Known are images ({" ".join(IMAGES)}), '
            f'videos ({" ".join(VIDEOS)}), folders (whose other files are left '
            f'aside), numbers of cameras and addresses of streams '
            f'({" ".join(STREAMS)}); the model stands before them.'
        )
    return Source(str(path), name.with_suffix(''))


def with_own_names(sources: list[Source]) -> list[Source]:
    """Make the names of results longer where they are equal, until all differ.

    Files that differ by their suffix alone keep it; others get folders above them. An
    image and a video may have the same name: their results have other suffixes.
    """
    stems = Counter((stem_of(source), source.is_image) for source in sources)
    sources = [
        source._replace(name=source.name.with_name(Path(source.place).name))
        if stems[stem_of(source), source.is_image] > 1
        else source
        for source in sources
    ]
    while True:
        count = Counter((source.name, source.is_image) for source in sources)
        longer = [
            source._replace(name=with_folder(source))
            if count[source.name, source.is_image] > 1
            else source
            for source in sources
        ]
        if longer == sources:
            return sources
        sources = longer


def stem_of(source: Source) -> Path:
    """Return a file's path without suffix; for other sources, the source."""
    path = Path(source.place)
    return path if source.is_live else path.resolve().with_suffix('')


def with_folder(source: Source) -> Path:
    """Return the name with one more of the folders that the file is in, if any."""
    if source.is_live:
        return source.name
    folders = Path(source.place).resolve().parts[1:-1]
    depth = len(source.name.parts)  # of these, all but the last are folders already
    return Path(*folders[len(folders) - depth : len(folders) - depth + 1], source.name)
