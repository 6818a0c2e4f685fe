"""Focal and region losses against their definitions, in float64 and written out."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_fastscnn.models import DiceLoss, FocalLoss, LovaszLoss, TverskyLoss
from mmseg_fastscnn.models.decode_heads import upsampled_form
from mmseg_fastscnn.ops.bilinear import BAND_VALUES

WEIGHT = [0.5, 2.0, 1.0]


def pixels(logits, label, n):
    """The labelled pixels of image n: logits (P, C) and labels (P,)."""
    keep = label[n] != 255
    return logits[n].movedim(0, -1)[keep], label[n][keep]


def focal(logits, label, gamma=2.0, alpha=(0.5,) * 3, weight=(1.0,) * 3, mean=True):
    total = 0
    for n in range(len(logits)):
        z, t = pixels(logits, label, n)
        for k in range(z.shape[1]):
            p = z[:, k].sigmoid()
            positive = -alpha[k] * (1 - p) ** gamma * p.log()
            negative = -(1 - alpha[k]) * p**gamma * (1 - p).log()
            is_k = t == (k if z.shape[1] > 1 else 1)
            total = total + weight[k] * torch.where(is_k, positive, negative).sum()
    return total / (logits.numel() if mean else 1)


def dice(logits, label, probability=torch.sigmoid, naive=False, left_out=255):
    losses = []
    for n in range(len(logits)):
        z, t = pixels(logits, label, n)
        p = probability(z)
        single = p.shape[1] == 1
        target = t[:, None].double() if single else F.one_hot(t, p.shape[1]).double()
        kept = [k for k in range(p.shape[1]) if k != left_out]
        p, target = p[:, kept], target[:, kept]
        if naive:
            ratio = 2 * (p * target).sum() + 1e-3
            ratio = ratio / (p.sum() + target.sum() + 1e-3)
        else:
            below = (p * p).sum() + 1e-3 + (target * target).sum() + 1e-3
            ratio = 2 * (p * target).sum() / below
        losses.append(1 - ratio)
    return torch.stack(losses)


def tversky(logits, label, alpha=0.3, beta=0.7, weight=(1.0,) * 3, left_out=255):
    label = label.where(label != left_out, 255)
    total = 0
    for n in range(len(logits)):
        z, t = pixels(logits, label, n)
        p = z.softmax(1)
        for k in range(3):
            if k == left_out:
                continue
            is_k = (t == k).double()
            tp, fp = (p[:, k] * is_k).sum(), (p[:, k] * (1 - is_k)).sum()
            fn = ((1 - p[:, k]) * is_k).sum()
            index = (tp + 1) / (tp + alpha * fp + beta * fn + 1)
            total = total + weight[k] * (1 - index) / 3 / len(logits)
    return total


def extension(errors, positive):
    """Lovasz extension of the Jaccard loss of the set of mispredicted pixels."""
    wrong, before, total = set(), 0.0, 0.0
    truth = set(positive.nonzero()[:, 0].tolist())
    for pixel in errors.argsort(descending=True).tolist():
        wrong.add(pixel)
        jaccard = len(wrong) / len(truth | wrong)
        total = total + errors[pixel] * (jaccard - before)
        before = jaccard
    return total


def lovasz(logits, label, classes=None, weight=(1.0,) * 3):
    z = torch.cat([pixels(logits, label, n)[0] for n in range(len(logits))])
    t = label[label != 255]
    if z.shape[1] == 1:
        return extension((1 - z[:, 0] * (2.0 * t - 1)).clamp(min=0), t == 1)
    p = z.softmax(1)
    classes = t.unique().tolist() if classes is None else classes
    losses = [
        weight[k] * extension(((t == k).double() - p[:, k]).abs(), t == k)
        for k in classes
    ]
    return sum(losses) / len(losses)


def lovasz_of_images(logits, label):
    both = zip(logits.split(1), label.split(1), strict=True)
    return torch.stack([lovasz(*image) for image in both])


softmax = torch.nn.Softmax(dim=1)
CASES = {
    'focal': (FocalLoss(loss_weight=0.4), lambda *b: 0.4 * focal(*b)),
    'focal, options': (
        FocalLoss(gamma=0.5, alpha=WEIGHT, class_weight=WEIGHT, reduction='sum'),
        lambda *b: focal(*b, 0.5, WEIGHT, WEIGHT, mean=False),
    ),
    'dice': (DiceLoss(loss_weight=3.0), lambda *b: 3 * dice(*b).mean()),
    'dice, softmax': (
        DiceLoss(use_sigmoid=False, reduction='sum'),
        lambda *b: dice(*b, softmax).sum(),
    ),
    'dice, naive': (
        DiceLoss(naive_dice=True, ignore_index=0),
        lambda *b: dice(*b, naive=True, left_out=0).mean(),
    ),
    'dice, no activation': (
        DiceLoss(activate=False, naive_dice=True),
        lambda *b: dice(*b, lambda z: z, naive=True).mean(),
    ),
    'tversky': (TverskyLoss(), tversky),
    'tversky, options': (
        TverskyLoss(alpha=0.6, beta=0.4, class_weight=WEIGHT, ignore_index=1),
        lambda *b: tversky(*b, 0.6, 0.4, WEIGHT, left_out=1),
    ),
    'lovasz': (LovaszLoss(reduction='none'), lovasz),
    'lovasz, all': (
        LovaszLoss(classes='all', class_weight=WEIGHT, loss_weight=2.0),
        lambda *b: 2 * lovasz(*b, [0, 1, 2], WEIGHT),
    ),
    'lovasz, listed': (LovaszLoss(classes=[0, 2]), lambda *b: lovasz(*b, [0, 2])),
    'lovasz, images': (
        LovaszLoss(per_image=True, reduction='sum'),
        lambda *b: lovasz_of_images(*b).sum(),
    ),
}
SINGLE = {
    'focal': (FocalLoss(alpha=0.3), lambda *b: focal(*b, alpha=[0.3])),
    'dice': (DiceLoss(), lambda *b: dice(*b).mean()),
    'lovasz': (LovaszLoss('binary', per_image=True), lambda *b: hinges(*b).mean()),
}
hinges = lovasz_of_images


def compare(loss, definition, logits, label, threshold=None):
    """Value and gradient of the form that training uses are those of the definition."""
    ours, _ = upsampled_form(loss, threshold)(logits, label, False)
    exact = logits.detach().double().requires_grad_()
    upsampled = F.interpolate(exact, label.shape[1:], mode='bilinear')
    expected = definition(upsampled, label.long())
    torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-7)
    (gradient,) = torch.autograd.grad(3 * ours, logits)
    (expected,) = torch.autograd.grad(3 * expected, exact)
    torch.testing.assert_close(gradient.double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('name', CASES)
def test_three_classes(name, monkeypatch):
    monkeypatch.setitem(BAND_VALUES, 'cpu', 3 * 11 * 2)  # bands of 2 rows
    torch.manual_seed(0)
    logits = (2 * torch.randn(2, 3, 4, 5)).requires_grad_()
    label = torch.randint(0, 3, (2, 9, 11), dtype=torch.uint8)
    label[0, :4] = 255
    label[0][label[0] == 1] = 2  # the first image has not all classes
    compare(*CASES[name], logits, label)


@pytest.mark.parametrize('name', SINGLE)
def test_one_channel_is_the_logit_of_class_1(name):
    torch.manual_seed(0)
    logits = (2 * torch.randn(2, 1, 4, 5)).requires_grad_()
    label = torch.randint(0, 2, (2, 9, 11), dtype=torch.uint8)
    label[0, :4] = 255
    compare(*SINGLE[name], logits, label, threshold=0.3)


@pytest.mark.parametrize('name', CASES)
def test_nothing_labelled_moves_nothing(name):
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    label = torch.full((2, 9, 11), 255, dtype=torch.uint8)
    loss, correct = upsampled_form(CASES[name][0])(logits, label, False)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.isfinite() and correct == 0 and not gradient.any()


def test_focal_gradient_is_finite_at_extreme_logits():
    logits = torch.tensor([-300.0, 300.0]).view(1, 2, 1, 1).requires_grad_()
    loss = FocalLoss(gamma=0.5)(logits, torch.zeros(1, 1, 1, dtype=torch.long))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


@pytest.mark.parametrize(
    'make, message',
    [
        (lambda: FocalLoss(use_sigmoid=False), 'use_sigmoid=False'),
        (lambda: DiceLoss(reduction='avg'), "reduction is 'avg'"),
        (lambda: LovaszLoss('multiclass'), "'multi_class' or 'binary'"),
        (lambda: LovaszLoss(classes='some'), "'present', 'all' or a list"),
    ],
)
def test_options_that_do_not_exist(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_one_value_of_alpha_per_class():
    with pytest.raises(ValueError, match='2 values for 3 classes'):
        FocalLoss(alpha=[0.1, 0.2])(
            torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long)
        )
