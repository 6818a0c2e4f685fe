"""From logits to the image's own labels: padding, flips, windows, one channel."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from formulas import model_config, uint8_image
from mmengine.registry import init_default_scope
from test_golden import assert_same_labels
from test_inference import small_model

from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import SegDataSample

init_default_scope('mmseg_fastscnn')
DIMS = dict(horizontal=(2,), vertical=(1,), diagonal=(1, 2))
SLIDE = dict(mode='slide', crop_size=(64, 64), stride=(40, 40))


def resized(logits, size):
    return F.interpolate(logits, size, mode='bilinear', align_corners=False)


def facts(**metainfo) -> SegDataSample:
    return SegDataSample(metainfo=metainfo)


def pixels(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def normalised(image: torch.Tensor) -> torch.Tensor:
    """(C, H, W) BGR as the network reads it, (1, C, H, W)."""
    settings = model_config().data_preprocessor
    mean, std = (torch.tensor(settings[k]).view(3, 1, 1) for k in ('mean', 'std'))
    return ((image.flip(0).float() - mean) / std)[None]


@torch.no_grad()
def by_hand(model, image, ori_shape, padded_size, direction=None):
    """Logits: pad, network, upsample, cut, flip back, resize, one after the other."""
    height, width = image.shape[1:]
    x = normalised(image if direction is None else image.flip(DIMS[direction]))
    bottom, right = padded_size[0] - height, padded_size[1] - width
    logits = model.inference(F.pad(x, (0, right, 0, bottom)))[0, :, :height, :width]
    if direction is not None:
        logits = logits.flip(DIMS[direction])
    return resized(logits[None], ori_shape)[0]


@pytest.mark.parametrize('mode', ['whole', 'slide'])
@pytest.mark.parametrize('direction', [None, 'horizontal', 'vertical', 'diagonal'])
@pytest.mark.parametrize('ori_shape', [(70, 101), (64, 96)])
def test_padding_is_cut_off_again(ori_shape, direction, mode):
    """An image of 70x101 or one resized to it, padded to a multiple of 32: 96x128."""
    config = dict(test_cfg=SLIDE) if mode == 'slide' else {}
    model = small_model(**config)
    model.data_preprocessor.test_cfg = dict(size_divisor=32)
    image = pixels(uint8_image(70, 101))
    expected = by_hand(model, image, ori_shape, (96, 128), direction)
    sample = facts(ori_shape=ori_shape, flip=False)
    given = image
    if direction is not None:
        sample.set_metainfo(dict(flip=True, flip_direction=direction))
        given = image.flip(DIMS[direction])
    with torch.no_grad():
        batch = model.data_preprocessor(dict(inputs=[given], data_samples=[sample]))
        assert batch['inputs'].shape == (1, 3, 96, 128)
        ours = model.predict(**batch, with_logits=True)[0]
    torch.testing.assert_close(ours.seg_logits.data, expected, rtol=1e-4, atol=1e-4)
    labels = ours.pred_sem_seg.data[0]
    assert labels.shape == ori_shape
    assert_same_labels(labels, expected.argmax(0).numpy(), expected)


def test_pad_in_the_pipeline_and_in_the_preprocessor():
    """`Pad` says `img_shape` and `pad_shape`; the preprocessor pads some more."""
    model, image = small_model(), pixels(uint8_image(70, 101))
    black = F.pad(image, (0, 9, 0, 10))  # as Pad(size=(110, 80)) has it
    sample = facts(ori_shape=(70, 101), img_shape=(70, 101), pad_shape=(80, 110, 3))
    model.data_preprocessor.test_cfg = dict(size=(96, 128))
    with torch.no_grad():
        logits = model.inference(F.pad(normalised(black), (0, 18, 0, 16)))
        batch = model.data_preprocessor(dict(inputs=[black], data_samples=[sample]))
        ours = model.predict(**batch)[0].pred_sem_seg.data[0]
        expected = logits[0, :, :70, :101]
        assert_same_labels(ours, expected.argmax(0).numpy(), expected)
        without = model.data_preprocessor(dict(inputs=[image]))
        assert model.predict(**without)[0].pred_sem_seg.data.shape == (1, 70, 101)
        sample.set_metainfo(dict(pad_shape=(90, 110)))
        with pytest.raises(
            ValueError, match=r'padded to \(90, 110\).* now \(80, 110\)'
        ):
            model.predict(normalised(black), [sample])


def test_any_mixture_of_flipped_resized_and_padded_views():
    tta = MODELS.build(dict(type='SegTTAModel', module=small_model()))
    tta.module.data_preprocessor.test_cfg = dict(size_divisor=32)
    plain, data = uint8_image(70, 101), dict(inputs=[], data_samples=[])
    expected = 0
    for scale, padded_size in [(1, (96, 128)), (2, (160, 224))]:
        image = pixels(np.kron(plain, np.ones((scale, scale, 1), np.uint8)))
        for direction in (None, *DIMS):
            sample = facts(ori_shape=(70, 101), flip=direction is not None)
            if direction is not None:
                sample.set_metainfo(dict(flip_direction=direction))
            given = image if direction is None else image.flip(DIMS[direction])
            data['inputs'].append([given])
            data['data_samples'].append([sample])
            logits = by_hand(tta.module, image, (70, 101), padded_size, direction)
            expected = expected + logits.softmax(0) / 8
    with torch.no_grad():
        merged = tta.test_step(data, with_probability=True)[0]
    torch.testing.assert_close(merged.seg_logits.data, expected, rtol=1e-4, atol=1e-5)
    labels = expected.argmax(0).byte()
    assert (merged.pred_sem_seg.data[0] == labels).float().mean() > 0.999


@pytest.mark.parametrize('mode', ['whole', 'slide'])
def test_one_channel_and_a_threshold(mode):
    model = small_model(
        num_classes=1, **(dict(test_cfg=SLIDE) if mode == 'slide' else {})
    )
    head = model.decode_head
    head.num_classes, head.out_channels, head.threshold = 2, 1, 0.3
    images = [torch.randint(0, 256, (3, 70, 101), dtype=torch.uint8) for _ in range(2)]
    samples = [facts(ori_shape=size) for size in [(70, 101), (90, 80)]]
    with torch.no_grad():
        batch = model.data_preprocessor(dict(inputs=images, data_samples=samples))
        centre = model.coarse_logits(batch['inputs']).median()
        head.conv_seg.bias += np.log(0.3 / 0.7) - centre  # half of the pixels
        logits = model.inference(batch['inputs'])
        predicted = model.predict(**batch, with_logits=True)
        views = dict(inputs=[[x] for x in images], data_samples=[samples[:1]] * 2)
        tta = MODELS.build(dict(type='SegTTAModel', module=model))
        merged = tta.test_step(views, with_probability=True)[0]
    assert model.num_classes == 2 and logits.shape == (2, 1, 70, 101)
    for k, sample in enumerate(predicted):
        expected = resized(logits[k : k + 1], sample.ori_shape)[0, 0]
        torch.testing.assert_close(sample.seg_logits.data[0], expected)
        certain = (expected.sigmoid() - 0.3).abs() > 1e-5
        labels = (expected.sigmoid() > 0.3).byte()
        assert torch.equal(sample.pred_sem_seg.data[0][certain], labels[certain])
        assert 0.05 < labels.float().mean() < 0.95
    mean = logits.sigmoid().mean(0)
    torch.testing.assert_close(merged.seg_logits.data, mean, rtol=1e-4, atol=1e-5)
    certain = (mean - 0.3).abs() > 1e-5
    labels = (mean > 0.3).byte()
    assert torch.equal(merged.pred_sem_seg.data[certain], labels[certain])
