"""`fastscnn compare`: the numbers of runs that were made up."""

import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import run
from mmengine.config import Config

from mmseg_fastscnn.engine.record.facts import recipe_hash
from mmseg_fastscnn.engine.record.files import add_validation, begin_record
from mmseg_fastscnn.report.comparison import compared, groups_of
from mmseg_fastscnn.report.run_files import read_run

CLASSES = ['road', '<i>sky</i>']


def made_up(folder: Path, recipe: str, road: float, hits: dict[str, int]) -> Path:
    """A run of two validations; in the better one, `hits` of 10 pixels are right."""
    facts = dict(images=2, type='SegDataset', folders={})
    start = dict(iter=0, time=0, classes=CLASSES, palette=[[1, 2, 3], [4, 5, 6]])
    start |= dict(recipe_sha256=recipe, data=dict(training=facts), length=4)
    begin_record(folder, start, resumes=False)
    for k, value in ((2, road), (4, 1.0)):
        per_class = {'road': dict(IoU=value), '<i>sky</i>': dict(IoU=None)}
        line = dict(iter=k, time=k, scores=dict(mIoU=value), per_class=per_class)
        counts = np.zeros((len(hits), 3, 2), np.uint32)
        for row, hit in zip(counts, hits.values(), strict=True):
            row[:, 0] = hit, 10, 10
        arrays = dict(paths=np.array(list(hits)), counts=counts)
        add_validation(folder, dict(line, losses={}), arrays, {})
    return folder


@pytest.fixture
def runs(tmp_path) -> list[Path]:
    return [
        made_up(tmp_path / 'base_0', 'base', 50, {'a.png': 10, 'b.png': 5}),
        made_up(tmp_path / 'base_1', 'base', 54, {'a.png': 10, 'b.png': 5}),
        made_up(tmp_path / 'new_0', 'new', 57, {'a.png': 5, 'b.png': 10}),
        made_up(tmp_path / 'new_1', 'new', 63, {'a.png': 5, 'b.png': 5}),
    ]


def test_a_difference_has_the_spread_of_seeds(runs, tmp_path):
    said = run(
        *[sys.executable, '-m', 'mmseg_fastscnn', 'compare', *runs],
        *['--html', tmp_path / 'page.html'],
    )
    base, new = math.sqrt(8), math.sqrt(18)  # deviations of 50 and 54, of 57 and 63
    spread = math.hypot(base, new)
    expected = (
        rf'road +52\.00 ± {base:.2f} +60\.00 ± {new:.2f} +\+8\.00 ± {spread:.2f}\n'
    )
    assert re.search(expected, said), said
    assert 'worse than base_0 and 1 more' in said
    # 5 of 10 pixels right: 5 / 15 of intersection over union
    assert re.search(r'100\.00 ->  33\.33  a\.png', said) and 'b.png' not in said
    page = (tmp_path / 'page.html').read_text()
    for words in (f'{52:.2f} ± {base:.2f}', 'a.png', '&lt;i&gt;sky', 'new_1'):
        assert words in page
    assert '<i>sky' not in page
    assert '://' not in page
    data = re.findall(r'data-lines="([^"]+)"', page)
    curves = json.loads(data[0].replace('&quot;', '"'))
    assert curves[3] == ['new_1', [[2, 63.0], [4, 1.0]]]


def test_a_run_without_counts_is_compared_by_its_scores(runs):
    for file in (runs[0] / 'record').glob('*.npz'):
        file.unlink()  # as the message on a damaged one says
    (group,) = compared([read_run(runs[0])])
    assert group.miou().mean == 50 and group.of_images() == {}


def test_runs_of_one_recipe_alone_are_compared_one_by_one(runs):
    found = [read_run(folder) for folder in runs]
    assert [len(group.runs) for group in groups_of(found)] == [2, 2]
    assert [group.name for group in compared(found[:2])] == ['base_0', 'base_1']


def test_seeds_that_may_skip_bad_samples_are_of_one_recipe():
    hashes = []
    for seed, limit in ((0, 5), (1, 5), (1, 6)):
        config = Config(dict(work_dir=f'./out/seed_{seed}', randomness=dict(seed=seed)))
        file = str(Path(config.work_dir, 'skipped_samples.jsonl'))
        config.train_dataloader = dict(
            dataset=dict(skip_bad=dict(limit=limit, file=file))
        )
        hashes.append(recipe_hash(config))
    assert hashes[0] == hashes[1] != hashes[2]


def test_what_cannot_be_compared_is_refused(runs, tmp_path):
    found = [read_run(folder) for folder in runs[:2]]
    found[1].starts[-1]['classes'] = ['road', 'tree']
    with pytest.raises(ValueError, match='base_1 has other classes'):
        compared(found)
    others = made_up(tmp_path / 'others', 'base', 50, {'a.png': 10, 'c.png': 5})
    with pytest.raises(ValueError, match='others was validated on other images than'):
        compared([found[0], read_run(others)])
    found[1].validations.clear()
    with pytest.raises(ValueError, match='base_1 has no validation yet'):
        compared(found)
    with pytest.raises(FileNotFoundError, match='no work dir of a training run'):
        read_run(tmp_path)
