"""The page of a run, made by training itself and again from the files alone."""

import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from conftest import run

from mmseg_fastscnn.engine.record.files import read_lines
from mmseg_fastscnn.report.confusion import confused_pairs
from mmseg_fastscnn.report.live import ReportHook
from mmseg_fastscnn.report.run_files import Run, read_run
from mmseg_fastscnn.report.run_page import speed_parts, write_report


class Page(HTMLParser):
    """The text of a page, and what it would load from elsewhere."""

    def __init__(self, path: Path):
        super().__init__()
        self.words, self.loads, self.tags = [], [], []
        self.feed(path.read_text())
        self.text = ' '.join(self.words)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in ('src', 'href') and not value.startswith('data:image/'):
                self.loads.append(value)

    def handle_data(self, data):
        self.words.append(data)


def test_training_leaves_a_page_that_can_be_made_again(trained, tmp_path):
    work_dir = trained[0]
    assert 'report was not written' not in trained[1]
    copy = tmp_path / 'copy'
    shutil.copytree(work_dir, copy)
    before = (copy / 'report.html').read_text()
    (copy / 'report.html').unlink()
    (copy / 'skipped_samples.jsonl').write_text(
        json.dumps(dict(image='a.png', file='a.png', reason='<b>a.png</b> is cut'))
        + '\n'
    )
    lines = copy / 'record/validations.jsonl'
    lines.write_text(lines.read_text().replace('"length": 4', '"length": 7'))
    assert f'Written: {copy}/report.html' in run(
        sys.executable, '-m', 'mmseg_fastscnn', 'report', copy
    )
    page = Page(copy / 'report.html')
    assert page.loads == [] and page.tags.count('script') == 1
    # 4 fixed images and the 5 worst, of 5: image, truth, prediction
    assert page.tags.count('img') == 9 * 3 == before.count('<img')
    assert page.tags.count('svg') > 19
    assert 'of 7 iterations' in page.text and 'of 4 iterations' in before
    assert '<b>a.png</b> is cut' in page.text  # as text
    (line,) = read_lines(work_dir / 'record/validations.jsonl')
    score = f'{line["scores"]["mIoU"]:.2f}'
    for words in (
        *(score, 'traffic light', 'Calibration', '--seed 1', '6 images of Cityscapes'),
        *('images of lowest IoU', 'not labelled', 'Peak memory', 'sha256 of its'),
        f'{line["losses"]["decode.loss_ce"]:.6g}'[:6],
    ):
        assert words in page.text or words in before, words


def test_a_failure_of_the_page_is_said_and_stops_nothing(trained, tmp_path):
    said = []
    shutil.copytree(trained[0] / 'record', tmp_path / 'record')

    class Runner:
        work_dir = str(tmp_path)

        class logger:
            warning = said.append

    ReportHook().after_val_epoch(Runner)
    assert said == [] and (tmp_path / 'report.html').exists()
    (tmp_path / 'report.html').write_text('my own notes')
    ReportHook().after_val_epoch(Runner)
    (tmp_path / 'report.html').unlink()
    next(tmp_path.glob('record/iter_*.npz')).write_bytes(b'PK cut')
    ReportHook().after_val_epoch(Runner)
    assert re.search(r'report\.html exists and is not a result', said[0])
    assert re.search(r'iter_4\.npz is damaged', said[1]) and len(said) == 2
    with pytest.raises(FileNotFoundError, match='no work dir of a training run'):
        write_report(tmp_path / 'record')


def test_the_memory_of_a_gpu_is_that_of_training():
    """As the lines of training have it; by a validation the peak is set back."""
    lines = [dict(iter=k, time=0.1, memory=900 + k) for k in (50, 100)]
    found = dict(iter=100, seconds=2.0, memory=dict(process=700.0))
    run_on_gpu = Run(Path('run'), [dict(images_per_iter=8)], [found], lines)
    page = ''.join(speed_parts(run_on_gpu))
    assert 'GPU, training' in page
    (shown,) = re.findall(r'data-lines="([^"]*GPU[^"]*)"', page)
    points = json.loads(shown.replace('&quot;', '"'))[1][1]
    assert points == [[50, 950], [100, 1000]]


def test_lines_of_all_starts_are_joined(trained, tmp_path):
    """What an earlier start logged beyond the resumed iteration is left out."""
    shutil.copytree(trained[0] / 'record', tmp_path / 'record')
    for name, first, last in (('20260101_000000', 1, 6), ('20260101_000001', 4, 5)):
        folder = tmp_path / name / 'vis_data'
        folder.mkdir(parents=True)
        lines = [dict(loss=last, iter=k, step=k) for k in range(first, last + 1)]
        lines.append(dict(mIoU=3.0, step=last))
        text = '\n'.join(json.dumps(line) for line in lines)
        (folder / 'scalars.json').write_text(text + '\n{"loss": 1, "it')
    (tmp_path / 'metrics.json').write_text('{"checkpoint": "a.pth", "mIo')
    (tmp_path / 'metrics_b.json').write_text('{"checkpoint": "b.pth"}')  # not ours
    scores = dict(checkpoint='c.pth', config=None, num_images=3)
    (tmp_path / 'metrics_c.json').write_text(json.dumps(scores))
    found = read_run(tmp_path)
    assert found.curve('loss') == [(1, 6), (2, 6), (3, 6), (4, 5), (5, 5)]
    assert found.evaluations == {'metrics_c.json': scores}


def test_the_most_confused_pairs():
    matrix = np.array([[50, 4, 0], [9, 20, 1], [0, 0, 7]])
    assert confused_pairs(matrix) == [(1, 0), (0, 1), (1, 2)]
