import pytest
import torch

from mmseg_fastscnn.models.fast_scnn import PyramidPool


def cells(x, bins, dim):
    """Cut one dimension into `bins` parts that may overlap by a pixel."""
    size = x.shape[dim]
    edges = [(k * size // bins, -(-(k + 1) * size // bins)) for k in range(bins)]
    return [x.narrow(dim, start, stop - start) for start, stop in edges]


def mean_of_cells(rows, bins):
    return torch.stack([cell.mean((2, 3)) for cell in cells(rows, bins, 3)], 2)


@pytest.mark.parametrize('form', ['matrix', 'operator'])
@pytest.mark.parametrize('bins', [1, 2, 3, 6])
@pytest.mark.parametrize('size', [(1, 1), (2, 4), (12, 15), (32, 64), (7, 5)])
def test_pooling_is_the_mean_of_each_cell(size, bins, form):
    x = torch.randn(2, 3, *size, requires_grad=True)
    ours = PyramidPool(bins, form)(x)
    theirs = torch.stack([mean_of_cells(row, bins) for row in cells(x, bins, 2)], 2)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    weight = torch.randn_like(ours)
    (gradient,) = torch.autograd.grad((ours * weight).sum(), x)
    (expected,) = torch.autograd.grad((theirs * weight).sum(), x)
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-5)
