"""The hard pixels of a batch against those of a sort."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_fastscnn.models.decode_heads import FCNHead
from mmseg_fastscnn.models.losses import CrossEntropyLoss
from mmseg_fastscnn.models.ohem import OhemCrossEntropy

WEIGHT = [0.5, 2.0, 1.0, 3.0]


@pytest.fixture
def batch():
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 6, 8, requires_grad=True)
    label = torch.randint(0, 4, (2, 6, 8))
    label[:, :2] = 255
    return logits, label


@pytest.mark.parametrize('weight', [None, WEIGHT])
@pytest.mark.parametrize('thres, min_kept', [(0.3, 5), (0.1, 20), (0.3, 10_000)])
def test_ohem(batch, thres, min_kept, weight):
    logits, label = batch
    ours = OhemCrossEntropy(thres, min_kept, weight)(logits, label)
    valid = label != 255
    probability = logits.softmax(1).permute(0, 2, 3, 1)[valid]
    probability = probability.gather(1, label[valid][:, None])[:, 0]
    loss = F.cross_entropy(
        logits,
        label,
        weight=None if weight is None else torch.tensor(weight),
        ignore_index=255,
        reduction='none',
    )[valid]
    ranked = probability.detach().sort().values
    bar = max(thres, float(ranked[min(min_kept, len(ranked) - 1)]))
    hard = probability < bar
    assert 0 < hard.sum() < len(hard)
    torch.testing.assert_close(ours, loss[hard].mean(), rtol=1e-5, atol=0)


def test_diverged_logits_are_no_number(batch):
    logits, label = batch
    assert OhemCrossEntropy()(logits * torch.nan, label).isnan()


def head(**options) -> FCNHead:
    """A head without convolutions: its logits are the features."""
    torch.manual_seed(0)
    result = FCNHead(4, 4, 4, num_convs=0, concat_input=False, **options).eval()
    torch.nn.init.dirac_(result.conv_seg.weight)
    torch.nn.init.zeros_(result.conv_seg.bias)
    return result


@pytest.mark.parametrize('thresh, min_kept', [(0.2, 3), (0.2, 30), (None, 7)])
@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_sampler(batch, use_sigmoid, thresh, min_kept):
    """Sum the loss over the hard pixels, divide by the number of all."""
    features, label = batch
    loss = dict(type='CrossEntropyLoss', use_sigmoid=use_sigmoid, class_weight=WEIGHT)
    losses = [loss, dict(loss, loss_name='loss_twice', loss_weight=2.0)]
    sampler = dict(type='OHEMPixelSampler', thresh=thresh, min_kept=min_kept)
    ours = head(loss_decode=losses, sampler=sampler).loss([features], label)

    logits, valid = features.movedim(1, -1).flatten(0, 2), label.flatten() != 255
    target = label.flatten().where(valid, 0)
    if use_sigmoid:
        pixel = F.binary_cross_entropy_with_logits(
            logits,
            F.one_hot(target, 4).float(),
            pos_weight=torch.tensor(WEIGHT),
            reduction='none',
        ).sum(1)
        divisor = pixel.numel() * 4
    else:
        pixel = F.cross_entropy(logits, target, torch.tensor(WEIGHT), reduction='none')
        divisor = torch.tensor(WEIGHT)[target[valid]].sum() + (~valid).sum()
    kept = 2 * min_kept
    if thresh is None:
        hard = torch.zeros_like(valid)
        hard[valid.nonzero()[pixel[valid].argsort(descending=True)[:kept], 0]] = True
    else:
        own = logits.softmax(1).gather(1, target[:, None])[:, 0]
        bar = own[valid].sort().values[min(kept, valid.sum() - 1)]
        hard = valid & (own < max(bar, thresh))
    assert 0 < hard.sum() < valid.sum()
    expected = pixel[hard].sum() / divisor
    torch.testing.assert_close(ours['loss_ce'], expected)
    torch.testing.assert_close(ours['loss_twice'], 2 * expected)
    accuracy = (logits.argmax(1) == target)[valid].float().mean()
    torch.testing.assert_close(ours['acc_seg'], 100 * accuracy)


def test_sampler_is_for_cross_entropy():
    sampler = dict(type='OHEMPixelSampler')
    with pytest.raises(ValueError, match='the head has DiceLoss'):
        head(sampler=sampler, loss_decode=[dict(type='DiceLoss')])
    assert isinstance(head(sampler=sampler).loss_decode[0], CrossEntropyLoss)
