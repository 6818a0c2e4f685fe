"""The optimizer Muon: its steps against formulas, and what it leaves to AdamW."""

import copy
from collections import Counter

import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from mmseg_fastscnn import FastSCNN
from mmseg_fastscnn.engine.muon import MuonAdamW, orthogonalised

init_default_scope('mmseg_fastscnn')


def test_singular_values_come_near_one_and_vectors_stay():
    generator = torch.Generator().manual_seed(0)
    shapes = [(48, 32), (32, 288), (32, 32), (11, 128), (1, 5), (48, 32)]
    matrices = [torch.randn(shape, generator=generator) for shape in shapes]
    matrices[2] *= torch.logspace(0, -3, 32)  # singular values that differ much
    for matrix, found in zip(matrices, orthogonalised(matrices), strict=True):
        # the rounds as they are written in the paper
        x = matrix.double() / matrix.double().norm()
        for _ in range(5):
            gram = x @ x.mT
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
        assert (found - x).norm() < 1e-3 * x.norm()
        values = torch.linalg.svdvals(found)
        near = values if matrix is not matrices[2] else values[:24]
        assert near.min() > 0.6 and near.max() < 1.25
    assert not orthogonalised([torch.zeros(4, 6)])[0].any()


def trained(optimizer, model, steps: int, seed: int = 0):
    """Make steps with gradients that are drawn."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=generator)
        optimizer.step()
    return model


def test_kernels_that_mix_channels_go_by_muon_and_the_rest_by_adamw():
    torch.manual_seed(0)
    start = FastSCNN(5).segmentor
    settings = dict(lr=0.01, weight_decay=0.1)
    ours, theirs = copy.deepcopy(start), copy.deepcopy(start)
    wrapper = dict(optimizer=dict(type='MuonAdamW', **settings, momentum=0.8))
    optimizer = build_optim_wrapper(ours, wrapper).optimizer
    assert len(optimizer.param_groups) == 2
    trained(optimizer, ours, 2)
    trained(torch.optim.AdamW(theirs.parameters(), **settings), theirs, 2)
    kernels = {
        name
        for name, p in start.named_parameters()
        if p.dim() == 4 and p.shape[1] > 1 and 'conv_seg' not in name
    }
    assert len(kernels) == 32
    generator = torch.Generator().manual_seed(0)
    grads = [
        {
            n: torch.randn(p.shape, generator=generator)
            for n, p in start.named_parameters()
        }
        for _ in range(2)
    ]
    for name, p in start.named_parameters():
        found, other = ours.get_parameter(name), theirs.get_parameter(name)
        if name not in kernels:
            assert torch.equal(found, other), name
            continue
        expected, average = p.detach().flatten(1), 0
        for grad in grads:
            grad = grad[name].flatten(1)
            average = 0.8 * average + 0.2 * grad
            (step,) = orthogonalised([0.2 * grad + 0.8 * average])
            size = 0.2 * max(step.shape) ** 0.5
            expected = expected * (1 - 0.01 * 0.1) - 0.01 * size * step
        moved = (expected - p.detach().flatten(1)).norm()
        # products round by the batch that they are in
        assert (found.flatten(1) - expected).norm() < 1e-4 * moved, name


def test_parameters_of_equal_settings_are_one_group():
    """Whatever the optimizer; `paramwise_cfg` may give classifiers to Muon, too."""
    model = FastSCNN(5).segmentor
    count = len(list(model.parameters()))
    classifiers = [p for n, p in model.named_parameters() if 'conv_seg' in n]
    muon, adam = dict(type='MuonAdamW', lr=0.1), dict(type=torch.optim.AdamW, lr=0.1)
    slow = dict(custom_keys=dict(backbone=dict(lr_mult=0.5)))
    back = len(list(model.backbone.parameters()))
    every = dict(custom_keys=dict(conv_seg=dict(muon=True)))
    for optimizer, paramwise, expected in [
        (muon, None, {(0.1, True): count - 6, (0.1, False): 6}),
        (
            muon,
            slow,
            {(0.05, True): back, (0.1, True): count - back - 6, (0.1, False): 6},
        ),
        (muon, every, {(0.1, True): count}),
        (adam, slow, {(0.05, None): back, (0.1, None): count - back}),
        (adam, None, {(0.1, None): count}),
    ]:
        wrapper = dict(optimizer=optimizer, paramwise_cfg=paramwise)
        groups = build_optim_wrapper(model, wrapper).optimizer.param_groups
        found = Counter()
        for group in groups:
            found[group['lr'], group.get('muon')] += len(group['params'])
        assert found == expected
        for group in groups:
            if group.get('muon') is False:
                assert set(group['params']) == set(classifiers)


def test_it_goes_on_from_its_state():
    torch.manual_seed(0)
    start = FastSCNN(5).segmentor
    whole, half = copy.deepcopy(start), copy.deepcopy(start)
    optimizer = MuonAdamW(whole.parameters(), lr=0.01)
    trained(optimizer, whole, 2)
    trained(optimizer, whole, 2, seed=1)
    optimizer = MuonAdamW(half.parameters(), lr=0.01)
    trained(optimizer, half, 2)
    state = copy.deepcopy(optimizer.state_dict())
    optimizer = MuonAdamW(half.parameters(), lr=0.02)
    optimizer.load_state_dict(state)
    trained(optimizer, half, 2, seed=1)
    for one, other in zip(whole.parameters(), half.parameters(), strict=True):
        assert torch.equal(one, other)
