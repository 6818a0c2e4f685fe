"""Every format gives the same numbers, whatever the network; and nothing by halves."""

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from conftest import run
from exported import SHALLOW, frame_of, write_checkpoint, write_config

from mmseg_fastscnn import writing
from mmseg_fastscnn.apis import inference_model, init_model
from mmseg_fastscnn.deploy import export as exporting
from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.export import PACKAGES, export
from mmseg_fastscnn.deploy.formats import OUTPUTS, PRECISIONS, SUFFIXES, check_form
from mmseg_fastscnn.deploy.torch_runtime import describe

# Two networks have all that exporters could take for granted.
NETWORKS = dict(
    corners=(
        f'{SHALLOW[:-1]}, in_channels=4), num_classes=16, align_corners=True, '
        'data_preprocessor=dict(mean=[100, 110, 120, 90], std=[50, 60, 70, 40])'
    ),
    threshold=(
        f'{SHALLOW}, num_classes=2, '
        'decode_head=dict(out_channels=1, threshold=0.3, '
        "loss_decode=dict(use_sigmoid=True)), auxiliary_head=None"
    ),
)
SIZES = [(33, 33), (97, 131), (64, 128)]
FORMS = ('onnx', 'openvino', 'ncnn', 'torch_export', 'executorch')


def suffix_of(kind: str) -> str:
    """Return a format's suffix; skip the test where its packages are not installed."""
    for package in PACKAGES[SUFFIXES[kind]]:
        if find_spec(package) is None:
            pytest.skip(f'{package} is not installed')
    return SUFFIXES[kind]


@pytest.fixture(scope='module', params=NETWORKS)
def network(request, tmp_path_factory) -> tuple[Path, Path]:
    """A config and a checkpoint of it."""
    folder = tmp_path_factory.mktemp(request.param)
    config = write_config(folder / 'config.py', NETWORKS[request.param])
    return config, write_checkpoint(folder / 'random.pth', config)


@pytest.mark.parametrize('kind', FORMS)
def test_every_format_gives_the_same_numbers(network, kind, tmp_path):
    suffix = suffix_of(kind)
    model = init_model(*network, 'cpu')
    size = (64, 128) if kind == 'executorch' else None
    path = tmp_path / f'model{suffix}'
    output = OUTPUTS[kind][0]
    export(model, path, describe(model, output, 'fp32', size))
    predictor = Predictor(path)
    channels = predictor.description.channels
    for shape in [size] if size else SIZES:
        frame = frame_of(shape, channels)
        sample = inference_model(model, frame, with_logits=True)
        expected = sample.pred_sem_seg.data[0].numpy()
        assert len(np.unique(expected)) >= min(4, model.num_classes)
        found = predictor.run(frame)
        assert (predictor.labels(found, shape) == expected).mean() > 0.999
        if output == 'logits':
            logits = sample.seg_logits.data
            scores = logits.softmax(0) if len(logits) > 1 else logits.sigmoid()
            probabilities = predictor.probabilities(found, shape)
            np.testing.assert_allclose(probabilities, scores.numpy(), atol=1e-4)
    if size is None:
        frames = np.stack([frame, frame[::-1]])
        alone = [predictor.runtime(one[None])[0] for one in frames]
        np.testing.assert_allclose(predictor.runtime(frames), alone, atol=1e-4)
