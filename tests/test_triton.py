"""The kernels for CUDA; without a GPU, Triton's interpreter runs them."""

import pytest
import torch
from conftest import DEVICE
from test_upsampling import assert_labels, interpolated

from mmseg_fastscnn.ops.upsample_loss import UpsampleCrossEntropy

upsample_triton = pytest.importorskip(
    'mmseg_fastscnn.ops.upsample_triton', reason='Triton is for Linux'
)
SIZES = pytest.mark.parametrize('size', [(6, 10), (5, 9), (2, 3), (3, 1), (40, 9)])


@pytest.fixture(autouse=True)
def several_programs_a_row(monkeypatch):
    monkeypatch.setattr(upsample_triton, 'PIXELS', 4)


ALIGN = pytest.mark.parametrize('align_corners', [False, True])


@SIZES
@ALIGN
def test_argmax(size, align_corners):
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 3, 4, device=DEVICE)
    found = upsample_triton.argmax(logits, size, align_corners)
    assert_labels(found, interpolated(logits, [size], align_corners))


@pytest.mark.parametrize(
    'size, align_corners',
    [((6, 10), False), ((5, 9), True), ((2, 3), True), ((40, 9), False)],
)
@pytest.mark.parametrize('weight', [None, [0.5, 2.0, 1.0]])
@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_loss(size, align_corners, weight, use_sigmoid):
    torch.manual_seed(0)
    logits = (4 * torch.randn(2, 3, 3, 4, device=DEVICE)).requires_grad_()
    label = torch.randint(0, 3, (2, *size), dtype=torch.uint8, device=DEVICE)
    label[0, 0] = 255
    weight = None if weight is None else torch.tensor(weight, device=DEVICE)
    arguments = (logits, label, use_sigmoid, weight, align_corners)
    ours, correct = upsample_triton.TritonCrossEntropy.apply(*arguments)
    theirs, expected_correct = UpsampleCrossEntropy.apply(*arguments)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    assert correct == expected_correct
    (gradient,) = torch.autograd.grad(3 * ours, logits)
    (expected,) = torch.autograd.grad(3 * theirs, logits)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)


def test_of_equally_good_classes_any_is_correct():
    label = torch.arange(3, device=DEVICE).byte().view(1, 1, 3)
    logits = torch.tensor([1.0, 1.0, 0.0], device=DEVICE).view(1, 3, 1, 1)
    _, correct = upsample_triton.TritonCrossEntropy.apply(
        logits, label, False, None, False
    )
    assert correct == 2


@pytest.mark.parametrize('value', [7, -100])
def test_a_label_that_is_no_class_is_no_number(value):
    logits = torch.randn(1, 3, 2, 2, device=DEVICE, requires_grad=True)
    label = torch.full((1, 4, 4), value, device=DEVICE)
    total, _ = upsample_triton.TritonCrossEntropy.apply(
        logits, label, False, None, False
    )
    assert total.isnan()
    (gradient,) = torch.autograd.grad(total, logits)
    assert gradient.eq(0).all()  # no weight is read from beside those of classes
