import pytest
import torch
import torch.nn.functional as F

from mmseg_fastscnn.ops.pyramid_pool import adaptive_avg_pool


@pytest.mark.parametrize('bins', [1, 2, 3, 6])
@pytest.mark.parametrize('size', [(1, 1), (2, 4), (12, 15), (32, 64), (7, 5)])
def test_pooling_equals_pytorch(size, bins):
    x = torch.randn(2, 3, *size, requires_grad=True)
    ours, theirs = adaptive_avg_pool(x, bins), F.adaptive_avg_pool2d(x, bins)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    weight = torch.randn_like(ours)
    (gradient,) = torch.autograd.grad((ours * weight).sum(), x)
    (expected,) = torch.autograd.grad((theirs * weight).sum(), x)
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-5)
