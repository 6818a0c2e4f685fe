"""The C++ example is built, and gives the labels that Python gives."""

import os
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT
from test_deploy import checkpoint, config, frames_of  # noqa: F401, fixtures

from mmseg_fastscnn.apis import init_model
from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.pictures import overlay

SOURCE = ROOT / 'examples/cpp/segment.cpp'
COMPILE = [
    *('g++', '-O1', '-std=c++17', '-Wall', str(SOURCE)),
    *('-I/usr/include/onnxruntime', '-I/usr/include/stb'),
]


@pytest.fixture(scope='module')
def program(tmp_path_factory) -> tuple[Path, dict]:
    """The example, linked with the library of Python's onnxruntime, and its settings.

    Headers are looked for where Debian has them, and in CPLUS_INCLUDE_PATH.
    """
    onnxruntime = pytest.importorskip('onnxruntime')
    libraries = list(Path(onnxruntime.__file__).parent.glob('capi/libonnxruntime.so.*'))
    if shutil.which('g++') is None:
        pytest.skip('there is no g++')
    if not libraries:
        pytest.skip("Python's onnxruntime has no library of its own to link with")
    if subprocess.run([*COMPILE, '-M'], capture_output=True).returncode:
        pytest.skip('the headers are not installed: libonnxruntime-dev and libstb-dev')
    folder = tmp_path_factory.mktemp('cpp')
    for name in ('libonnxruntime.so', 'libonnxruntime.so.1'):
        (folder / name).symlink_to(libraries[0])
    link = [f'-L{folder}', '-lonnxruntime', '-o', str(folder / 'segment')]
    subprocess.run([*COMPILE, *link], check=True)
    return folder / 'segment', {**os.environ, 'LD_LIBRARY_PATH': str(folder)}


def test_the_example_gives_the_labels_of_python(program, checkpoint, config, tmp_path):  # noqa: F811
    from mmseg_fastscnn.deploy.export import export
    from mmseg_fastscnn.deploy.torch_runtime import describe

    file, (segment, env) = tmp_path / 'street.onnx', program
    model = init_model(config, checkpoint, 'cpu')
    export(model, file, describe(model, 'labels', 'fp32'))
    predictor = Predictor(file)

    def call(*words: object) -> subprocess.CompletedProcess:
        return subprocess.run(
            [segment, *words], cwd=tmp_path, env=env, capture_output=True, text=True
        )

    for k, image in enumerate(frames_of([(33, 33), (97, 131), (128, 256)])):
        cv2.imwrite(str(tmp_path / f'{k}.png'), image)
        done = call(file, f'{k}.png', f'labels{k}.png', f'overlay{k}.png')
        assert done.returncode == 0, done.stderr
        labels = cv2.imread(str(tmp_path / f'labels{k}.png'), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(labels, predictor(image))
        assert len(np.unique(labels)) > 4
        picture = cv2.imread(str(tmp_path / f'overlay{k}.png')).astype(int)
        expected = overlay(image, labels, predictor.palette, 0.5)
        assert np.abs(picture - expected).max() <= 1  # halves are rounded otherwise
    (tmp_path / 'cut.onnx').write_bytes(file.read_bytes()[:5000])
    for words, message in [
        ((file, '0.png', 'labels0.png', 'new.png'), 'labels0.png exists'),
        ((file, 'street.onnx', 'a.png', 'b.png'), 'unknown image type'),
        (('cut.onnx', '0.png', 'a.png', 'b.png'), 'failed'),
        ((file,), 'usage: segment'),
    ]:
        done = call(*words)
        assert done.returncode == 2 and message in done.stderr, done.stderr
