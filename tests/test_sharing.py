"""A shared model: complete, loadable, without a path of the machine."""

import hashlib
import json
import sys

import cv2
import numpy as np
import pytest
from conftest import run

from mmseg_fastscnn import FastSCNN, commands
from mmseg_fastscnn.checkpoint import read_checkpoint
from mmseg_fastscnn.commands.entrance import mistake
from mmseg_fastscnn.config.publishable import without_paths
from mmseg_fastscnn.report.model_card import accuracy_table


def refused(capsys, *words: object) -> str:
    """Run `share` in this process; return the message of the user's mistake."""
    with pytest.raises(SystemExit) as ended:
        share(*words)
    assert ended.value.code == 2
    return capsys.readouterr().err


def share(*words: object) -> None:
    commands.run('share', [str(word) for word in words])


def test_a_shared_folder_is_loaded_as_the_checkpoint_was(
    trained, streets, tmp_path, capsys
):
    checkpoint, folder = trained[0] / 'iter_4.pth', tmp_path / 'shared'
    image = next((streets / 'leftImg8bit/val').rglob('*.png'))
    options = ['--license', 'apache-2.0', '--data', '6 drawn streets']
    share(checkpoint, folder, *options, '--picture', image)
    card = (folder / 'README.md').read_text()
    assert 'license: apache-2.0' in card and '6 drawn streets' in card
    weights = (folder / 'model.safetensors').read_bytes()
    assert hashlib.sha256(weights).hexdigest() in card
    for file in folder.iterdir():
        for place in (streets, trained[0], tmp_path):
            assert str(place).encode() not in file.read_bytes(), file
    shared = FastSCNN.from_pretrained(folder, device='cpu')
    expected = FastSCNN.load(checkpoint, device='cpu')(image)
    np.testing.assert_array_equal(shared(image).labels, expected.labels)
    assert shared.classes == expected.classes
    picture = cv2.imread(str(folder / 'picture.png'))
    pixels = expected.overlay()
    np.testing.assert_array_equal(picture[: len(pixels)], pixels)
    assert len(picture) > len(pixels)  # the legend
    assert 'exists' in refused(capsys, checkpoint, folder, *options)
    metrics, other = tmp_path / 'metrics.json', tmp_path / 'other'
    metrics.write_text(json.dumps(dict(per_class=dict(cat={}))))
    said = refused(capsys, checkpoint, other, *options, '--metrics', metrics)
    assert 'metrics.json holds no scores' in said and not other.exists()
    scores = dict(per_class=dict(cat={}), num_images=1, config='', checkpoint='')
    metrics.write_text(json.dumps(scores))
    said = refused(capsys, checkpoint, other, *options, '--metrics', metrics)
    assert 'other classes' in said and not other.exists()


def test_a_class_that_does_not_occur_has_no_iou():
    per_class = dict(cat=dict(IoU=40.126), dog=dict(IoU=None))
    metrics = dict(num_images=3, mIoU=40.126, per_class=per_class)
    _, _, *rows = accuracy_table(['cat', 'dog'], metrics).splitlines()
    assert rows[0].endswith('3 images** | 40.13 |')
    assert rows[1:] == ['| cat | 40.13 |', '| dog | - |']


def test_a_published_checkpoint_has_no_path(trained, streets, tmp_path):
    run('tools/publish_model.py', trained[0] / 'iter_4.pth', tmp_path / 'street.pth')
    (path,) = tmp_path.glob('street-*.pth')
    text = read_checkpoint(path)['meta']['cfg']
    assert str(streets) not in text and str(trained[0]) not in text
    assert f"data_root='data/{streets.name}'" in text


@pytest.mark.parametrize(
    'path, left',
    [
        ('/home/me/camvid', 'data/camvid'),
        ('../camvid', 'data/camvid'),
        ('~/camvid', 'data/camvid'),
        (r'C:\\users\\me\\camvid', 'data/camvid'),
        ('data/camvid', 'data/camvid'),
        ('SegDataset', 'SegDataset'),
    ],
)
def test_paths_of_a_machine_are_shortened(path, left):
    text = f"work_dir = '/x'\ndata = dict(roots=['{path}'])\n"
    found = without_paths(text, 'a test')
    assert found.split() == ['data', '=', 'dict(roots=[', f"'{left}',", '])']


def test_what_is_no_shared_model_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)  # as if not installed
    with pytest.raises(FileNotFoundError, match='no folder, and no name'):
        FastSCNN.from_pretrained(tmp_path / 'none')
    with pytest.raises(ImportError, match='pip install huggingface_hub') as caught:
        FastSCNN.from_pretrained('somebody/model')
    assert mistake(caught.value)
