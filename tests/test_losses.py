"""Losses against PyTorch's own, written the long way."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmseg_fastscnn.models.decode_heads import upsampled_form
from mmseg_fastscnn.models.head_losses import loss_at_full_size
from mmseg_fastscnn.models.losses import CrossEntropyLoss
from mmseg_fastscnn.models.ohem import OhemCrossEntropy
from mmseg_fastscnn.ops.bilinear import BAND_VALUES

WEIGHT = [0.5, 2.0, 1.0, 3.0]


@pytest.fixture
def batch():
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 6, 8, requires_grad=True)
    label = torch.randint(0, 4, (2, 6, 8))
    label[:, :2] = 255
    return logits, label


def long_way(logits, label, use_sigmoid, weight, avg_non_ignore):
    valid = label != 255
    if use_sigmoid:
        one_hot = F.one_hot(label.where(valid, 0), 4).permute(0, 3, 1, 2).float()
        pos_weight = None if weight is None else torch.tensor(weight).view(4, 1, 1)
        loss = F.binary_cross_entropy_with_logits(
            logits, one_hot, pos_weight=pos_weight, reduction='none'
        )
        total = loss.permute(0, 2, 3, 1)[valid].sum()
        return total / (4 * (valid.sum() if avg_non_ignore else valid.numel()))
    weight = None if weight is None else torch.tensor(weight)
    total = F.cross_entropy(
        logits, label, weight=weight, ignore_index=255, reduction='sum'
    )
    counted = valid.sum() if weight is None else weight[label[valid]].sum()
    return total / (counted if avg_non_ignore else counted + (~valid).sum())


@pytest.mark.parametrize('avg_non_ignore', [False, True])
@pytest.mark.parametrize('weight', [None, WEIGHT])
@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_cross_entropy(batch, use_sigmoid, weight, avg_non_ignore):
    logits, label = batch
    module = CrossEntropyLoss(
        use_sigmoid, weight, loss_weight=0.4, avg_non_ignore=avg_non_ignore
    )
    ours = module(logits, label)
    theirs = 0.4 * long_way(logits, label, use_sigmoid, weight, avg_non_ignore)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(ours, logits)
    (expected,) = torch.autograd.grad(theirs, logits)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_weights_of_one_change_nothing(batch, use_sigmoid):
    plain = CrossEntropyLoss(use_sigmoid)(*batch)
    weighted = CrossEntropyLoss(use_sigmoid, class_weight=[1.0] * 4)(*batch)
    torch.testing.assert_close(plain, weighted)


@pytest.mark.parametrize('avg_non_ignore', [False, True])
@pytest.mark.parametrize('weight, factor', [(None, 1), ([3.0], 3), ([0.5, 2.0], 4)])
def test_one_channel(batch, weight, factor, avg_non_ignore):
    """Binary cross entropy of class 1; its weight, or the ratio of the two."""
    logits, label = batch[0][:, :1], batch[1].where(batch[1] == 255, batch[1] % 2)
    ours = CrossEntropyLoss(True, weight, avg_non_ignore=avg_non_ignore)(logits, label)
    valid = label != 255
    total = F.binary_cross_entropy_with_logits(
        logits[:, 0][valid],
        label[valid].float(),
        pos_weight=torch.tensor(float(factor)),
        reduction='sum',
    )
    count = valid.sum() if avg_non_ignore else valid.numel()
    torch.testing.assert_close(ours, total / count)


@pytest.mark.parametrize(
    'module',
    [
        CrossEntropyLoss(),
        CrossEntropyLoss(use_sigmoid=True, avg_non_ignore=True),
        CrossEntropyLoss(class_weight=WEIGHT, avg_non_ignore=True),
        OhemCrossEntropy(),
    ],
)
def test_nothing_labelled_is_zero_with_gradients(batch, module):
    logits, label = batch
    loss = module(logits, torch.full_like(label, 255))
    loss.backward()
    assert loss == 0 and logits.grad.abs().sum() == 0


def test_wrong_number_of_class_weights(batch):
    with pytest.raises(ValueError, match='3 values for 4 classes'):
        CrossEntropyLoss(class_weight=[1, 2, 3])(*batch)


def test_class_weights_from_a_file(batch, tmp_path):
    np.save(tmp_path / 'weights.npy', WEIGHT)
    (tmp_path / 'weights.json').write_text(str(WEIGHT))
    expected = CrossEntropyLoss(class_weight=WEIGHT)(*batch)
    for name in ('weights.npy', 'weights.json'):
        loss = CrossEntropyLoss(class_weight=str(tmp_path / name))
        assert loss(*batch) == expected and not loss.state_dict()
    (tmp_path / 'weights.json').write_text('{"road": 1}')
    with pytest.raises(ValueError, match='holds no list of numbers'):
        CrossEntropyLoss(class_weight=str(tmp_path / 'weights.json'))
    with pytest.raises(ValueError, match=r'\.npy and \.json files only'):
        CrossEntropyLoss(class_weight='weights.pkl')


def test_class_weights_that_nobody_has_counted(batch):
    with pytest.raises(RuntimeError, match="class_weight='auto' is computed when"):
        CrossEntropyLoss(class_weight='auto')(*batch)


UPSAMPLED = {
    'softmax': CrossEntropyLoss(),
    'softmax, weights': CrossEntropyLoss(class_weight=WEIGHT, avg_non_ignore=True),
    'sigmoid': CrossEntropyLoss(use_sigmoid=True, loss_weight=0.4),
    'sigmoid, weights': CrossEntropyLoss(True, WEIGHT, avg_non_ignore=True),
    'ohem': OhemCrossEntropy(thres=0.4, min_kept=100),
    'ohem, weights': OhemCrossEntropy(0.1, 700, WEIGHT),
}


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('size', [(40, 56), (39, 50), (5, 7), (3, 4), (41, 1)])
@pytest.mark.parametrize('name', UPSAMPLED)
def test_of_upsampled_logits(name, size, align_corners, monkeypatch):
    """Loss, gradients and accuracy of the form in bands are those of the plain one."""
    monkeypatch.setitem(BAND_VALUES, 'cpu', 4 * size[1] * 3)  # bands of 3 rows
    torch.manual_seed(0)
    logits = (4 * torch.randn(2, 4, 5, 7)).requires_grad_()
    label = torch.randint(0, 4, (2, *size), dtype=torch.uint8)
    label[0, : size[0] // 3] = 255
    loss = UPSAMPLED[name]
    ours, correct = loss.of_upsampled(logits, label, align_corners)
    theirs, expected_correct = loss_at_full_size(
        loss, None, logits, label, align_corners
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    assert correct == expected_correct
    (gradient,) = torch.autograd.grad(3 * ours, logits)
    (expected,) = torch.autograd.grad(3 * theirs, logits)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize('name', UPSAMPLED)
def test_nothing_labelled(name):
    logits = torch.randn(1, 4, 2, 2, requires_grad=True)
    label = torch.full((1, 8, 8), 255, dtype=torch.uint8)
    loss, correct = UPSAMPLED[name].of_upsampled(logits, label)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss == 0 and correct == 0 and not gradient.any()


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[-300.0, 300.0], [300.0, -300.0]]).view(1, 2, 1, 2)
    label = torch.tensor([[[0, 0, 1, 1]]], dtype=torch.uint8)
    for use_sigmoid in (False, True):
        loss = CrossEntropyLoss(use_sigmoid)
        ours, _ = loss.of_upsampled(logits, label)
        theirs, _ = loss_at_full_size(loss, None, logits, label, False)
        torch.testing.assert_close(ours, theirs)
        assert ours > 100
        diverged, _ = loss.of_upsampled(logits * torch.nan, label)
        assert diverged.isnan()


def test_a_derived_loss_that_changes_forward_is_computed_by_it():
    class Double(CrossEntropyLoss):
        def forward(self, logits, label, ignore_index=255):
            return 2 * super().forward(logits, label)

    logits, label = torch.randn(1, 4, 3, 3), torch.randint(0, 4, (1, 9, 9))
    single, _ = upsampled_form(CrossEntropyLoss())(logits, label, False)
    double, _ = upsampled_form(Double())(logits, label, False)
    torch.testing.assert_close(double, 2 * single)
