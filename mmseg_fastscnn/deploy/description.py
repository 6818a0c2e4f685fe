"""What an exported file says of itself, so that it needs no config."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from mmseg_fastscnn.file_hash import file_hash

KEY = 'mmseg_fastscnn'  # under which a format that can holds the description
FORM = 1  # raise it when older versions could not read the file


@dataclass(frozen=True)
class Description:
    """How frames go into an exported network, and what its results mean.

    Attributes:
        classes: Name of each class.
        palette: (r, g, b) of each class.
        output: 'labels' (N, H, W) uint8; 'logits' (N, C, h, w) before they are
            interpolated to the frame's size; 'probabilities' (N, C, H, W).
        precision: 'fp32', 'bf16', 'fp16' or 'int8'.
        channels: Number of channels of a frame; BGR if there are 3.
        size: (h, w) of all frames where the file is for one size only, else None.
        scale: (w, h) that frames are fitted into first, as `Resize` of the test
            pipeline does, or None.
        keep_ratio: Whether their aspect ratio is kept.
        size_divisor: The network pads frames, at the right and bottom, to a multiple of
            it. Labels and probabilities are cropped back; logits have the padding, too.
        align_corners: How logits are to be interpolated.
        threshold: Probability over which a single channel means class 1; None where
            there is one channel per class.
        checkpoint_sha256: Hash of the checkpoint that was exported.
        version: Version of this project that wrote the file.
        parts: (suffix, sha256) of each further file that the exported one is made of.
    """

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    output: str
    precision: str
    channels: int
    size: tuple[int, int] | None
    scale: tuple[int, int] | None
    keep_ratio: bool
    size_divisor: int
    align_corners: bool
    threshold: float | None
    checkpoint_sha256: str | None
    version: str
    parts: tuple[tuple[str, str], ...] = ()

    def padded(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (h, w) that frames of a size have in the network."""
        return tuple(-(-side // self.size_divisor) * self.size_divisor for side in size)

    def to_json(self) -> str:
        return json.dumps(dict(form=FORM, **asdict(self)))

    @classmethod
    def from_json(cls, text: str | None, path: str | Path) -> 'Description':
        """Read a description that `to_json` wrote.

        Raises:
            ValueError: There is none, or it is not complete.
        """
        advice = 'Export the checkpoint again with tools/export.py.'
        if not text:
            raise ValueError(
                f'{path} does not say how it was made: it is not a file of '
                f'tools/export.py, or its description was lost. {advice}'
            )
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ValueError(f'{path}: its description is damaged. {advice}') from error
        if not isinstance(content, Mapping) or content.pop('form', None) != FORM:
            raise ValueError(
                f'{path} was exported by another version of this project. {advice}'
            )
        names = {field.name for field in fields(cls)}
        if set(content) != names:
            lacking = sorted(names - set(content))
            raise ValueError(f'{path}: its description lacks {lacking}. {advice}')
        return cls(**{name: frozen(value) for name, value in content.items()})


def check_classes(
    file: str | Path, found: Sequence[str], needed: Sequence[str], data: str
) -> None:
    """Raise ValueError unless a model has the classes of some data, in their order."""
    if tuple(found) != tuple(needed):
        raise ValueError(
            f'{file} has the classes {", ".join(found)}, and the {data} data of the '
            f'config has {", ".join(needed)}. Give the config of this model, or a '
            f'model of these classes.'
        )


def digests(path: Path, suffixes: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return (suffix, sha256) of the files beside a path with other suffixes."""
    return tuple((suffix, file_hash(path.with_suffix(suffix))) for suffix in suffixes)


def needed_beside(path: Path, suffix: str) -> Path:
    """Return the file that stands beside an exported one.

    Raises:
        FileNotFoundError: It is missing.
    """
    part = path.with_suffix(suffix)
    if not part.is_file():
        raise FileNotFoundError(
            f'{part} does not exist; {path} needs it. Copy both, under one name.'
        )
    return part


def check_parts(description: Description, path: Path) -> None:
    """Check that the files which make up an exported one belong together.

    A runtime would load weights of another network of the same sizes without a word.

    Raises:
        FileNotFoundError: One of them is missing.
        ValueError: One of them is damaged, cut short or of another export.
    """
    for suffix, digest in description.parts:
        part = needed_beside(path, suffix)
        if file_hash(part) != digest:
            raise ValueError(
                f'{part} is damaged, cut short or of another export than what stands '
                f'beside it. Export the checkpoint again with tools/export.py.'
            )


def frozen(value: object) -> object:
    """Return lists as tuples, as before they were written."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(frozen(part) for part in value)
    return value
