"""Exported files give the checkpoint's answers, without a config and without torch."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT, run
from exported import frame_of, write_checkpoint, write_config

from mmseg_fastscnn.apis import inference_model, init_model
from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.export import PACKAGES, check_free, export
from mmseg_fastscnn.deploy.torch_runtime import describe
from mmseg_fastscnn.ops.cell_argmax import cell_argmax, interpolated

FORMATS = [('.onnx', 'labels'), ('.param', 'logits')]  # and test_deploy_formats.py
SIZES = [(33, 33), (97, 131), (128, 256)]


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> Path:
    return write_config(tmp_path_factory.mktemp('config') / 'shallow.py')


@pytest.fixture(scope='module')
def checkpoint(config, tmp_path_factory) -> Path:
    return write_checkpoint(
        tmp_path_factory.mktemp('checkpoint') / 'random.pth', config
    )


@pytest.fixture(scope='module')
def exported(config, checkpoint, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp('exported files')
    model = init_model(config, checkpoint, 'cpu')
    paths = {}
    for suffix, output in FORMATS:
        for package in PACKAGES[suffix]:
            pytest.importorskip(package)
        paths[suffix] = folder / f'model{suffix[1:]}{suffix}'
        described = describe(model, output, 'fp32', checkpoint=checkpoint)
        export(model, paths[suffix], described)
    return paths


def frames_of(sizes) -> list[np.ndarray]:
    return [frame_of(size) for size in sizes]


@pytest.mark.parametrize('suffix', [suffix for suffix, _ in FORMATS])
def test_exported_files_predict_what_the_checkpoint_does(
    exported, config, checkpoint, suffix
):
    model = init_model(config, checkpoint, 'cpu')
    predictor = Predictor(exported[suffix])
    for frame in frames_of(SIZES):
        expected = inference_model(model, frame).pred_sem_seg.data[0].numpy()
        assert len(np.unique(expected)) > 4
        found = predictor(frame)
        assert found.dtype == np.uint8
        assert (found == expected).mean() > 0.995
    assert predictor.classes == tuple(model.dataset_meta['classes'])


def test_a_batch_in_onnx(exported):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(exported['.onnx']))
    frames = np.stack(frames_of([(64, 96)] * 2))
    frames[1] = frames[1, ::-1]
    both = session.run(None, {'frame': frames})[0]
    for frame, labels in zip(frames, both, strict=True):
        alone = session.run(None, {'frame': frame[None]})[0][0]
        np.testing.assert_array_equal(labels, alone)


def test_onnx_runs_without_torch(exported, tmp_path):
    """In an environment of numpy, OpenCV and onnxruntime alone."""
    packages = tmp_path / 'packages'
    packages.mkdir()
    for name in ('numpy', 'cv2', 'onnxruntime'):
        folder = Path(find_spec(name).origin).parent
        libraries = [
            *folder.parent.glob('numpy.libs'),
            *folder.parent.glob('opencv*.libs'),
        ]
        for needed in [folder, *libraries]:
            if not (packages / needed.name).exists():
                (packages / needed.name).symlink_to(needed)
    frame = frames_of([(97, 131)])[0]
    cv2.imwrite(str(tmp_path / 'frame.png'), frame)
    code = (
        f'import sys; sys.path += {[str(packages), str(ROOT)]}\n'
        'import cv2\n'
        'from mmseg_fastscnn.deploy.backends import Predictor\n'
        f'labels = Predictor({str(exported[".onnx"])!r})(cv2.imread("frame.png"))\n'
        'cv2.imwrite("labels.png", labels)\n'
        'import torch\n'
    )
    # -I and -S: no packages but those on the path above
    done = subprocess.run(
        [sys.executable, '-I', '-S', '-c', code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "No module named 'torch'" in done.stderr, done.stderr
    found = cv2.imread(str(tmp_path / 'labels.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found, Predictor(exported['.onnx'])(frame))


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(
    'sizes',
    [((5, 9), (40, 72)), ((7, 4), (19, 31)), ((6, 6), (6, 6)), ((9, 8), (5, 3))],
)
def test_numpy_label_map_is_that_of_torch(sizes, align_corners):
    small, large = sizes
    logits = np.random.default_rng(1).standard_normal((7, *small)).astype(np.float32)
    options = dict(mode='bilinear', align_corners=align_corners)
    up = F.interpolate(torch.from_numpy(logits)[None], large, **options)[0].numpy()
    np.testing.assert_array_equal(
        cell_argmax(logits, large, align_corners), up.argmax(0)
    )
    np.testing.assert_allclose(
        interpolated(logits, large, align_corners), up, atol=1e-5
    )


def test_export_command_checks_what_it_wrote(config, checkpoint, streets, tmp_path):
    pytest.importorskip('pnnx')
    out = tmp_path / 'model.param'
    command = ['tools/export.py', config, checkpoint, '--format', 'ncnn', '--out', out]
    said = run(*command, '--data-root', streets, '--images', 2)
    assert 'equal labels: 100.0' in said
    description = json.loads(out.with_suffix('.json').read_text())
    assert description['classes'][0] == 'class 0'
    said = run(*command, '--data-root', streets, ok=False)
    assert 'exists' in said


def test_files_that_are_no_exports_are_refused(exported, tmp_path):
    cut = tmp_path / 'cut.onnx'
    cut.write_bytes(exported['.onnx'].read_bytes()[:5000])
    with pytest.raises(ValueError, match='damaged or cut short'):
        Predictor(cut)
    import onnx

    foreign = onnx.load(exported['.onnx'])
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / 'foreign.onnx')
    with pytest.raises(ValueError, match='does not say how it was made'):
        Predictor(tmp_path / 'foreign.onnx')
    with pytest.raises(ValueError, match='no known kind'):
        Predictor(ROOT / 'README.md')
    with pytest.raises(FileNotFoundError):
        Predictor(tmp_path / 'none.onnx')
    (tmp_path / 'model.bin').write_bytes(b'of OpenVINO')
    with pytest.raises(FileExistsError, match=r'model\.bin'):
        check_free(tmp_path / 'model.param')
    predictor = Predictor(exported['.onnx'])
    with pytest.raises(ValueError, match='float64'):
        predictor(np.zeros((64, 64, 3)))
    with pytest.raises(ValueError, match='at least 33'):
        predictor(np.zeros((20, 64, 3), np.uint8))


def test_predict_command(config, checkpoint, tmp_path):
    """A folder with an image, a broken one and a video gives the same tree."""
    frames = frames_of([(96, 160)] * 3)
    frames[1], frames[2] = frames[1][::-1].copy(), frames[2][:, ::-1].copy()
    source, out = tmp_path / 'source', tmp_path / 'out'
    (source / 'a').mkdir(parents=True)
    cv2.imwrite(str(source / 'a/street.png'), frames[0])
    (source / 'broken.png').write_bytes(b'no image')
    code = cv2.VideoWriter.fourcc(*'mp4v')
    video = cv2.VideoWriter(str(source / 'drive.mp4'), code, 10, (160, 96))
    for frame in frames:
        video.write(frame)
    video.release()
    command = ['tools/predict.py', checkpoint, source, '--config', config, '--out', out]
    said = run(*command, '--save', 'overlay', 'labels')
    assert '4 frames' in said
    assert re.search(r'broken\.png cannot be read as an image', said)
    model = init_model(config, checkpoint, 'cpu')
    expected = inference_model(model, frames[0]).pred_sem_seg.data[0].numpy()
    found = cv2.imread(str(out / 'labels/a/street.png'), cv2.IMREAD_UNCHANGED)
    assert (found == expected).mean() > 0.999
    assert len(list((out / 'labels/drive').iterdir())) == 3
    shown = cv2.VideoCapture(str(out / 'overlay/drive.mp4'))
    assert shown.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert (out / 'overlay/a/street.png').exists()
    said = run(*command, '--save', 'overlay', ok=False)
    assert 'drive.mp4 exists and is not a result' in said
    said = run('tools/predict.py', checkpoint, tmp_path / 'none.png', ok=False)
    assert 'holds no config' in said
