"""Fine-tuning from other classes: copy classifier rows by class name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from mmseg_fastscnn.registry import DATASETS


@dataclass
class ClassReport:
    """From which of the checkpoint's classes each class started.

    Attributes:
        copied: The model's classes, and the checkpoint's whose rows they got.
        fresh: The model's classes without a counterpart.
        unused: The checkpoint's classes without a counterpart.
    """

    copied: dict[str, str]
    fresh: list[str]
    unused: list[str]

    def __str__(self) -> str:
        copied = [
            new if new == old else f'{new} (from {old})'
            for new, old in self.copied.items()
        ]
        groups = {
            'Classes taken over': copied,
            'starting fresh': self.fresh,
            'of the checkpoint, not used': self.unused,
        }
        return '; '.join(
            f'{what} ({len(names)}): {", ".join(names)}'
            for what, names in groups.items()
            if names
        )


def match_classes(
    new: Sequence[str], old: Sequence[str], aliases: Mapping[str, str]
) -> ClassReport:
    """Find for each new class the old class of its alias, or else of its own name.

    Args:
        new: The model's classes.
        old: The checkpoint's classes.
        aliases: For some new classes, the old class that means the same.

    Raises:
        ValueError: An alias is given for an unknown new class, or names an unknown old
            one.
    """
    for name, alias in aliases.items():
        for given, known in ((name, new), (alias, old)):
            if given not in known:
                raise ValueError(
                    f'class_aliases has {name!r}: {alias!r}, but {given!r} is none of '
                    f'{list(known)}.'
                )
    sources = {name: aliases.get(name, name) for name in new}
    copied = {name: source for name, source in sources.items() if source in old}
    fresh = [name for name in new if name not in copied]
    unused = [name for name in old if name not in copied.values()]
    return ClassReport(copied, fresh, unused)


def carry_over_classes(
    model: nn.Module,
    state_dict: Mapping[str, Tensor],
    new: Sequence[str],
    old: Sequence[str],
    aliases: Mapping[str, str],
) -> tuple[dict[str, Tensor], ClassReport]:
    """Fit the rows of every head's classifier to the model's classes.

    Args:
        model: Gives the rows of classes that start fresh.
        state_dict: The checkpoint's tensors.
        new: The model's classes.
        old: The checkpoint's classes.
        aliases: For some new classes, the old class that means the same.

    Returns:
        The tensors, with classifiers of the model's shape, and a report of the classes.
    """
    report = match_classes(new, old, aliases)
    rows = [new.index(name) for name in report.copied]
    sources = [old.index(name) for name in report.copied.values()]
    result = dict(state_dict)
    for name, fresh in model.state_dict().items():
        stored = state_dict.get(name)
        if '.conv_seg.' not in name or stored is None or not stored.dim():
            continue
        if len(stored) == len(old) and stored.shape[1:] == fresh.shape[1:]:
            merged = fresh.clone()
            merged[rows] = stored[sources].to(merged)
            result[name] = merged
    return result, report


def read_classes(source: str) -> list[str]:
    """Return the class names that `--classes-from` means.

    Args:
        source: A text file with one class name per line, or the type of a data set.

    Raises:
        ValueError: It is neither.
    """
    if Path(source).is_file():
        try:
            lines = Path(source).read_text(encoding='utf-8').splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f'--classes-from {source} is no text: {error}.') from error
        return [line.strip() for line in lines if line.strip()]
    dataset = DATASETS.get(source)
    if dataset is None or not getattr(dataset, 'METAINFO', {}).get('classes'):
        raise ValueError(
            f'--classes-from {source}: neither a text file with one class per line '
            f'nor a data set that has classes, such as CityscapesDataset.'
        )
    return list(dataset.METAINFO['classes'])
