"""A short run of `benchmarks/fuzz.py`: no damaged file does anything but say so."""

import sys
from collections import Counter

from conftest import ROOT

sys.path.insert(0, str(ROOT / 'benchmarks'))

import fuzz

# Cases that have shown faults, or would, beyond the first ones of each kind.
KEPT = [
    ('checkpoints', 'zip, damaged', 325),
    ('checkpoints', 'zip, damaged', 352),
    *(('checkpoints', 'content', number) for number in (595, 687, 1756)),
    *(('checkpoints', 'content', number) for number in range(300, 360)),
    *(('images', 'PNG, other header', number) for number in range(100, 130)),
]


def test_no_file_runs_crashes_hangs_or_changes_in_silence():
    wanted = dict(checkpoints=350, images=180, packed=60)
    cases = [case for k, count in wanted.items() for case in fuzz.shares(k, count)]
    cases += KEPT
    counts, faults = Counter(), []
    for case, outcome, text in fuzz.outcomes(cases):
        counts[outcome] += 1
        if outcome in fuzz.FAULTS:
            faults.append((*case, outcome, text))
    assert not faults, faults[:5]
    assert counts.total() == len(cases)
    assert counts['refused'] > len(cases) / 2 and counts['same'] > 20


def test_the_fuzz_sees_what_it_is_there_to_see(tmp_path, monkeypatch):
    """A reader that runs, hangs on to nothing and changes values is caught."""
    reader = fuzz.Reader(str(tmp_path))

    def careless(path):
        (tmp_path / fuzz.MARKER).mkdir()
        return ['something']

    for use, expected in [
        (careless, 'executed'),
        (lambda path: 1 / 0, 'unnamed'),
        (lambda path: [path.read_bytes()], 'different'),
    ]:
        monkeypatch.setitem(fuzz.USES, 'checkpoints', use)
        assert reader.outcome('checkpoints', 'zip, damaged', 0)[0] == expected
        marker = tmp_path / fuzz.MARKER
        if marker.exists():
            marker.rmdir()
