"""What is computed without upsampled logits is what they would give."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_fastscnn.ops.bilinear import BAND_VALUES, View, Window
from mmseg_fastscnn.ops.mean_softmax import mean_softmax
from mmseg_fastscnn.ops.upsample_argmax import upsample_argmax

ALIGN = pytest.mark.parametrize('align_corners', [False, True])


def interpolated(logits, sizes, align_corners):
    for size in sizes:
        logits = F.interpolate(
            logits, size, mode='bilinear', align_corners=align_corners
        )
    return logits


def assert_labels(found, logits):
    """Check that each pixel's label has the largest logit.

    Two logits may be equal within float32's rounding, which differs from CPU to CPU.
    """
    assert found.dtype == torch.uint8
    chosen = logits.gather(1, found.long()[:, None])
    torch.testing.assert_close(chosen, logits.amax(1, True), rtol=0, atol=2e-6)
    assert (found != logits.argmax(1)).sum() <= 2


@ALIGN
@pytest.mark.parametrize('smooth', [False, True])
@pytest.mark.parametrize(
    'sizes',
    [
        [(104, 136)],  # by 8
        [(100, 131)],  # by no whole number
        [(13, 17)],
        [(7, 9)],
        [(26, 3)],
        [(104, 136), (104, 136)],
        [(104, 136), (61, 200)],  # an image that the pipeline resized
    ],
)
def test_argmax(sizes, smooth, align_corners, monkeypatch):
    monkeypatch.setitem(BAND_VALUES, 'cpu', 5000)  # several bands
    torch.manual_seed(0)
    logits = torch.randn(2, 19, 4, 5)
    logits = interpolated(logits, [(13, 17)], True) if smooth else logits
    found = upsample_argmax(logits, sizes, align_corners)
    assert_labels(found, interpolated(logits, sizes, align_corners))


@ALIGN
@pytest.mark.parametrize('sizes', [[(104, 136)], [(104, 136), (61, 200)]])
def test_argmax_of_a_padded_image(sizes, align_corners, monkeypatch):
    monkeypatch.setitem(BAND_VALUES, 'cpu', 5000)
    torch.manual_seed(0)
    logits, window = torch.randn(2, 19, 13, 17), Window((3, 90), (0, 120))
    expected = interpolated(logits, sizes[:1], align_corners)[..., 3:90, :120]
    expected = interpolated(expected, sizes[1:], align_corners)
    sizes = sizes if sizes[1:] else [*sizes, window.size]  # the image's own size
    found = upsample_argmax(logits, sizes, align_corners, window)
    assert_labels(found, expected)


@ALIGN
@pytest.mark.parametrize('spread', [5, 30])
def test_mean_softmax_of_views(spread, align_corners, monkeypatch):
    monkeypatch.setitem(BAND_VALUES, 'cpu', 5000)
    torch.manual_seed(0)
    views, total = [], 0
    for height, width in [(4, 5), (6, 9), (7, 8)]:
        logits = spread * torch.randn(11, height, width)
        sizes = [(8 * height, 8 * width), (50, 61)]
        views.append(View(logits, sizes))
        total = total + interpolated(logits[None], sizes, align_corners).softmax(1)[0]
    bands = list(mean_softmax(views, align_corners))
    assert len(bands) > 3
    ours = torch.cat([mean for _, mean in bands], dim=1)
    torch.testing.assert_close(ours, total / 3, rtol=1e-4, atol=1e-6)
