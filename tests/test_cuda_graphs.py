"""Prediction by CUDA graphs: which calls have one, and what comes out.

Without a GPU, what stands for a graph calls the function on the same tensors again.
"""

import copy

import pytest
import torch
from test_inference import small_model

from mmseg_fastscnn.apis import init_model
from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.ops import cuda_graphs
from mmseg_fastscnn.ops.cuda_graphs import Captured, CudaGraphs


@pytest.fixture
def shapes(monkeypatch) -> list[tuple]:
    """The shapes that were captured."""
    found = []

    def captured(function, inputs, *_) -> Captured:
        output = function(inputs)
        found.append(tuple(inputs.shape))
        replay = lambda: output.copy_(function(inputs))  # noqa: E731
        return Captured(inputs, output, replay)

    monkeypatch.setattr(cuda_graphs, 'captured', captured)
    monkeypatch.setattr(cuda_graphs, 'MOST', 2)
    monkeypatch.setattr('mmseg_fastscnn.ops.host.HOST', 'none')
    return found


def test_each_of_the_first_shapes_has_a_graph(shapes):
    model = small_model().for_inference()
    plain = copy.deepcopy(model)
    model.graphs = CudaGraphs(model.network, model.parameters)
    widths = (64, 96, 128, 64, 96, 64)
    images = [torch.randn(1, 3, 64, width) for width in widths]
    with torch.no_grad():
        expected = [plain(image) for image in images]
        with torch.inference_mode():  # in which a graph may be made
            found = [model(images[0])]
        found += [model(image) for image in images[1:]]
    assert shapes == [(1, 3, 64, 64), (1, 3, 64, 96)]
    for ours, theirs in zip(found, expected, strict=True):  # the first ones, too
        torch.testing.assert_close(ours, theirs)
    copied = copy.deepcopy(model)
    assert copied.graphs.graphs == {}
    assert copied.graphs.function.__self__ is copied


def test_other_calls_have_none(shapes):
    model = small_model().for_inference()
    model.graphs = CudaGraphs(model.network, model.parameters)
    image = torch.randn(1, 3, 64, 64)
    assert model(image).requires_grad  # gradients may be asked for
    with torch.no_grad():
        model.train()(image)
    assert shapes == []
    with torch.no_grad():
        model.eval()(image)
        *_, last = model.decode_head.parameters()
        last.data = last.data.clone()  # in another place, unlike the first weight
        model(image)
    assert len(shapes) == 2
    assert len(model.graphs.graphs) == 1  # that of the former place is gone
    assert model.for_inference().graphs is None


def test_a_checkpoint_predicts_frames_by_graphs(shallow, shapes, monkeypatch):
    check = 'mmseg_fastscnn.deploy.torch_runtime.check_cuda_graph'
    monkeypatch.setattr(check, lambda device: None)
    files = shallow / 'random.pth', shallow / 'config.py'
    by_graph, plain = Predictor(*files, cuda_graph=True), Predictor(*files)
    frames = torch.randint(0, 256, (3, 64, 96, 3), dtype=torch.uint8).numpy()
    found = [by_graph(frame) for frame in frames]
    assert shapes == [(1, 64, 96, 3)]
    for labels, frame in zip(found, frames, strict=True):
        assert (labels == plain(frame)).all()


def test_what_has_no_graphs_refuses_them(shallow):
    files = shallow / 'random.pth', shallow / 'config.py'
    message = 'needs a CUDA device, and the model is on cpu'
    with pytest.raises(ValueError, match=message):
        Predictor(*files, device='cpu', cuda_graph=True)
    with pytest.raises(ValueError, match=message):
        init_model(*reversed(files), device='cpu', cuda_graph=True)
    with pytest.raises(ValueError, match='Leave out config, precision and cuda_graph'):
        Predictor(shallow / 'model.onnx', cuda_graph=True)
