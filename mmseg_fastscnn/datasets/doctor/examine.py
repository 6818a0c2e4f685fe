"""Look at all files of all splits, and judge them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mmseg_fastscnn.datasets.doctor.crops import smaller_than_crop
from mmseg_fastscnn.datasets.doctor.dataset_facts import DatasetFacts
from mmseg_fastscnn.datasets.doctor.findings import Finding, file_findings, learnable
from mmseg_fastscnn.datasets.doctor.splits import between_splits
from mmseg_fastscnn.datasets.doctor.survey import survey
from mmseg_fastscnn.datasets.doctor.unusual import (
    lossy_labels,
    normalisation,
    repeated_files,
    unusual_files,
    without_labels,
)


@dataclass
class Report:
    """What was found in a data set.

    Attributes:
        source: The config or the folder.
        facts: Facts of each split.
        findings: Most grave ones first.
    """

    source: str
    facts: dict[str, DatasetFacts]
    findings: list[Finding]

    @property
    def works(self) -> bool:
        """Whether training could work with this data."""
        return not any(finding.stops for finding in self.findings)


def examine(
    source: str,
    splits: Mapping[str, Sequence],
    mean_and_std: tuple[Sequence[float], Sequence[float]] | None,
    processes: int,
    progress: Callable[[int, int], None] | None,
) -> Report:
    """Look at every file of some splits.

    Args:
        source: What the report calls the data.
        splits: Name of each split ('train', 'val', 'test') -> its data sets of files,
            not listed yet (`lazy_init=True`).
        mean_and_std: Those of the config's data preprocessor, in BGR order.
        processes: How many processes look at files.
        progress: Called with (images looked at, images in all) after each image.

    Raises:
        ValueError: A process was killed.
    """
    facts = survey(splits, processes, progress)
    findings = list(all_findings(facts, mean_and_std))
    return Report(source, facts, sorted(findings, key=lambda found: not found.stops))


def all_findings(
    facts: Mapping[str, DatasetFacts],
    mean_and_std: tuple[Sequence[float], Sequence[float]] | None,
) -> Iterator[Finding]:
    """Yield what was found, the most grave first among equals."""
    for name, split in facts.items():
        for text in split.skipped:
            yield Finding(False, f'{name}: {text}, so it was not looked at.')
        if name == 'train':
            yield from (found for found in learnable(split) if found.stops)
        elif name == 'test':  # training does not read it
            yield from (f._replace(stops=False) for f in file_findings(split))
        else:
            yield from file_findings(split)
        if name != 'test':
            yield from without_labels(split)
    yield from between_splits(facts)
    for name, split in facts.items():
        yield from lossy_labels(split)
        yield from unusual_files(split)
        yield from repeated_files(split)
        if name == 'train':
            yield from smaller_than_crop(split)
            if mean_and_std:
                yield from normalisation(split, *mean_and_std)
