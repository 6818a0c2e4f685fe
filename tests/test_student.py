"""From photos and LabelMe's files to a model in use: four commands, nothing edited."""

import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
from conftest import run

from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.datasets.cityscapes import CLASSES
from mmseg_fastscnn.datasets.toy_streets import draw_scene

SIZE = (64, 96)
# One process for all, since starting one takes longer than what it does here.
RUN = """
import glob, multiprocessing, sys
from mmseg_fastscnn.__main__ import main
from mmseg_fastscnn.engine import time_limit
time_limit.running_seconds = lambda: 0.0  # since the last command alone began
for words in (
    ['check', 'photos'],
    ['train', 'photos', '--iterations', '12', '--patience', '9'],
    ['test', 'work_dirs/photos/best*.pth', '--work-dir', 'tested'],
    ['predict', 'work_dirs/photos/best*.pth', 'photos/0.jpg', '--out', 'predicted'],
    ['train', 'work_dirs/photos/photos.py', '--minutes', '.001', '--work-dir', 'again'],
):
    sys.argv = ['fastscnn', *[(glob.glob(word) or [word])[0] for word in words]]
    print('$', *sys.argv, flush=True)
    main()
    assert not multiprocessing.active_children()  # each would hold up the next run
"""


def shapes_of(label: np.ndarray) -> list[dict]:
    """Return polygons of what is in a label, large ones first."""
    result = []
    for name, raw, _ in CLASSES:
        mask = (label == raw).astype(np.uint8)
        found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        result += [(cv2.contourArea(line), name, line[:, 0] + 0.5) for line in found]
    return [
        dict(label=name, points=line.tolist(), shape_type='polygon')
        for area, name, line in sorted(result, key=lambda one: -one[0])
        if area > 1
    ]


def test_the_student_with_60_photos(tmp_path):
    root = tmp_path / 'photos'
    root.mkdir()
    for k in range(60):
        image, label = draw_scene(k, SIZE)
        cv2.imwrite(str(root / f'{k}.jpg'), image)
        content = dict(
            version='5.4.1',
            shapes=shapes_of(label),
            imagePath=f'{k}.jpg',
            imageData=None,
            imageHeight=SIZE[0],
            imageWidth=SIZE[1],
        )
        (root / f'{k}.json').write_text(json.dumps(content))
    code = f'import os\nos.chdir({str(tmp_path)!r})\n{RUN}'
    said = run(sys.executable, '-c', code)
    checked, trained, *_, again = said.split('$ fastscnn ')[1:]
    assert 'LabelMe JSON (60 files)' in checked
    assert 'images with labels: train 48, val 12' in checked
    assert 'Training can work.' in checked
    for choice in (
        'scale      96x64 (w x h): most images are 64x96 (h x w)',
        'crop       32x64 (h x w)',
        'schedule   12 iterations (2 times each image): --iterations',
    ):
        assert choice in trained
    best, path = re.search(r'The best model, mIoU (\S+): (\S+)\n', trained).groups()
    assert path == f'work_dirs/photos/{Path(path).name}'
    assert f'fastscnn test {path}\n' in trained
    assert trained.count('work_dirs/photos/report.html') == 2
    assert f'fastscnn predict {path} IMAGE' in trained
    metrics = json.loads((tmp_path / 'tested/metrics.json').read_text())
    assert f'{metrics["mIoU"]:.2f}' == best and metrics['num_images'] == 12
    assert cv2.imread(str(next((tmp_path / 'predicted').rglob('*.*')))).shape[1] >= 96
    config = load_config(tmp_path / 'work_dirs/photos/photos.py')
    assert config.train_cfg.max_iters == 12
    assert config.model.num_classes == len(
        config.train_dataloader.dataset.metainfo.classes
    )
    assert config.custom_hooks[-1].type == 'EarlyStoppingHook'
    assert 'Fitted to 0.001 minutes' in again and 'The best model' in again
    assert 'minutes=0.001' in (tmp_path / 'again/photos.py').read_text()
