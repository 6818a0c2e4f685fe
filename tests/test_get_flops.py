"""Parameters and multiply-accumulates, against sums over the layers."""

import torch
from formulas import model_config
from torch import nn

from mmseg_fastscnn.commands.get_flops import count, table
from mmseg_fastscnn.registry import MODELS

HEADS = ('decode_head', 'auxiliary_head')


def test_each_part_has_the_sum_of_its_convolutions():
    settings, size = model_config(), (64, 128)
    counts = count(settings, size)
    model, macs = MODELS.build(settings).eval(), {}

    def add(name: str, conv: nn.Conv2d, output: torch.Tensor) -> None:
        part = name.split('.')[0]
        if part not in HEADS:
            part = '.'.join(name.split('.')[:2])
        macs[part] = macs.get(part, 0) + output.numel() * conv.weight[0].numel()

    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda c, _, y, n=name: add(n, c, y))
    model(torch.zeros(1, 3, *size), mode='tensor')
    assert len(counts) == 5
    for name, (parameters, counted) in counts.items():
        part = model.get_submodule(name)
        assert parameters == sum(p.numel() for p in part.parameters())
        if name == 'backbone.global_feature_extractor':  # pooling multiplies, too
            assert macs[name] < counted < 1.01 * macs[name]
        else:
            assert counted == macs.get(name, 0)


def test_fast_scnn_has_1_4_million_parameters():
    counts = count(model_config(), (1024, 2048))
    last, flops = table(counts, (1024, 2048)).splitlines()[-2:]
    assert last.split()[-2:] == ['1,399,939', '7.260']
    assert flops == '14.519 GFLOPs for an image of 1024x2048'
