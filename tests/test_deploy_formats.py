"""Every format gives the same numbers, whatever the network; and nothing by halves."""

import subprocess
import sys
from argparse import ArgumentParser
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT, TOY, run
from exported import SHALLOW, frame_of, write_checkpoint, write_config

from mmseg_fastscnn.apis import inference_model, init_model
from mmseg_fastscnn.commands import export as command
from mmseg_fastscnn.cores import cores_per_process
from mmseg_fastscnn.deploy import export as exporting
from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.export import PACKAGES, PARTS, export, files_of
from mmseg_fastscnn.deploy.torch_runtime import describe
from mmseg_fastscnn.file_kinds import SUFFIXES
from mmseg_fastscnn.writing import write_file

# Two networks have all that exporters could take for granted.
NETWORKS = dict(
    corners=(
        'backbone=dict(num_blocks=(1, 1, 1), in_channels=4), '
        'num_classes=16, align_corners=True, '
        'data_preprocessor=dict(mean=[100, 110, 120, 90], std=[50, 60, 70, 40])'
    ),
    threshold=(
        f'{SHALLOW}, num_classes=2, auxiliary_head=None, decode_head=dict('
        'out_channels=1, threshold=0.4, loss_decode=dict(use_sigmoid=True))'
    ),
)
SIZES = [(61, 93), (125, 191), (64, 128)]
# An ONNX graph takes longest to make, and OpenVINO's file is made of one.
FORMS = [
    *[('corners', kind) for kind in ('openvino', 'torch_export', 'executorch')],
    *[('threshold', kind) for kind in ('onnx', 'ncnn', 'torch_export', 'executorch')],
]


def suffix_of(kind: str) -> str:
    """Return a format's suffix; skip the test where its packages are not installed."""
    for package in PACKAGES[SUFFIXES[kind]]:
        if find_spec(package) is None:
            pytest.skip(f'{package} is not installed')
    return SUFFIXES[kind]


@pytest.fixture(scope='module')
def networks(tmp_path_factory) -> dict[str, tuple[Path, Path]]:
    """A config and a checkpoint of each network."""
    folder, made = tmp_path_factory.mktemp('networks'), {}
    for name, model in NETWORKS.items():
        config = write_config(folder / f'{name}.py', model)
        made[name] = config, write_checkpoint(folder / f'{name}.pth', config)
    return made


@pytest.mark.parametrize('name, kind', FORMS)
def test_every_format_gives_the_same_numbers(networks, name, kind, tmp_path):
    suffix = suffix_of(kind)
    model = init_model(*networks[name], 'cpu')
    size = SIZES[1] if kind in ('executorch', 'ncnn') else None
    path = tmp_path / f'model{suffix}'
    export(model, path, describe(model, 'logits', 'fp32', size))
    if suffix == '.xml' and sys.platform == 'linux':
        signal_stack_stays(path)
    predictor = Predictor(path)
    assert len(predictor.classes) == model.num_classes
    for shape in [size] if size else SIZES:
        frame = frame_of(shape, predictor.description.channels)
        sample = inference_model(model, frame, with_logits=True)
        expected = sample.pred_sem_seg.data[0].numpy()
        assert len(np.unique(expected)) >= min(4, model.num_classes)
        found = predictor.run(frame)
        assert (predictor.labels(found, shape) == expected).mean() > 0.999
        logits = sample.seg_logits.data
        scores = logits.softmax(0) if len(logits) > 1 else logits.sigmoid()
        probabilities = predictor.probabilities(found, shape)
        np.testing.assert_allclose(probabilities, scores.numpy(), atol=1e-3)
    if size is None:
        frames = np.stack([frame, frame[::-1]])
        alone = [predictor.runtime(one[None])[0] for one in frames]
        np.testing.assert_allclose(predictor.runtime(frames), alone, atol=1e-2)
    with pytest.raises(ValueError, match=r"not on 'tpu'|cannot run on 'tpu': .+ has"):
        Predictor(path, device='tpu')
    if suffix in ('.onnx', '.xml'):
        several_at_once_keep_their_order(path, tmp_path / 'frames')
    for part in files_of(path):
        content = part.read_bytes()
        part.write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match='damaged') as error:
            Predictor(path)
        assert part.name in str(error.value)
        if part != path:
            part.unlink()
            with pytest.raises(FileNotFoundError, match=part.name):
                Predictor(path)
        part.write_bytes(content)
    if suffix in ('.xml', '.param'):  # weights of another network of the same sizes
        weights = path.with_suffix('.bin')
        weights.write_bytes(content_of_other(weights.read_bytes()))
        with pytest.raises(ValueError, match=r'model\.bin is .* of another export'):
            Predictor(path)


def signal_stack_stays(path: Path) -> None:
    """Check that handlers of signals run where they did, and the process survives."""
    code = (
        'import signal; from mmseg_fastscnn.deploy.backends import Predictor; '
        'from mmseg_fastscnn.deploy.openvino_core import signal_stack; '
        'signal.signal(signal.SIGCHLD, lambda *_: None); before = signal_stack(); '
        f'predictor = Predictor({str(path)!r}); after = signal_stack(); '
        'signal.raise_signal(signal.SIGCHLD); '
        'assert (after.place, after.size) == (before.place, before.size)'
    )
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)


def several_at_once_keep_their_order(path: Path, folder: Path) -> None:
    """Check that frames which are run at the same time give what each gives alone."""
    folder.mkdir()
    alone, several = Predictor(path), Predictor(path, throughput=True)
    assert several.at_once == min(4, cores_per_process())
    assert Predictor(path, threads=1, throughput=True).at_once == 1
    frame = frame_of((97, 131), alone.description.channels)
    expected = []
    for k in range(12):
        turned = np.roll(frame, 10 * k, axis=1)
        cv2.imwrite(str(folder / f'{k:02}.png'), turned)
        expected.append(alone.run(turned))
    assert np.abs(np.diff(expected, axis=0)).max() > 0.1
    found = [one.result for one in several.stream(folder)]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_ncnn_refuses_networks_that_it_gets_wrong(networks, tmp_path):
    suffix_of('ncnn')
    model = init_model(*networks['corners'], 'cpu')
    with pytest.raises(ValueError, match='align_corners'):
        export(model, tmp_path / 'model.param', describe(model, 'logits', 'fp32'))
    assert not list(tmp_path.iterdir())


def content_of_other(weights: bytes) -> bytes:
    """Return weights of the same sizes in which one value is another."""
    return weights[:-4] + np.float32(1).tobytes()


def test_a_worse_file_fails_and_is_kept_aside(streets, tmp_path, monkeypatch, capsys):
    suffix_of('ncnn')
    config = write_config(tmp_path / 'config.py')
    checkpoint = write_checkpoint(tmp_path / 'random.pth', config)

    class Perturbed(exporting.FrameModel):
        """As an exporter with a fault would write it: other weights in one layer."""

        def __init__(self, *args):
            super().__init__(*args)
            self.backbone.first_conv.weight.data *= 1.2

    monkeypatch.setattr(exporting, 'FrameModel', Perturbed)
    out = tmp_path / 'out/model.param'
    words = [config, checkpoint, '--format', 'ncnn', '--out', out, '--images', 2]
    words += ['--size', 64, 128]
    words += ['--data-root', streets]
    args = command.parse_args(ArgumentParser(), [str(word) for word in words])
    with pytest.raises(SystemExit) as ended:
        command.main(args)
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert 'of labels equal at' in said and 'results differ by' in said
    kept = {f'model.failed{part}' for part in ('.param', *PARTS['.param'])}
    assert {file.name for file in out.parent.iterdir()} == kept
    assert Predictor(out.parent / 'model.failed.param').description.output == 'logits'
    with pytest.raises(FileExistsError, match=r'model\.failed\.param exists'):
        command.main(args)


def test_an_export_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    """The main file comes last, and what was written before it is removed."""
    drafts = tmp_path / 'drafts'
    drafts.mkdir()
    for suffix in ('.param', *PARTS['.param']):
        (drafts / f'model{suffix}').write_bytes(b'content')
    path, begun = tmp_path / 'model.param', []

    def full(part: Path, content: bytes):
        begun.append(part.suffix)
        if part == path:
            raise OSError(28, 'No space left on device', str(part))
        write_file(part, content)

    monkeypatch.setattr(exporting, 'write_file', full)
    with pytest.raises(OSError, match=r'model\.param'):
        exporting.write_whole(drafts / 'model.param', path)
    assert begun == ['.json', '.bin', '.param']
    assert [file.name for file in tmp_path.iterdir()] == ['drafts']


@pytest.mark.parametrize(
    'words, message',
    [
        (['--format', 'ncnn', '--output', 'labels'], 'logits or probabilities'),
        (['--format', 'onnx', '--precision', 'bf16'], 'fp32, fp16'),
        (['--format', 'executorch'], '--size H W'),
    ],
)
def test_forms_that_do_not_exist_are_refused(words, message):
    said = run('tools/export.py', TOY, 'none.pth', *words, ok=False)
    assert message in said.splitlines()[-1]
