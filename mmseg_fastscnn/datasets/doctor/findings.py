"""What keeps training from reading the files of a split, or from learning from them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mmseg_fastscnn.datasets.doctor.dataset_facts import DatasetFacts, sum_counts
from mmseg_fastscnn.datasets.doctor.facts import PairFacts
from mmseg_fastscnn.datasets.doctor.suggested_map import reading_map
from mmseg_fastscnn.datasets.label_errors import SHOWN, shorten

NAMED = 3  # files that a message names at most
TITLES = {
    'image': 'images cannot be read',
    'label': 'labels cannot be read',
    'grid': 'labels do not lie on their images',
}


class Finding(NamedTuple):
    """Something in a run or in its data that does not fit together.

    Attributes:
        stops: Whether the run cannot work like this.
        text: What was found, and what to do.
        files: The files that it is about, if it is about some.
        pairs: Images to show as examples, with their labels.
    """

    stops: bool
    text: str
    files: Sequence[str] = ()
    pairs: Sequence[PairFacts] = ()


def name_some(texts: Sequence[str], separator: str = ', ') -> str:
    """Join the first few of some texts, and say how many more there are."""
    more = [f'... {len(texts) - NAMED} more'] if len(texts) > NAMED else []
    return separator.join([*texts[:NAMED], *more])


def file_findings(facts: DatasetFacts) -> Iterator[Finding]:
    """Find what keeps training from reading the files that were looked at."""
    for text in facts.missing:
        yield Finding(True, f'{facts.name}: {text}')
    for kind, title in TITLES.items():
        pairs = [pair for pair in facts.pairs if kind in pair.errors]
        if pairs:
            reasons = name_some([pair.errors[kind] for pair in pairs], ' ')
            files = [p.image if kind == 'image' else p.label for p in pairs]
            count = f'{facts.name}: {len(pairs)} of {facts.looked_at} {title}: '
            yield Finding(True, f'{count}{reasons}', files, pairs)
    yield from unknown_values(facts)


def unknown_values(facts: DatasetFacts) -> Iterator[Finding]:
    """Find ids and colours outside of the label map, with their counts and files."""
    pairs = [pair for pair in facts.pairs if pair.unknown]
    if not pairs:
        return
    files: dict = {}
    for pair in pairs:
        for value in pair.unknown:
            files.setdefault(value, []).append(pair.label)
    pixels = sum_counts(pair.unknown for pair in pairs)
    most = [value for value, _ in pixels.most_common()]
    shown = '; '.join(
        f'{value}: {pixels[value]:,} pixels in {len(files[value])} labels, such as '
        f'{files[value][0]}'
        for value in most[:NAMED]
    )
    more = f'; and {shorten(most[NAMED:])}' if most[NAMED:] else ''
    yield Finding(
        True,
        f'{facts.name}: {len(pairs)} of {facts.looked_at} labels hold values out of '
        f'label_map. {shown}{more}. {way_to_read(facts, most)}',
        [pair.label for pair in pairs],
        pairs,
    )


def way_to_read(facts: DatasetFacts, unknown: Sequence) -> str:
    """Return the advice for values outside of the label map."""
    values = facts.raw_values
    mapping = reading_map(values, len(facts.classes))
    if mapping and not all_classes_known(facts):
        return (
            f'label_map={mapping} gives each value a class, in the order of the values '
            f'({", ".join(facts.classes)}): correct that order if it is another.'
        )
    if len(unknown) > len(facts.classes):
        return (
            f'{len(values)} different values for {len(facts.classes)} classes: perhaps '
            f'these are not the label files, or they were smoothed or saved as JPEG. '
            f'Correct data_prefix or seg_map_suffix, or save the labels as PNG.'
        )
    extra = ', '.join(f'{value}: 255' for value in unknown[:SHOWN])
    return (
        f'Map each value to a class in label_map, or to 255 to ignore it ({extra}'
        f'{", ..." if unknown[SHOWN:] else ""}).'
    )


def all_classes_known(facts: DatasetFacts) -> bool:
    """Return whether every class has a value in the labels that label_map reads."""
    found = {
        part.label_map.ids.get(value, part.label_map.colours.get(value))
        for part in facts.parts
        for value in facts.raw_values
    }
    return found >= set(range(len(facts.classes)))


def learnable(facts: DatasetFacts) -> Iterator[Finding]:
    """Find files that cannot be read, and classes that do not occur in the labels.

    Args:
        facts: What was seen in as many training labels as there was time for.
    """
    yield from file_findings(facts)
    if not facts.labelled:
        return
    seen = f'{facts.labelled} {facts.name} labels looked at, of {facts.total}'
    pixels = facts.pixels
    occurring = [name for name, count in pixels.items() if count]
    absent = facts.absent
    if len(occurring) < 2:
        values = shorten([value for value, _ in facts.raw_values.most_common()])
        way = f'The files hold {values}. Correct label_map or metainfo.classes.'
        if facts.suggestion:
            way = (
                f'The files hold 0 and 255, and 255 is ignored: label_map='
                f'{facts.suggestion} reads 255 as {absent[-1]!r}.'
            )
        yield Finding(
            facts.looked_at == facts.total,
            f'There is nothing to tell apart: of the classes {list(pixels)} only '
            f'{occurring} occur in the {seen}. {way}',
            pairs=facts.pairs,
        )
    elif absent:
        yield Finding(False, f'no pixel of {", ".join(absent)} in {seen}.')
