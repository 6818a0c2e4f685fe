"""INT8 files: whole numbers where they should be, and as accurate as was asked for."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import run
from exported import frame_of, write_checkpoint, write_config

from mmseg_fastscnn.deploy import export
from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.byte_rows import read_byte_rows
from mmseg_fastscnn.deploy.int8 import layers_in_float
from mmseg_fastscnn.deploy.int8_onnx import OnnxQuantiser
from mmseg_fastscnn.deploy.labelled_images import miou_of
from mmseg_fastscnn.ops.cell_argmax import cell_argmax

FRAME = frame_of((96, 128))
SMALLER = 'backbone=dict(num_blocks=(1, 1, 1), pool_scales=(1, 2))'
SPOILT = ['backbone.global_feature_extractor.bottleneck1.0.layers.0.conv']
SPOILT += [SPOILT[0].replace('layers.0', 'layers.1')]  # the layer after it


@pytest.fixture(scope='module')
def in_float(shallow, tmp_path_factory) -> Path:
    """A float file, which gives the logits besides the labels."""
    import onnx

    file = tmp_path_factory.mktemp('float') / 'labels.onnx'
    proto = onnx.load(shallow / 'model.onnx')
    classifier = [node for node in proto.graph.node if node.op_type == 'Conv'][-1]
    shape = ['n', 'classes', 'h', 'w']
    value = onnx.helper.make_tensor_value_info(classifier.output[0], 1, shape)
    proto.graph.output.append(value)
    onnx.save(proto, file)
    return file


def quantiser_of(file: Path) -> OnnxQuantiser:
    described = replace(Predictor(file).description, precision='int8')
    return OnnxQuantiser(file, described, [FRAME[None], FRAME[None, ::-1]])


def test_labels_are_those_of_the_logits(in_float, tmp_path):
    """The first two layers, and all from the classifier on, stay in float."""
    import onnx

    file = tmp_path / 'int8.onnx'
    quantiser = quantiser_of(in_float)
    quantiser.write(file, quantiser.layers)
    weights = [w for w in onnx.load(file).graph.initializer if len(w.dims) == 4]
    kinds = [weight.data_type for weight in weights]
    assert kinds.count(onnx.TensorProto.INT8) == 24
    assert kinds.count(onnx.TensorProto.FLOAT) == 3
    predictors = Predictor(in_float), Predictor(file)
    assert predictors[1].description.precision == 'int8'
    whole, (labels, logits) = (
        p.runtime.session.run(None, {'frame': FRAME[None]}) for p in predictors
    )
    assert 0 < np.abs(logits - whole[1]).mean() < 0.3 * np.abs(whole[1]).mean()
    assert (labels == whole[0]).mean() > 0.95
    exact = cell_argmax(logits[0], FRAME.shape[:2], False)
    np.testing.assert_array_equal(labels[0], exact)
    assert len(np.unique(exact)) > 4


@pytest.mark.parametrize('whole_mean', [True, False])
def test_the_first_layer_reads_bytes_as_they_lie(whole_mean, in_float, tmp_path):
    """Equal, but for the padding with a mean that is rounded to whole bytes."""
    import onnx
    from onnx.numpy_helper import from_array, to_array

    files, proto = (
        (tmp_path / 'planes.onnx', tmp_path / 'rows.onnx'),
        onnx.load(in_float),
    )
    (mean,) = (values for values in proto.graph.initializer if values.name == 'mean')
    assert np.abs(to_array(mean) % 1).max() > 0.2
    if whole_mean:
        mean.CopyFrom(from_array(to_array(mean).round(), 'mean'))
    onnx.save(proto, files[0])
    read_byte_rows(proto.graph, 32)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, files[1])
    sessions = [Predictor(file).runtime.session for file in files]
    for frames in (FRAME[None], np.stack([FRAME[:-1, :-2], FRAME[1:, 2:]])):
        planes, rows = (s.run(None, {'frame': frames})[1] for s in sessions)
        error = np.abs(rows - planes).max() / np.abs(planes).max()
        assert error < 1e-4 if whole_mean else 1e-4 < error < 0.02


def test_layers_that_lose_accuracy_go_back_to_float(in_float, tmp_path):
    """One channel is 1000 times the others, so that 8 bits leave nothing of these."""
    import onnx
    from onnx.numpy_helper import from_array, to_array

    proto = onnx.load(in_float)
    first, second = SPOILT
    factors = {f'{first}.weight': 1000, f'{first}.bias': 1000, f'{second}.weight': 1e-3}
    for values in proto.graph.initializer:
        if values.name in factors:
            array = to_array(values).copy()
            array[0] *= factors[values.name]
            values.CopyFrom(from_array(array, values.name))
    file, draft = tmp_path / 'spoilt.onnx', tmp_path / 'draft.onnx'
    onnx.save(proto, file)
    quantiser = quantiser_of(file)
    images = [(FRAME, Predictor(file)(FRAME))]

    def miou(in_int8):
        quantiser.write(draft, in_int8)
        return miou_of(Predictor(draft), images)

    layers = [*quantiser.layers[:3], *SPOILT]
    assert layers_in_float(layers, miou, 100, 40) == SPOILT
    with pytest.raises(ValueError, match='any layer in INT8'):
        layers_in_float(SPOILT, miou, 100, 0)


def test_export_command(streets, tmp_path):
    out = tmp_path / 'model.onnx'
    config = write_config(tmp_path / 'smaller.py', SMALLER)
    checkpoint = write_checkpoint(tmp_path / 'random.pth', config)
    command = ['tools/export.py', config, checkpoint, '--out', out]
    command += ['--data-root', streets, '--precision', 'int8', '--images', 2]
    said = run(*command, '--calibrate', 3, '--max-drop', 5)
    assert 'in float stay: no layers' in said
    assert re.search(r'CPU time .* ms in fp32, [\d.]+ in INT8', said)
    assert re.search(r'equal labels: [\d.]+ % on 2 images', said)
    assert Predictor(out).description.precision == 'int8'


def test_a_package_that_lacks_is_named(monkeypatch):
    monkeypatch.setattr(export, 'find_spec', lambda name: None if name == 'nncf' else 1)
    with pytest.raises(ImportError, match='pip install nncf'):
        export.check_packages('.xml', 'int8')
    export.check_packages('.xml', 'bf16')


def test_openvino(in_float, tmp_path):
    """By NNCF, which `make test` does not install."""
    pytest.importorskip('nncf')
    openvino = pytest.importorskip('openvino')
    import onnx

    from mmseg_fastscnn.deploy.int8_openvino import OpenVinoQuantiser

    proto = onnx.load(in_float)
    proto.graph.output.pop(0)  # the labels
    onnx.save(proto, tmp_path / 'logits.onnx')
    graph = openvino.convert_model(tmp_path / 'logits.onnx')
    described = replace(Predictor(in_float).description, output='logits')
    export.save_openvino(graph, tmp_path / 'float.xml', described)
    described = replace(described, precision='int8')
    frames = [FRAME[None], FRAME[None, ::-1]]
    quantiser = OpenVinoQuantiser(tmp_path / 'float.xml', described, frames)
    assert SPOILT[0] in quantiser.layers
    assert len(quantiser.layers) == 25
    for layers in (quantiser.layers, SPOILT):
        file = tmp_path / f'{len(layers)}.xml'
        quantiser.write(file, layers)
        constants = [
            node
            for node in openvino.Core().read_model(file).get_ops()
            if node.get_type_name() == 'Constant'
        ]
        whole = [c for c in constants if c.get_element_type() == openvino.Type.i8]
        assert len(whole) == len(layers), layers  # their weights
        same = Predictor(file)(FRAME) == Predictor(in_float)(FRAME)
        assert same.mean() > 0.95
