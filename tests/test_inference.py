"""The network's inference form computes what the network does."""

import copy

import pytest
import torch
from formulas import fill, image_batch, model_config
from mmengine.registry import init_default_scope
from torch.utils._python_dispatch import TorchDispatchMode

from mmseg_fastscnn.models.inference import use_pooling_form
from mmseg_fastscnn.models.row_bands import RowBands
from mmseg_fastscnn.registry import MODELS

init_default_scope('mmseg_fastscnn')
BAND_BYTES = 'mmseg_fastscnn.models.row_bands.BAND_BYTES'


def small_model(**changes) -> torch.nn.Module:
    """The network with one bottleneck per stage and a second at the first."""
    config = model_config(**changes)
    config.backbone.num_blocks = (2, 1, 1)
    return fill(MODELS.build(config)).eval()


class Operators(TorchDispatchMode):
    """The names of all operators that PyTorch dispatches, views included."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('size', [(64, 96), (67, 101), (41, 32)])
@pytest.mark.parametrize('padding', [0, 1])
@pytest.mark.parametrize('norm', ['BN', 'GN'])
def test_bands_of_rows_are_the_whole(norm, padding, size, monkeypatch):
    groups = dict(num_groups=4) if norm == 'GN' else {}
    config = model_config(norm_cfg=dict(type=norm, **groups))
    config.backbone.downsample_padding = padding
    model, image = fill(MODELS.build(config)).eval(), image_batch(2, *size)
    monkeypatch.setattr(BAND_BYTES, 1)
    with torch.no_grad(), Operators() as plain:
        whole = model(image)
    assert plain.names.count('aten.convolution.default') == 45  # never cut
    model.for_inference()
    bands = 1 if norm == 'GN' else whole.shape[2]  # statistics of the whole image
    classifier, calls = model.decode_head.convs.layers[-1], []
    classifier.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        torch.testing.assert_close(model(image), whole, rtol=1e-5, atol=1e-5)
        assert len(calls) == bands
        model.train()(image)  # dropout is of whole maps
        assert len(calls) == bands + 1
    model.eval()(image)  # gradients may be asked for
    assert len(calls) == bands + 2


def test_twice_is_once_and_the_dtype_may_change():
    model, image = small_model(), image_batch(2, 96, 160)
    with torch.no_grad():
        before = model.inference(image)
        folded = model.for_inference().inference(image)
        parts = [type(part) for part in model.modules()]
        low = model.for_inference(torch.bfloat16).inference(image)
        again = model.for_inference().inference(image)
    assert parts == [type(part) for part in model.modules()]
    assert torch.nn.BatchNorm2d not in map(type, model.backbone.modules())
    torch.testing.assert_close(folded, before, rtol=1e-4, atol=1e-4)
    assert low.dtype == again.dtype == torch.float32
    spread = (before.amax(1) - before.amin(1)).mean()
    assert 0 < (low - before).abs().mean() < 0.02 * spread


def test_a_checkpoint_into_the_inference_form_is_refused():
    model = small_model()
    state = copy.deepcopy(model.state_dict())
    model.load_state_dict(state)
    with pytest.raises(ValueError, match='Build the model anew, load the checkpoint'):
        model.for_inference().load_state_dict(state)


def test_a_prediction_dispatches_few_operators():
    """Counted are all of ATen's operators, views too, at the second call of a size."""
    model = fill(MODELS.build(model_config())).eval().for_inference()
    image = image_batch(1, 256, 512).to(memory_format=torch.channels_last)
    with torch.no_grad():
        for form, most in [('operator', 95), ('matrix', 135)]:
            use_pooling_form(model, form)
            model.coarse_logits(image)
            with Operators() as second:
                model.coarse_logits(image)
            assert len(second.names) < most, form
            model.predict(image)
            with Operators() as second:
                model.predict(image)
            assert not {'aten.arange.default', 'aten.eye.default'} & set(second.names)


def test_what_is_kept_in_inference_mode_can_be_trained_with():
    model, image = small_model(), image_batch(2, 64, 160)
    with torch.inference_mode():
        model.predict(image)
    model(image).sum().backward()
    assert all(p.grad is not None for p in model.backbone.parameters())


@pytest.mark.parametrize('inference', [False, True])
def test_an_exported_graph_is_not_cut_and_fits_any_size(inference, monkeypatch):
    monkeypatch.setattr(BAND_BYTES, 1)
    model = small_model()
    with torch.no_grad():
        model(image_batch(1, 64, 96))  # what is kept of this size stays outside
        if inference:
            model.for_inference()
    network = torch.nn.Sequential(model.backbone, model.decode_head)
    limits = dict(min=33, max=4096)
    sides = {k: torch.export.Dim(name, **limits) for k, name in ((2, 'h'), (3, 'w'))}
    with torch.no_grad():
        exported = torch.export.export(
            network, (image_batch(1, 64, 96),), dynamic_shapes=(sides,)
        )
        image = image_batch(1, 97, 161)
        answer = exported.module()(image)
        torch.testing.assert_close(answer, network(image), rtol=1e-5, atol=1e-5)
    convolutions = [n for n in exported.graph.nodes if 'conv2d' in str(n.target)]
    assert len(convolutions) == sum(
        isinstance(part, torch.nn.Conv2d) for part in network.modules()
    )
    assert inference == any(isinstance(part, RowBands) for part in network.modules())
