"""Two forms of one batch, for CPUs and for other devices."""

import numpy as np
import pytest
import torch
from conftest import ROOT, TOY
from formulas import labelled_samples, model_config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from test_inference import Operators

from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.models.data_preprocessor import SegDataPreProcessor
from mmseg_fastscnn.ops.image_batch import moved, with_padded_labels
from mmseg_fastscnn.registry import MODELS

init_default_scope('mmseg_fastscnn')
MEAN, STD = (110.0, 120.0, 130.0), (50.0, 55.0, 60.0)
HOST = 'mmseg_fastscnn.ops.host.HOST'


def images_of(sizes, channels=3, dtype=torch.uint8) -> list[torch.Tensor]:
    torch.manual_seed(0)
    high = 256 if dtype == torch.uint8 else 60_000
    return [torch.randint(0, high, (channels, *s)).to(dtype) for s in sizes]


def prepared(settings, data, training=False) -> dict:
    samples = data.get('data_samples')
    copies = {} if samples is None else dict(data_samples=[s.clone() for s in samples])
    return SegDataPreProcessor(**settings)({**data, **copies}, training)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.uint16, torch.float32])
@pytest.mark.parametrize('channels', [1, 3, 5])
@pytest.mark.parametrize('sizes', [[(6, 8)] * 3, [(6, 8), (5, 8), (6, 3)], [(4, 7)]])
def test_both_forms_are_the_definition(sizes, channels, dtype, monkeypatch):
    mean, std = ((values * 2)[:channels] for values in (MEAN, STD))
    images = images_of(sizes, channels, dtype)
    labels = [torch.full((1, *size), 7, dtype=torch.uint8) for size in sizes]
    samples = [labelled_samples(label)[0] for label in labels]
    data = dict(inputs=images, data_samples=samples)
    settings = dict(mean=mean, std=std, bgr_to_rgb=True, size=(6, 8), pad_val=9)
    here = prepared(settings, data, training=True)
    monkeypatch.setattr(HOST, 'none')
    elsewhere = prepared(settings, data, training=True)
    order = [2, 1, 0, 3, 4] if channels > 1 else [0]
    expected = torch.full((len(sizes), channels, 6, 8), 9, dtype=torch.float64)
    for place, image, (h, w) in zip(expected, images, sizes, strict=True):
        for k in range(channels):
            values = image[order[k]].double()
            place[k, :h, :w] = (values - mean[k]) / std[k]
    for batch in (here, elsewhere):
        inputs = batch['inputs']
        torch.testing.assert_close(inputs, expected.float(), rtol=1e-6, atol=1e-6)
        assert inputs.is_contiguous(memory_format=torch.channels_last)
        for sample, (h, w) in zip(batch['data_samples'], sizes, strict=True):
            label = sample.gt_sem_seg.data[0]
            assert label.shape == (6, 8) and label[:h, :w].eq(7).all()
            assert label.eq(255).sum() == 48 - h * w
    torch.testing.assert_close(here['inputs'], elsewhere['inputs'], rtol=0, atol=1e-6)


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('count', [1, 32])
def test_a_batch_takes_few_operators_elsewhere(count, training, monkeypatch):
    """All of ATen's operators, views too: 6 for images, 1 and 2 more to pad each."""
    monkeypatch.setattr(HOST, 'none')
    preprocess = MODELS.build(model_config().data_preprocessor)
    preprocess.size = (12, 16)
    data = dict(inputs=images_of([(10, 16)] * count))
    preprocess(data)
    if training:
        data['data_samples'] = labelled_samples(torch.zeros(count, 10, 16).byte())
    with Operators() as dispatched:
        batch = preprocess(data, training)
    height = 12 if training else 10
    assert batch['inputs'].shape == (count, 3, height, 16)
    assert len(dispatched.names) < 10


def test_nothing_is_normalised_without_mean_and_std():
    images = images_of([(4, 5)], channels=2, dtype=torch.uint16)
    batch = SegDataPreProcessor()(dict(inputs=images))
    assert torch.equal(batch['inputs'][0], images[0].float())
    for one in ('mean', 'std'):
        with pytest.raises(ValueError, match=f'has {one} but no'):
            SegDataPreProcessor(**{one: MEAN})
    with pytest.raises(ValueError, match='3 values of mean and 2 of std'):
        SegDataPreProcessor(mean=MEAN, std=STD[:2])
    with pytest.raises(ValueError, match=r'images have 2 channels.*3 values'):
        SegDataPreProcessor(mean=MEAN, std=STD)(dict(inputs=images))
    with pytest.raises(ValueError, match=r"test_cfg is {'divisor': 32}"):
        SegDataPreProcessor(test_cfg=dict(divisor=32))


def test_other_fields_of_samples_come_along():
    """Where that is not a CPU, too: a part of one's own, of tensors or of arrays."""
    (sample,) = labelled_samples(torch.zeros(1, 4, 6, dtype=torch.uint8))
    sample.gt_depth = PixelData(data=torch.ones(1, 4, 6), mask=np.zeros((4, 6)))
    elsewhere = torch.device('meta')
    for found in (
        moved(sample, elsewhere),
        *with_padded_labels([sample], (8, 8), 255, elsewhere),
    ):
        assert found.gt_sem_seg.data.device == found.gt_depth.data.device == elsewhere
        assert found.gt_depth.mask is sample.gt_depth.mask
    assert found.gt_sem_seg.shape == (8, 8)
    assert (
        sample.gt_sem_seg.data.device.type == sample.gt_depth.data.device.type == 'cpu'
    )


@pytest.mark.parametrize('mean', [None, [127.0]])
def test_images_go_where_the_weights_are(mean):
    """Also as a part of a plain module, which does not call mmengine's `to`."""
    preprocessor = SegDataPreProcessor(mean=mean, std=mean)
    torch.nn.Sequential(preprocessor).to('meta')
    assert preprocessor.device.type == 'meta'


def test_images_are_not_changed():
    images = images_of([(4, 5)], dtype=torch.float32)
    before = images[0].clone()
    SegDataPreProcessor(mean=MEAN, std=STD)(dict(inputs=images))
    assert torch.equal(images[0], before)


def test_a_config_may_pad_test_images():
    key = 'model.data_preprocessor.test_cfg'
    config = load_config(ROOT / TOY, {key: dict(size_divisor=32)})
    assert config.model.data_preprocessor.test_cfg.size_divisor == 32
    with pytest.raises(ValueError, match="did you mean 'size_divisor'"):
        load_config(ROOT / TOY, {f'{key}.size_divisr': 32})
