"""Exported files give the checkpoint's answers, without a config and without torch."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT, run
from exported import frame_of

from mmseg_fastscnn.apis import inference_model, init_model
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.export import PACKAGES, check_free, export
from mmseg_fastscnn.deploy.exported_model import differences, whole_images
from mmseg_fastscnn.deploy.soft_labels import at_cells
from mmseg_fastscnn.deploy.torch_runtime import describe
from mmseg_fastscnn.ops.cell_argmax import cell_argmax
from mmseg_fastscnn.ops.interpolated import interpolated
from mmseg_fastscnn.ops.tile_argmax import interpolated_argmax

SIZES = [(61, 93), (125, 191), (128, 256)]  # two of them are padded a little


@pytest.fixture(scope='module')
def config(shallow) -> Path:
    return shallow / 'config.py'


@pytest.fixture(scope='module')
def checkpoint(shallow) -> Path:
    return shallow / 'random.pth'


@pytest.fixture(scope='module')
def exported(shallow, config, checkpoint, tmp_path_factory) -> dict[str, Path]:
    for package in PACKAGES['.param']:
        pytest.importorskip(package)
    path = tmp_path_factory.mktemp('exported files') / 'model.param'
    model = init_model(config, checkpoint, 'cpu')
    size = SIZES[1]  # ncnn pads to a multiple of 32 at one size only
    export(model, path, describe(model, 'logits', 'fp32', size, checkpoint))
    return {'.onnx': shallow / 'model.onnx', '.param': path}


def frames_of(sizes) -> list[np.ndarray]:
    return [frame_of(size) for size in sizes]


@pytest.mark.parametrize('suffix', ['.onnx', '.param'])
def test_exported_files_predict_what_the_checkpoint_does(
    exported, config, checkpoint, suffix
):
    model = init_model(config, checkpoint, 'cpu')
    predictor = Predictor(exported[suffix])
    for frame in frames_of([predictor.size] if predictor.size else SIZES):
        expected = inference_model(model, frame).pred_sem_seg.data[0].numpy()
        assert len(np.unique(expected)) > 4
        found = predictor(frame)
        assert found.dtype == np.uint8
        assert (found == expected).mean() > 0.995
    assert predictor.classes == tuple(model.dataset_meta['classes'])


@pytest.mark.parametrize('resized', [False, True])
def test_frames_are_padded_as_test_images_are(config, checkpoint, resized, tmp_path):
    settings = load_config(config)
    assert settings.model.data_preprocessor.test_cfg == dict(size_divisor=32)
    if resized:
        step = dict(type='Resize', scale=(125, 90), keep_ratio=True)
        settings.test_dataloader.dataset.pipeline.insert(1, step)
    settings.dump(tmp_path / 'config.py')
    model = init_model(tmp_path / 'config.py', checkpoint, 'cpu')
    predictor = Predictor(checkpoint, config=tmp_path / 'config.py', device='cpu')
    frame = frame_of((125, 191))
    sample = inference_model(model, frame, with_logits=True)
    logits = predictor.run(frame)
    assert logits.shape[1:] == ((12, 16) if resized else (16, 24))
    labels = predictor.labels(logits, (125, 191))
    assert (labels == sample.pred_sem_seg.data[0].numpy()).mean() > 0.999
    expected = sample.seg_logits.data.softmax(0).numpy()
    found = predictor.probabilities(logits, (125, 191))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    soft = at_cells(predictor, frame)
    if resized:  # the four pixels in the middle of each whole cell
        middle = F.avg_pool2d(sample.seg_logits.data[:, 3:, 3:], 2, stride=8)
        difference = (soft[:, :15, :23] - middle[:, :15, :23]).abs()
        assert difference.max() < 0.15 * middle.std()
    else:  # each logit is in the middle of a cell
        np.testing.assert_allclose(soft, logits, atol=1e-5)


def test_a_batch_in_onnx(exported):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(exported['.onnx']))
    frames = np.stack(frames_of([(64, 96)] * 2))
    frames[1] = frames[1, ::-1]
    both = session.run(None, {'frame': frames})[0]
    for frame, labels in zip(frames, both, strict=True):
        alone = session.run(None, {'frame': frame[None]})[0][0]
        np.testing.assert_array_equal(labels, alone)


def test_what_is_no_frame_is_named(shallow):
    predictor = Predictor(shallow / 'model.onnx')
    for frame in (None, 'street.jpg'):  # None: OpenCV could not read the file
        with pytest.raises(ValueError, match=f'The frame is {frame!r}; give an array'):
            predictor(frame)


def test_one_class_may_fill_a_frame(exported, tmp_path):
    """Then no cell is interpolated."""
    import onnx
    from onnx.numpy_helper import from_array, to_array

    proto = onnx.load(exported['.onnx'])
    classifier = [node for node in proto.graph.node if node.op_type == 'Conv'][-1]
    (bias,) = (i for i in proto.graph.initializer if i.name == classifier.input[2])
    bias.CopyFrom(
        from_array(to_array(bias) + 1e5 * np.eye(19)[3].astype('f'), bias.name)
    )
    onnx.save(proto, tmp_path / 'biased.onnx')
    assert (Predictor(tmp_path / 'biased.onnx')(frame_of((97, 131))) == 3).all()


def test_torch_is_left_aside_where_a_file_does_not_need_it(exported, tmp_path):
    cv2.imwrite(str(tmp_path / 'frame.png'), frames_of([(97, 131)])[0])
    code = (
        'import sys\nfrom mmseg_fastscnn.__main__ import main\n'
        f'sys.argv[1:] = ["predict", {str(exported[".onnx"])!r}, "frame.png"]\nmain()\n'
        'assert "torch" not in sys.modules and "mmengine" not in sys.modules\n'
    )
    subprocess.run([sys.executable, '-c', code], cwd=tmp_path, check=True)
    assert (tmp_path / 'predictions/overlay/frame.png').exists()


def test_onnx_runs_without_torch(exported, tmp_path):
    """In an environment of numpy, OpenCV, onnxruntime and rich alone."""
    packages = tmp_path / 'packages'
    packages.mkdir()
    for name in ('numpy', 'cv2', 'onnxruntime', 'rich'):
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
    words = f'["predict", {str(exported[".onnx"])!r}, "frame.png", "--save", "labels"]'
    first = f'import sys; sys.path += {[str(packages), str(ROOT)]}\n'
    called = 'from mmseg_fastscnn.__main__ import main\nsys.argv[1:] = {}\nmain()\n'
    for code, status, said in [
        (called.format(words), 0, ''),
        (called.format('["predict", "none.onnx", "frame.png"]'), 2, 'none.onnx does'),
        (
            called.format('["train", "none.py"]'),
            2,
            'mmengine is not installed.',
        ),
        ('import torch\n', 1, "No module named 'torch'"),
    ]:
        # -I and -S: no packages but those on the path above
        done = subprocess.run(
            [sys.executable, '-I', '-S', '-c', first + code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == status and said in done.stderr, done.stderr
    path = tmp_path / 'predictions/labels/frame.png'
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
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
        interpolated(logits, [large], align_corners), up, atol=1e-5
    )
    twice = F.interpolate(torch.from_numpy(up)[None], (23, 37), **options)[0].numpy()
    np.testing.assert_allclose(
        interpolated(logits, [large, (23, 37)], align_corners), twice, atol=1e-5
    )
    np.testing.assert_array_equal(
        interpolated_argmax(logits, [large, (23, 37)], align_corners), twice.argmax(0)
    )


@pytest.mark.parametrize('align_corners', [False, True])
def test_label_map_of_two_steps_in_tiles(align_corners):
    draw = np.random.default_rng(1).standard_normal
    smooth = interpolated(draw((9, 4, 6), np.float32), [(30, 50)], True)
    logits = smooth + draw(smooth.shape, np.float32) / 10
    steps = [(240, 400), (137, 411)]
    expected = interpolated(logits, steps, align_corners)
    found = interpolated_argmax(logits, steps, align_corners)
    assert len(np.unique(found)) == 9
    np.testing.assert_array_equal(found, expected.argmax(0))
    nothing = interpolated_argmax(np.full_like(logits, np.nan), steps, align_corners)
    assert nothing.shape == (137, 411)  # an answer, as from PyTorch, not an error


def test_export_command_checks_what_it_wrote(config, checkpoint, streets, tmp_path):
    pytest.importorskip('pnnx')
    out = tmp_path / 'model.param'
    command = ['tools/export.py', config, checkpoint, '--format', 'ncnn', '--out', out]
    said = run(*command, '--data-root', streets, ok=False)
    assert 'multiple of 32' in said and 'Give it: --size H W' in said
    command += ['--size', 64, 128]
    said = run(*command, '--data-root', streets, '--images', 2)
    assert 'equal labels: 100.0' in said
    description = json.loads(out.with_suffix('.json').read_text())
    assert description['classes'][0] == 'road'
    said = run(*command, '--data-root', streets, ok=False)
    assert 'exists' in said


def test_the_test_command_takes_exported_files(
    exported, config, checkpoint, streets, tmp_path
):
    """With the checkpoint's mIoU and label images, and a file for `--out`."""
    found, labels = [], []
    for path in (checkpoint, exported['.onnx']):
        folder = tmp_path / path.suffix[1:]
        options = [
            '--data-root',
            streets,
            '--work-dir',
            folder,
            '--out',
            folder / 'out',
        ]
        run('tools/test.py', config, path, *options)
        (file,) = folder.glob('metrics*.json')
        found.append(json.loads(file.read_text()))
        files = sorted((folder / 'out').rglob('*.png'))
        labels.append(np.stack([cv2.imread(str(f), -1) for f in files]))
    assert found[0].keys() == found[1].keys()
    assert found[1]['mIoU'] == pytest.approx(found[0]['mIoU'], abs=0.02) != 0
    assert found[1]['num_images'] == 5 and found[1]['dtype'] == 'fp32'
    assert (labels[0] == labels[1]).mean() > 0.999
    for option in ('--tta', '--amp', '--weights=raw'):
        said = run('tools/test.py', config, exported['.onnx'], option, ok=False)
        assert f'{option.replace("=", " ")} is for checkpoints' in said
    said = run('tools/test.py', exported['.onnx'], ok=False)
    assert 'give CONFIG' in said


def test_benchmark_puts_files_side_by_side(exported, config, streets, tmp_path):
    files = [exported['.onnx'], exported['.param']]
    options = ['--data-root', streets, '--repeat', 2]
    said = run('tools/benchmark.py', config, *files, *options)
    columns = {
        line[:20].strip(): re.findall(r'[\d.,]+', line[20:])
        for line in said.splitlines()
    }
    for stage in ('decode', 'network', 'upsample and argmax', 'all'):
        assert len(columns[stage]) == 6  # p50, p95 and share of both
    for fact in ('images per second', 'peak memory, MiB'):
        assert len(columns[fact]) == 2
    cut = tmp_path / 'cut.onnx'
    cut.write_bytes(files[0].read_bytes()[:5000])
    said = run('tools/benchmark.py', config, cut, *options, ok=False)
    assert 'damaged or cut short' in said


def test_what_a_file_and_a_config_see_differently(exported, config, streets):
    config = load_config(config, data_root=str(streets))
    description = Predictor(exported['.onnx']).description
    assert differences(config, description) == []
    other = replace(description, classes=description.classes[::-1])
    with pytest.raises(ValueError, match='Give the config of this model'):
        differences(config, other)
    other = replace(description, scale=(64, 32), keep_ratio=True)
    said = differences(config, other)
    assert said == [
        'scale is (64, 32), in the config None',
        'keep_ratio is True, in the config False',
    ]
    config.test_dataloader.dataset.pipeline.insert(
        1, dict(type='Resize', scale=(64, 32), keep_ratio=True)
    )
    assert differences(config, other) == []
    whole_images(config)
    steps = [step.type for step in config.test_dataloader.dataset.pipeline]
    assert steps == ['LoadImageFromFile', 'LoadAnnotations', 'PackSegInputs']


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
    with pytest.raises(ValueError, match=r'Predictor\(.*model'):
        init_model(str(exported['.onnx']))
    predictor = Predictor(exported['.onnx'])
    with pytest.raises(ValueError, match='float64'):
        predictor(np.zeros((64, 64, 3)))
    with pytest.raises(ValueError, match='at least 33'):
        predictor(np.zeros((20, 64, 3), np.uint8))
