"""Checkpoints of other classes and channels."""

import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT, TOY, run, small_run
from formulas import fill, image_batch, model_config
from mmengine.registry import init_default_scope

from mmseg_fastscnn.checkpoint import read_checkpoint
from mmseg_fastscnn.checkpoint.classes import (
    carry_over_classes,
    match_classes,
    read_classes,
)
from mmseg_fastscnn.checkpoint.load import inflate_first_convolution
from mmseg_fastscnn.registry import MODELS

OLD = [f'old {k}' for k in range(16)] + ['road', 'person', 'sky']
NEW = ['sky', 'pedestrian', 'tree', 'road']
init_default_scope('mmseg_fastscnn')


@pytest.fixture(scope='module')
def state() -> dict:
    return fill(MODELS.build(model_config())).state_dict()


def test_rows_follow_the_names(state):
    model = MODELS.build(model_config(num_classes=4))
    aliases = dict(pedestrian='person')
    result, report = carry_over_classes(model, state, NEW, OLD, aliases)
    model.load_state_dict(result)
    for head in (model.decode_head, *model.auxiliary_head):
        assert head.conv_seg.out_channels == 4
    for name, stored in state.items():
        if '.conv_seg.' in name:
            assert torch.equal(result[name][[0, 1, 3]], stored[[18, 17, 16]])
            assert result[name][2].abs().max() < 0.5  # the fresh row is small
    assert str(report) == (
        'Classes taken over (3): sky, pedestrian (from person), road; starting fresh '
        '(1): tree; of the checkpoint, not used (16): '
        + ', '.join(f'old {k}' for k in range(16))
    )
    # a pixel's logits of the classes taken over are those of the old model
    old = fill(MODELS.build(model_config())).eval()
    image = image_batch(1, 64, 64)
    with torch.no_grad():
        ours, theirs = model.eval().inference(image), old.inference(image)
    torch.testing.assert_close(ours[:, [0, 1, 3]], theirs[:, [18, 17, 16]])


def test_the_same_names_in_another_order_are_sorted(state):
    model = MODELS.build(model_config())
    shuffled = OLD[::-1]
    result, report = carry_over_classes(model, state, shuffled, OLD, {})
    name = 'decode_head.conv_seg.weight'
    assert torch.equal(result[name], state[name].flip(0))
    assert not report.fresh and not report.unused


@pytest.mark.parametrize(
    'aliases, message',
    [(dict(walker='person'), "'walker'"), (dict(tree='bush'), "'bush'")],
)
def test_an_alias_of_nothing_is_an_error(aliases, message):
    with pytest.raises(ValueError, match=f'class_aliases .*{message} is none of'):
        match_classes(NEW, OLD, aliases)


@pytest.mark.parametrize('channels', [1, 4, 6])
def test_the_first_convolution_is_inflated(state, channels):
    config = model_config()
    config.backbone.in_channels = channels
    model = MODELS.build(config)
    model.load_state_dict(inflate_first_convolution(model, state))
    conv = model.backbone.learning_to_downsample.conv.conv
    stored = state['backbone.learning_to_downsample.conv.conv.weight']
    kept = min(channels, 3)
    torch.testing.assert_close(
        conv.weight[:, :kept], stored[:, :kept] * 3 / channels, rtol=1e-6, atol=0
    )
    if channels == 6:  # an image beside its copy gives what the image alone gave
        image = image_batch(1, 32, 32)
        twice = F.conv2d(torch.cat([image, image], 1), conv.weight)
        torch.testing.assert_close(twice, F.conv2d(image, stored), rtol=1e-4, atol=1e-5)


def test_classes_from_a_data_set_or_a_file(tmp_path):
    assert read_classes('CityscapesDataset')[:2] == ['road', 'sidewalk']
    (tmp_path / 'names.txt').write_text('a\n\n b c \n')
    assert read_classes(str(tmp_path / 'names.txt')) == ['a', 'b c']
    for source in ('NoDataset', 'SegDataset'):
        with pytest.raises(ValueError, match=f'--classes-from {source}: neither'):
            read_classes(source)


def test_pretrained_init(tmp_path, state):
    torch.save(state, tmp_path / 'weights.pth')
    config = model_config()
    file = str(tmp_path / 'weights.pth')
    config.init_cfg = dict(type='Pretrained', checkpoint=file)
    whole = MODELS.build(config)
    whole.init_weights()
    assert all(torch.equal(v, state[k]) for k, v in whole.state_dict().items())
    config = model_config()
    config.backbone.init_cfg = dict(
        type='Pretrained', checkpoint=file, prefix='backbone.'
    )
    part = MODELS.build(config)
    part.init_weights()
    for name, value in part.state_dict().items():
        if name.startswith('backbone.'):
            assert torch.equal(value, state[name]), name
    assert part.decode_head.conv_seg.weight.abs().max() < 0.1  # fresh, std 0.01


def test_frozen_for_a_while_and_slower_for_ever(tmp_path, streets, state):
    torch.save(state, tmp_path / 'weights.pth')
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = ['{TOY}']\n".replace('configs', '{{ fileDirname }}/configs')
        + "custom_hooks = [dict(type='FreezeBackboneHook', iterations=2)]\n"
        'optim_wrapper = dict(paramwise_cfg=dict('
        "custom_keys={'backbone': dict(lr_mult=0.1)}))\n"
    )
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    printed = run(
        'tools/train.py',
        config,
        *['--work-dir', tmp_path / 'run', '--data-root', streets],
        *['--load-from', tmp_path / 'weights.pth', *small_run()],
    )
    assert 'names no classes' in printed and '--classes-from' in printed
    assert 'frozen until iteration 2' in printed and 'trained from here on' in printed
    assert 'lr 0.00015 now' in printed  # 3e-3, for half the batch, warming up
    frozen, trained = (read_checkpoint(tmp_path / f'run/iter_{k}.pth') for k in (2, 4))
    for name, value in frozen['state_dict'].items():
        same = torch.equal(value, state[name])
        assert same == name.startswith('backbone.'), name
    name = 'backbone.feature_fusion.dwconv.conv.weight'
    assert not torch.equal(trained['state_dict'][name], state[name])
    rates = {group['lr'] for group in trained['optimizer']['param_groups']}
    low, high = sorted(rates)
    assert low == pytest.approx(high / 10)
