"""Corruptions grow with their strength; the table holds the mIoU that they leave."""

import json
import re

import numpy as np
import pytest
from conftest import run

from mmseg_fastscnn.datasets.corruptions import CORRUPTIONS, STRENGTHS, corrupted
from mmseg_fastscnn.deploy.description import check_classes


@pytest.mark.parametrize('kind', CORRUPTIONS)
def test_a_stronger_corruption_changes_more(kind):
    frame = np.random.default_rng(0).integers(0, 256, (96, 480, 3), np.uint8)
    found = [corrupted(frame, kind, strength, 7) for strength in STRENGTHS]
    changes = [np.abs(one.astype(int) - frame).mean() for one in found]
    assert changes == sorted(changes) and 1 < changes[0] < changes[-1] < 128
    assert np.array_equal(found[1], corrupted(frame, kind, 2, 7))
    other_seed = np.array_equal(found[1], corrupted(frame, kind, 2, 8))
    assert other_seed == (kind in ('blur', 'jpeg', 'brightness'))


def test_the_table_and_the_numbers(streets, shallow, tmp_path):
    """For checkpoints and exported files; clean as `test` says."""
    config = shallow / 'config.py'
    models = [shallow / 'random.pth', shallow / 'model.onnx']
    data = ['--data-root', streets, '--cfg-options', 'test_dataloader.num_workers=0']
    out = tmp_path / 'out'
    command = ['tools/robustness.py', config, *models, *data, '--out', out]
    said = run(*command)
    run(*command)  # over results of its own
    numbers = json.loads((out / 'robustness.json').read_text())
    run('tools/test.py', config, models[0], *data, '--work-dir', tmp_path / 'tested')
    tested = json.loads((tmp_path / 'tested/metrics.json').read_text())
    plain, exported = (numbers['mIoU'][str(model)] for model in models)
    assert plain['clean'][0] == pytest.approx(tested['mIoU'], abs=1e-3)
    assert list(plain) == ['clean', *CORRUPTIONS] and len(plain['fog']) == 5
    for kind, values in plain.items():
        assert exported[kind] == pytest.approx(values, abs=0.05)
    share = 100 * np.mean(plain['night']) / plain['clean'][0]
    assert re.search(rf'random.pth \| {tested["mIoU"]:.2f} .*\| {share:.1f} % ', said)
    page = (out / 'robustness.html').read_text()
    assert page.count('class="chart"') == len(CORRUPTIONS) and '://' not in page


def test_settings_of_the_model_count(streets, shallow, tmp_path):
    words = [shallow / 'config.py', shallow / 'random.pth', '--data-root', streets]
    words += ['--cfg-options', 'test_dataloader.num_workers=0']
    clean = []
    for settings in ([], ['model.data_preprocessor.mean=[0,0,0]']):
        out = tmp_path / f'out_{len(settings)}'
        run('tools/robustness.py', *words, *settings, '--out', out)
        run('tools/test.py', *words, *settings, '--work-dir', out)
        (mious,) = json.loads((out / 'robustness.json').read_text())['mIoU'].values()
        tested = json.loads((out / 'metrics.json').read_text())['mIoU']
        assert mious['clean'][0] == pytest.approx(tested, abs=1e-3)
        clean.append(tested)
    assert abs(clean[0] - clean[1]) > 0.01


def test_a_model_with_other_classes_is_refused():
    with pytest.raises(ValueError, match=r'a\.pth has the classes road, car, and the'):
        check_classes('a.pth', ('road', 'car'), ['road'], 'test')
    check_classes('a.pth', ('road', 'car'), ['road', 'car'], 'test')


def test_what_is_no_photograph_is_refused():
    with pytest.raises(ValueError, match='3 channels and 8 bits'):
        corrupted(np.zeros((40, 40, 3), np.uint16), 'noise', 1, 0)
