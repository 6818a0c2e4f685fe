"""Weights of another width as a start: what was grown gives the same answers."""

import pytest
import torch
from conftest import TOY, run, small_run
from formulas import fill, image_batch, label_batch, labelled_samples, model_config
from mmengine.registry import init_default_scope

from mmseg_fastscnn.checkpoint import load_weights
from mmseg_fastscnn.models.other_width import fit_width
from mmseg_fastscnn.registry import MODELS

init_default_scope('mmseg_fastscnn')


def network(width: float, **backbone) -> torch.nn.Module:
    config = model_config(width=width)
    config.auxiliary_head[0].concat_input = True
    config.backbone.update(backbone)
    return MODELS.build(config)


def losses(model: torch.nn.Module) -> torch.Tensor:
    samples = labelled_samples(label_batch(2, 64, 96).byte())
    result = model.loss(
        image_batch(2, 64, 96).to(model.backbone.first_conv.weight), samples
    )
    return sum(value for name, value in result.items() if 'loss' in name)


@pytest.mark.parametrize('before, after', [(1, 2), (1, 1.5), (0.5, 0.75)])
def test_a_grown_network_gives_the_same_logits(before, after):
    old, new = fill(network(before)).double(), network(after).double()
    state, said = fit_width(new, old.state_dict())
    assert '2 times' not in said and 'channels are copied' in said
    load_weights(new, state, strict=True)
    image = image_batch(1, 64, 96).double()
    with torch.no_grad():
        features = [model.eval().extract_feat(image) for model in (old, new)]
        for heads in zip(
            (old.decode_head, *old.auxiliary_head),
            (new.decode_head, *new.auxiliary_head),
            strict=True,
        ):
            logits = [head(maps) for head, maps in zip(heads, features, strict=True)]
            torch.testing.assert_close(*logits, rtol=0, atol=1e-9)


def test_copies_of_a_channel_go_apart():
    new = network(2)
    load_weights(new, fit_width(new, fill(network(1)).state_dict())[0], strict=True)
    losses(new.train()).backward()
    first = new.backbone.first_conv.weight.grad
    apart = torch.cdist(first.flatten(1), first.flatten(1))
    assert apart[~torch.eye(64, dtype=bool)].min() > 1e-3 * first.norm(dim=1).mean()


def train(model: torch.nn.Module, steps: int) -> float:
    """Train on two images; return the loss on them."""
    optimizer = torch.optim.AdamW(model.train().parameters(), 3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        losses(model).backward()
        optimizer.step()
    return losses(model).item()


def test_a_slice_knows_more_than_random_weights():
    torch.manual_seed(0)
    wide, sliced, random = (network(width) for width in (0.5, 0.25, 0.25))
    for model in (wide, sliced, random):
        model.init_weights()
    train(wide, 30)
    state, said = fit_width(sliced, wide.state_dict())
    assert said.startswith('The weights are of a network 2 times as wide')
    load_weights(sliced, state, strict=True)
    assert train(sliced, 5) < 0.85 * train(random, 5)


def test_another_network_is_still_refused():
    narrow = network(0.5)
    wide = fill(network(1)).state_dict()
    fewer = fill(network(1, num_blocks=(3, 2, 3))).state_dict()
    more = fill(network(1, num_blocks=(3, 4, 3))).state_dict()
    odd = fill(network(1, expand_ratio=4, pyramid_kernel=1)).state_dict()
    first = 'backbone.learning_to_downsample.conv.conv.weight'
    integers = {**wide, first: wide[first].int()}
    for state in (fewer, more, odd, integers, {first: wide[first]}):
        assert fit_width(narrow, state)[0] is state
        with pytest.raises(ValueError, match='it is of another network'):
            load_weights(narrow, state, strict=False)
    with pytest.raises(ValueError, match='it is of another network'):
        load_weights(narrow, wide, strict=True)  # to test it, or to go on with it
    other_head = model_config(width=0.5)
    other_head.decode_head.channels = 64
    same = fill(MODELS.build(other_head)).state_dict()
    assert fit_width(narrow, same)[0] is same
    backbone = {k: v for k, v in wide.items() if k.startswith('backbone.')}
    report = load_weights(narrow, fit_width(narrow, backbone)[0], strict=False)
    assert not report.other_shape and len(report.loaded) == len(backbone)


def test_training_starts_from_another_width(tmp_path, streets):
    wide = fill(MODELS.build(model_config(width=0.5, num_classes=2)))
    meta = dict(dataset_meta=dict(classes=('sky', 'road'), palette=[[0] * 3] * 2))
    file = tmp_path / 'wide.pth'
    torch.save(dict(state_dict=wide.state_dict(), meta=meta), file)
    printed = run(
        *['tools/train.py', TOY, '--work-dir', tmp_path / 'run', '--load-from', file],
        *['--data-root', streets, *small_run(2), 'model.width=0.25'],
    )
    assert f'{file}: The weights are of a network 2 times as wide' in printed
    assert 'Classes taken over (2): road, sky' in printed
    assert f'{file}: 282 tensors loaded.' in printed
