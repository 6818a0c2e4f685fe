"""What is computed without upsampled logits is what they would give."""

import pytest
import torch
import torch.nn.functional as F
from formulas import fill, image_batch
from mmengine.registry import init_default_scope
from test_golden import model_config

from mmseg_fastscnn.models.segmentor import EncoderDecoder
from mmseg_fastscnn.ops.bilinear import BAND_VALUES
from mmseg_fastscnn.ops.mean_softmax import View, mean_softmax
from mmseg_fastscnn.ops.upsample_argmax import upsample_argmax
from mmseg_fastscnn.registry import MODELS

init_default_scope('mmseg_fastscnn')
ALIGN = pytest.mark.parametrize('align_corners', [False, True])


def interpolated(logits, sizes, align_corners):
    for size in sizes:
        logits = F.interpolate(
            logits, size, mode='bilinear', align_corners=align_corners
        )
    return logits


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
    monkeypatch.setitem(BAND_VALUES, 'cpu', 5000)  # several bands, several parts
    torch.manual_seed(0)
    logits = torch.randn(2, 19, 4, 5)
    logits = interpolated(logits, [(13, 17)], True) if smooth else logits
    expected = interpolated(logits, sizes, align_corners).argmax(1)
    assert torch.equal(upsample_argmax(logits, sizes, align_corners), expected.byte())


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


def test_the_model_for_inference_predicts_the_same():
    model = fill(MODELS.build(model_config())).eval()
    image = image_batch(2, 96, 160)
    with torch.no_grad():
        before = model.inference(image)
        folded = model.for_inference().inference(image)
        names = {type(module).__name__ for module in model.decode_head.modules()}
        low = model.for_inference(torch.bfloat16).inference(image)
    assert isinstance(model, EncoderDecoder) and 'BatchNorm2d' not in names
    torch.testing.assert_close(folded, before, rtol=1e-4, atol=1e-4)
    assert low.dtype == torch.float32
    spread = (before.amax(1) - before.amin(1)).mean()
    assert 0 < (low - before).abs().mean() < 0.02 * spread
