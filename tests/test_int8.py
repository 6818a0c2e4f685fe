"""INT8 files: whole numbers where they should be, and as accurate as was asked for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import test_deploy
from conftest import TOY, run

from mmseg_fastscnn.apis import init_model
from mmseg_fastscnn.deploy import export
from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.export import check_packages, write_onnx
from mmseg_fastscnn.deploy.int8 import layers_in_float, miou_of
from mmseg_fastscnn.deploy.int8_onnx import OnnxQuantiser
from mmseg_fastscnn.deploy.torch_runtime import describe
from mmseg_fastscnn.ops.cell_argmax import cell_argmax

checkpoint = test_deploy.checkpoint
FRAME = test_deploy.frames_of([(97, 131)])[0]
FRAMES = [FRAME[None], FRAME[None, ::-1]]
SPOILT = ['backbone.global_feature_extractor.bottleneck1.0.layers.0.conv']
SPOILT += [SPOILT[0].replace('layers.0', 'layers.1')]


def quantiser_of(model, output: str, folder: Path) -> tuple[Path, OnnxQuantiser]:
    """Export a model in float; return that file and its quantiser."""
    pytest.importorskip('onnxruntime')
    file = folder / f'{output}.onnx'
    described = describe(model, output, 'fp32')
    write_onnx(model, file, described)
    described = replace(described, precision='int8')
    return file, OnnxQuantiser(file, described, FRAMES)


def test_labels_are_those_of_the_logits(checkpoint, tmp_path):
    """Convolutions are in INT8; the classifier and the label map are not."""
    model = init_model(TOY, checkpoint, 'cpu')
    files = {}
    for output in ('labels', 'logits'):
        files['float', output], quantiser = quantiser_of(model, output, tmp_path)
        files['int8', output] = tmp_path / f'{output}_int8.onnx'
        quantiser.write(files['int8', output], quantiser.layers)
    import onnx

    weights = onnx.load(files['int8', 'labels']).graph.initializer
    assert sum(w.data_type == onnx.TensorProto.INT8 and len(w.dims) == 4 for w in weights) == 44
    whole, found = (Predictor(files[k, 'logits']).run(FRAME) for k in ('float', 'int8'))
    assert 0 < np.abs(found - whole).mean() < 0.1 * np.abs(whole).mean()
    labels = Predictor(files['int8', 'labels'])(FRAME)
    np.testing.assert_array_equal(labels, cell_argmax(found, FRAME.shape[:2], False))
    assert len(np.unique(labels)) > 4


def test_layers_that_lose_accuracy_go_back_to_float(checkpoint, tmp_path):
    """One channel is 1000 times the others, so that 8 bits leave nothing of these."""
    model = init_model(TOY, checkpoint, 'cpu')
    modules = dict(model.named_modules())
    first, second = (modules[name] for name in SPOILT)
    first.weight.data[0] *= 1000
    first.bias.data[0] *= 1000
    second.weight.data[0] /= 1000
    file, quantiser = quantiser_of(model, 'labels', tmp_path)
    images = [(FRAME, Predictor(file)(FRAME))]

    def miou(in_int8):
        draft = tmp_path / 'draft.onnx'
        quantiser.write(draft, in_int8)
        return miou_of(Predictor(draft), images)

    layers, said = quantiser.layers[3:9], []
    found = layers_in_float(layers, miou, 100, 20, said.append)
    assert found == SPOILT
    assert 'alone in INT8 it loses' in said[1]
    with pytest.raises(ValueError, match='any layer in INT8'):
        layers_in_float(SPOILT, miou, 100, 0, said.append)
