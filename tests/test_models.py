import pytest
import torch
from formulas import fill, image_batch, labelled_samples, model_config
from mmengine.registry import init_default_scope

from mmseg_fastscnn.registry import MODELS

init_default_scope('mmseg_fastscnn')


@pytest.mark.parametrize('size', [(32, 32), (33, 47), (65, 129), (32, 200)])
def test_any_size_from_32_up(size):
    model = MODELS.build(model_config(num_classes=5)).eval()
    sample = model.predict(image_batch(1, *size), with_logits=True)[0]
    assert sample.pred_sem_seg.data.shape == (1, *size)
    assert sample.seg_logits.data.shape == (5, *size)
    assert sample.seg_logits.data.isfinite().all()


def test_smaller_is_refused():
    model = MODELS.build(model_config()).eval()
    with pytest.raises(ValueError, match=r'31x64 \(h x w\).*at least 32'):
        model.predict(image_batch(1, 31, 64))


def test_settings_given_once_reach_all_heads_and_a_head_still_wins():
    config = model_config(
        num_classes=7, align_corners=True, norm_cfg=dict(type='GN', num_groups=4)
    )
    config.auxiliary_head[0].update(num_classes=3, align_corners=False)
    model = MODELS.build(config)
    heads = [model.decode_head, *model.auxiliary_head]
    assert [head.conv_seg.out_channels for head in heads] == [7, 3, 7]
    assert [head.align_corners for head in heads] == [True, False, True]
    assert model.backbone.feature_fusion.align_corners is True
    assert model.backbone.global_feature_extractor.ppm.align_corners is True
    kinds = {type(m).__name__ for m in model.modules() if 'Norm' in type(m).__name__}
    assert kinds == {'GroupNorm'}


def test_num_classes_is_asked_for():
    with pytest.raises(ValueError, match='num_classes'):
        MODELS.build(model_config(num_classes=None))


def test_flipped_views_come_back_unflipped():
    model, image = fill(MODELS.build(model_config())).eval(), image_batch(1, 64, 96)
    with torch.no_grad():
        plain = model.inference(image)[0]
        sample = labelled_samples(torch.zeros(1, 64, 96))[0]
        sample.set_metainfo(
            dict(ori_shape=(64, 96), flip=True, flip_direction='horizontal')
        )
        # a network is not flip-equivariant, so compare with its answer by hand
        model.predict(image.flip(3), [sample], with_logits=True)
        flipped = sample.seg_logits.data
        by_hand = model.inference(image.flip(3))[0].flip(2)
    torch.testing.assert_close(flipped, by_hand)
    assert (flipped - plain).abs().max() > 1e-3


def test_slide_over_the_whole_image_is_whole():
    image = image_batch(1, 64, 96)
    slide = dict(mode='slide', crop_size=(64, 96), stride=(32, 32))
    whole = fill(MODELS.build(model_config())).eval()
    sliding = fill(MODELS.build(model_config(test_cfg=slide))).eval()
    with torch.no_grad():
        torch.testing.assert_close(whole.inference(image), sliding.inference(image))


@pytest.mark.parametrize(
    'test_cfg',
    [
        dict(mode='slides'),
        dict(mode='slide', crop_size=(64, 64)),
        dict(mode='slide', crop_size=(64, 64), stride=(65, 64)),
    ],
)
def test_wrong_test_cfg(test_cfg):
    with pytest.raises(ValueError, match=r'test_cfg\.mode'):
        MODELS.build(model_config(test_cfg=test_cfg))


def test_depth_and_grids_of_the_network():
    config = model_config()
    config.backbone.update(num_blocks=(1, 2, 1), expand_ratio=3, pool_scales=(1, 4))
    model = MODELS.build(config).eval()
    extractor = model.backbone.global_feature_extractor
    stages = (extractor.bottleneck1, extractor.bottleneck2, extractor.bottleneck3)
    assert [len(stage) for stage in stages] == [1, 2, 1]
    assert [stage[0].conv[1].conv.groups for stage in stages] == [
        3 * 64,
        3 * 64,
        3 * 96,
    ]
    assert [level[0].bins for level in extractor.ppm] == [1, 4]
    assert extractor.out.in_channels == 2 * 128
    assert model.inference(image_batch(1, 64, 96)).shape == (1, 19, 64, 96)
    with pytest.raises(ValueError, match=r'num_blocks=\(3, 3\) has 2 values.*three'):
        MODELS.build(dict(type='FastSCNN', num_blocks=(3, 3)))


@pytest.mark.parametrize('width, first, fused', [(0.5, 16, 64), (0.75, 24, 96)])
def test_width_scales_all_but_images_and_classes(width, first, fused):
    config = model_config(width=width)
    del config.backbone['fusion_out_channels']  # defaults are scaled, too
    model = MODELS.build(config).eval()
    assert model.backbone.first_conv.weight.shape == (first, 3, 3, 3)
    with torch.no_grad():
        features = model.extract_feat(image_batch(1, 64, 64))
    channels = [int(width * full) for full in (64, 128, 128)]
    assert [feature.shape[1] for feature in features] == channels
    assert model.decode_head.conv_seg.weight.shape == (19, fused, 1, 1)
    label = torch.zeros(2, 64, 64, dtype=torch.uint8)
    losses = model.loss(image_batch(2, 64, 64), labelled_samples(label))
    assert all(torch.isfinite(value).all() for value in losses.values())
    with pytest.raises(ValueError, match='width is 0; it must be over 0'):
        MODELS.build(model_config(width=0))


def test_channels_of_fusion_must_fit():
    config = model_config()
    config.backbone.lower_in_channels = 64
    with pytest.raises(ValueError, match='global_out_channels=128'):
        MODELS.build(config)


def test_preprocessor_normalises_pads_and_refuses():
    config = model_config().data_preprocessor
    config.size = (4, 5)
    preprocess = MODELS.build(config)
    image = torch.arange(3 * 2 * 3, dtype=torch.uint8).view(3, 2, 3)
    samples = labelled_samples(torch.zeros(1, 2, 3, dtype=torch.uint8))
    data = preprocess(dict(inputs=[image], data_samples=samples), training=True)
    expected = (image.flip(0).float() - preprocess.mean) / preprocess.std
    assert data['inputs'].shape == (1, 3, 4, 5)
    torch.testing.assert_close(data['inputs'][0, :, :2, :3], expected)
    assert data['inputs'][..., 3:].eq(0).all()
    label = data['data_samples'][0].gt_sem_seg.data[0]
    assert (
        label.shape == (4, 5) and label[:2, :3].eq(0).all() and label[2:].eq(255).all()
    )
    large = torch.zeros(3, 5, 5, dtype=torch.uint8)
    with pytest.raises(ValueError, match='size'):
        preprocess(dict(inputs=[large], data_samples=samples), training=True)
    with pytest.raises(ValueError, match='different sizes'):
        preprocess(dict(inputs=[image, large]))
