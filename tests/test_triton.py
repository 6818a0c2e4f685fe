"""The kernels for CUDA, run by Triton's interpreter on the CPU."""

import os

os.environ['TRITON_INTERPRET'] = '1'  # read when the kernels are defined

import pytest
import torch
from test_upsampling import interpolated

from mmseg_fastscnn.ops.upsample_loss import UpsampleCrossEntropy

pytest.importorskip('triton', reason='Triton is for Linux')

from mmseg_fastscnn.ops.upsample_triton import TritonCrossEntropy, argmax

SIZES = pytest.mark.parametrize('size', [(6, 10), (5, 9), (2, 3), (3, 1)])
ALIGN = pytest.mark.parametrize('align_corners', [False, True])


@SIZES
@ALIGN
def test_argmax(size, align_corners):
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 3, 4)
    expected = interpolated(logits, [size], align_corners).argmax(1)
    assert torch.equal(argmax(logits, size, align_corners), expected.byte())


@SIZES
@ALIGN
@pytest.mark.parametrize('weight', [None, [0.5, 2.0, 1.0]])
@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_loss(use_sigmoid, weight, size, align_corners):
    torch.manual_seed(0)
    logits = (4 * torch.randn(2, 3, 3, 4)).requires_grad_()
    label = torch.randint(0, 3, (2, *size), dtype=torch.uint8)
    label[0, 0] = 255
    weight = None if weight is None else torch.tensor(weight)
    arguments = (logits, label, use_sigmoid, weight, 255, align_corners)
    ours, correct = TritonCrossEntropy.apply(*arguments)
    theirs, expected_correct = UpsampleCrossEntropy.apply(*arguments)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    assert correct == expected_correct
    (gradient,) = torch.autograd.grad(3 * ours, logits)
    (expected,) = torch.autograd.grad(3 * theirs, logits)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)
