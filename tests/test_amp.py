from collections import defaultdict
from contextlib import nullcontext

import pytest
import torch
from formulas import fill, image_batch, label_batch, labelled_samples, model_config
from mmengine.registry import init_default_scope

from mmseg_fastscnn.engine.amp import AmpOptimWrapper
from mmseg_fastscnn.registry import MODELS

init_default_scope('mmseg_fastscnn')


def gradients(amp: bool, monkeypatch) -> tuple[dict, dict]:
    """Gradients of a step; in which types convolutions worked, by strided depthwise."""
    model = fill(MODELS.build(model_config())).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = AmpOptimWrapper(dtype='bfloat16', optimizer=optimizer)
    wrapper.device_type = 'cpu'
    seen = defaultdict(set)
    inner = torch.nn.Conv2d._conv_forward

    def watched(layer, x, weight, bias):
        out = inner(layer, x, weight, bias)
        seen[layer.groups > 1 < max(layer.stride)].add(out.dtype)
        return out

    monkeypatch.setattr(torch.nn.Conv2d, '_conv_forward', watched)
    with wrapper.optim_context(model) if amp else nullcontext():
        samples = labelled_samples(label_batch(2, 64, 128))
        losses = model.loss(image_batch(2, 64, 128), samples)
    monkeypatch.undo()
    assert not any('forward' in vars(layer) for layer in model.modules())
    total, _ = model.parse_losses(losses)
    total.backward()
    return {name: p.grad for name, p in model.named_parameters()}, seen


def test_bfloat16_gradients_are_those_of_float32_roughly(monkeypatch):
    exact, _ = gradients(False, monkeypatch)
    rough, seen = gradients(True, monkeypatch)
    assert seen == {True: {torch.float32}, False: {torch.bfloat16}}
    similar = [
        torch.cosine_similarity(exact[name].flatten(), rough[name].flatten(), dim=0)
        for name in exact
        if name.endswith('conv_seg.weight')
    ]
    assert len(similar) == 3 and min(similar) > 0.98
    assert all(gradient.isfinite().all() for gradient in rough.values())


def test_gradients_that_always_overflow_end_a_run():
    """By float16's scaler, which also works on CPUs; the weights stay."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    wrapper = AmpOptimWrapper(dtype='bfloat16', optimizer=optimizer)
    wrapper.scaler = torch.amp.GradScaler('cpu', init_scale=4.0)
    for _ in range(12):  # down to a scale of 2 ** -10
        wrapper.update_params((weight * torch.inf).sum())
        wrapper.check_scale()
    wrapper.update_params((weight * torch.inf).sum())
    with pytest.raises(ValueError, match=r'overflow in float16.*scaled by 0\.00049'):
        wrapper.check_scale()
    assert weight.tolist() == [1, 1]
