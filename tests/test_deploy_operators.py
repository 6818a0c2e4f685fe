"""The ONNX file that other devices' converters start from uses operators they know."""

import json
from pathlib import Path

import pytest
from exported import write_checkpoint, write_config

from mmseg_fastscnn.apis import init_model
from mmseg_fastscnn.deploy.export import export
from mmseg_fastscnn.deploy.torch_runtime import describe

PUBLISHED = json.loads(
    (Path(__file__).parent / 'data/deploy_operators.json').read_text()
)
LETTERS = dict(FLOAT='F', FLOAT16='F', INT32='I', INT64='I', BOOL='B', UINT8='U')


@pytest.fixture(scope='module')
def used(tmp_path_factory) -> dict[str, set[str]]:
    """Letters of the types that each operator of a file reads and writes.

    The file is as the page says for such devices: of one size, with logits.
    """
    onnx = pytest.importorskip('onnx')
    folder = tmp_path_factory.mktemp('onnx')
    config = write_config(folder / 'config.py')
    model = init_model(config, write_checkpoint(folder / 'random.pth', config), 'cpu')
    path = folder / 'model.onnx'
    export(model, path, describe(model, 'logits', 'fp32', size=(192, 384)))
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    kinds = {value.name: value.data_type for value in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        kinds[value.name] = value.type.tensor_type.elem_type
    operators: dict[str, set[str]] = {}
    for node in graph.node:
        kind = operators.setdefault(node.op_type, set())
        for name in filter(None, (*node.input, *node.output)):
            kind.add(LETTERS[onnx.TensorProto.DataType.Name(kinds[name])])
    return operators


def test_tensorrt_knows_the_operators_and_their_types(used):
    known = PUBLISHED['tensorrt']['operators']
    assert not set(used) - set(known)
    for name, kinds in used.items():
        assert kinds <= {*known[name], 'I'}, name  # shapes and axes are integers


def test_litert_by_onnx2tf_knows_the_operators(used):
    assert not set(used) - set(PUBLISHED['litert']['operators'])


def test_the_page_names_the_operators(used):
    """docs/deploy.md lists them, for devices whose list is not public."""
    page = (Path(__file__).parents[1] / 'docs/deploy.md').read_text()
    listed = page.split('The operators are among ')[1].split('.')[0]
    assert set(used) <= set(listed.replace(',', ' ').split())
