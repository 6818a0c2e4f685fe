"""Colours in the pipeline, and those of the data preprocessor."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData

from mmseg_fastscnn.datasets import PhotoMetricDistortion
from mmseg_fastscnn.models import SegDataPreProcessor
from mmseg_fastscnn.models.photometric import (
    Draws,
    PhotometricDistortion,
    distorted,
)
from mmseg_fastscnn.registry import TRANSFORMS
from mmseg_fastscnn.structures import SegDataSample

init_default_scope('mmseg_fastscnn')


def test_colours_change_as_configured():
    np.random.seed(0)
    grey = np.full((4, 4, 3), 100, np.uint8)
    means = [
        PhotoMetricDistortion()(dict(img=grey.copy()))['img'].mean() for _ in range(400)
    ]
    # brightness and contrast are each left alone half the time, hue and saturation
    # do nothing to grey
    assert np.mean(np.array(means) == 100) == pytest.approx(0.25, abs=0.07)
    assert 32 <= min(means) < 60 and 150 < max(means) <= 198
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 2] = 200
    fixed = PhotoMetricDistortion(
        brightness_delta=0, contrast_range=(1, 1), saturation_range=(0.5, 0.5)
    )
    found = {tuple(fixed(dict(img=red))['img'][0, 0].tolist()) for _ in range(300)}
    assert (0, 0, 200) in found and (100, 100, 200) in found  # untouched, half as pure
    assert all(max(colour) == 200 for colour in found)  # hue does not change the value
    assert any(colour[0] > 50 > colour[1] for colour in found)  # hue to magenta


def test_tables_are_the_arithmetic_of_colours():
    """Each change made to every pixel, one after the other, from the same draws."""

    def linear(values, factor, offset):
        return (values.astype(np.float32) * factor + offset).clip(0, 255).astype('u1')

    def long_way(image):
        draw, coin = np.random.uniform, lambda: np.random.randint(2)
        if coin():
            image = linear(image, 1, draw(-32, 32))
        contrast_first = coin()
        if contrast_first and coin():
            image = linear(image, draw(0.5, 1.5), 0)
        saturation, hue = coin(), coin()
        if saturation or hue:
            hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(int)
            if saturation:
                hsv[..., 1] = linear(hsv[..., 1], draw(0.5, 1.5), 0)
            if hue:
                hsv[..., 0] = (hsv[..., 0] + np.random.randint(-18, 18)) % 180
            image = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)
        if not contrast_first and coin():
            image = linear(image, draw(0.5, 1.5), 0)
        return image

    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for seed in range(64):
        np.random.seed(seed)
        ours = PhotoMetricDistortion()(dict(img=image.copy()))['img']
        np.random.seed(seed)
        np.testing.assert_array_equal(ours, long_way(image))


def test_each_change_can_be_turned_off():
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    off = dict(contrast_range=(1, 1), saturation_range=(1, 1), hue_delta=0)
    step = PhotoMetricDistortion(brightness_delta=0, **off)
    for _ in range(20):
        changed = step(dict(img=image))['img'].astype(int)
        assert np.abs(changed - image).max() <= 5  # 180 hues and back


def drawn_as_by_the_pipeline() -> tuple[Draws, bool]:
    """Draw as `PhotoMetricDistortion` does; and whether it changes to HSV and back."""
    draw, coin = np.random.uniform, lambda: np.random.randint(2)
    brightness = draw(-32, 32) if coin() else 0
    is_first, contrast = coin(), 1
    if is_first and coin():
        contrast = draw(0.5, 1.5)
    saturates, shifts = coin(), coin()
    saturation = draw(0.5, 1.5) if saturates else 1
    hue = np.random.randint(-18, 18) if shifts else 0
    if not is_first and coin():
        contrast = draw(0.5, 1.5)
    contrasts = (contrast, 1) if is_first else (1, contrast)
    values = (brightness, contrasts[0], saturation, hue, contrasts[1])
    shape = (1, 1, 1, 1)
    draws = Draws(*(torch.full(shape, float(value)) for value in values))
    return draws, bool(saturates or shifts)


def test_the_device_does_what_the_pipeline_does():
    """From the same draws: equal but for what 8 bits, and 180 hues, round.

    Without a change to HSV, each of two steps rounds down by less than 1, and the
    second scales by up to 1.5: less than 2.5 levels. HSV's rounding adds 1 degree of
    hue, up to 255 / 60 levels, and 1.5 levels of saturation, all scaled by up to 1.5.
    """
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    means = []
    for seed in range(200):
        np.random.seed(seed)
        expected = PhotoMetricDistortion()(dict(img=image.copy()))['img'].astype(float)
        np.random.seed(seed)
        draws, through_hsv = drawn_as_by_the_pipeline()
        batch = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        found = distorted(batch, draws)[0].permute(1, 2, 0).numpy()
        torch.testing.assert_close(
            distorted(batch.flip(1), draws, is_rgb=True),
            distorted(batch, draws).flip(1),
        )
        difference = np.abs(found - expected)
        assert difference.max() < (12 if through_hsv else 2.5)
        means.append(difference.mean())
    assert np.mean(means) < 0.8


def test_the_device_draws_as_the_pipeline_does():
    """Brightness, contrast, saturation and hue of 2000 draws each, by their effects."""
    colours = np.array([[100, 100, 100], [40, 60, 160]], np.uint8)[None]  # BGR
    np.random.seed(1)
    torch.manual_seed(1)
    step, count = PhotoMetricDistortion(), 2000
    pipeline = np.stack([step(dict(img=colours))['img'][0] for _ in range(count)])
    image = torch.from_numpy(colours).permute(2, 0, 1)
    device = PhotometricDistortion()(image.expand(count, -1, -1, -1))
    device = device[:, :, 0].permute(0, 2, 1).numpy()

    def effects(found):
        gray, colour = found[:, 0].mean(axis=1), found[:, 1].astype(float)
        value, low = colour.max(axis=1), colour.min(axis=1)
        hue = colour[:, 1] - colour[:, 0]
        return [gray, value, (value - low) / value, hue / (value - low)]

    for ours, theirs in zip(effects(device), effects(pipeline), strict=True):
        shares = np.linspace(0.05, 0.95, 10)
        spread = theirs.std()
        gap = np.quantile(ours, shares) - np.quantile(theirs, shares)
        assert np.abs(gap).max() < 0.2 * spread
        assert ours.mean() == pytest.approx(theirs.mean(), abs=0.1 * spread)
    for found in (pipeline, device):  # hues turn by 36 degrees: red stays the largest
        assert (found[:, 1].argmax(axis=1) == 2).all()
        # neither brightness nor contrast changes one in four
        unchanged = np.abs(found[:, 0] - 100).max(axis=1) < 1e-3
        assert unchanged.mean() == pytest.approx(0.25, abs=0.04)


def prepared(image: torch.Tensor, training: bool, **options) -> torch.Tensor:
    preprocessor = SegDataPreProcessor(
        mean=[0] * 3, std=[1] * 3, bgr_to_rgb=True, size=image.shape[1:], **options
    )
    sample = SegDataSample()
    label = torch.zeros(1, *image.shape[1:], dtype=torch.uint8)
    sample.gt_sem_seg = PixelData(data=label)
    batch = dict(inputs=[image] * 8, data_samples=[sample.clone() for _ in range(8)])
    return preprocessor(batch, training)['inputs']


def test_the_data_preprocessor_changes_training_images_alone():
    image = torch.randint(0, 100, (3, 8, 8), dtype=torch.uint8)
    only_contrast = dict(
        brightness_delta=0,
        contrast_range=(2, 2),
        saturation_range=(1, 1),
        hue_delta=0,
    )
    plain = prepared(image, True)
    assert prepared(image, False, photometric=only_contrast).equal(plain)
    torch.manual_seed(0)
    changed = prepared(image, True, photometric=only_contrast)
    ratios = changed.sum((1, 2, 3)) / plain.sum((1, 2, 3))
    assert sorted({round(ratio, 3) for ratio in ratios.tolist()}) == [1, 2]
    for one, ratio in zip(changed, ratios, strict=True):  # per image, RGB in order
        torch.testing.assert_close(one, plain[0] * ratio)
    with pytest.raises(ValueError, match=r'no options brightness; .*brightness_delta'):
        prepared(image, True, photometric=dict(brightness=(1, 1)))
    with pytest.raises(ValueError, match=r'needs \(3, H, W\).*torch.uint16'):
        prepared(image.to(torch.uint16), True, photometric={})


@pytest.mark.parametrize('step', ['PhotoMetricDistortion', 'RandomGrayscale'])
@pytest.mark.parametrize(
    'image, found',
    [
        (np.full((4, 5, 3), 300, np.uint16), r'\(4, 5, 3\) uint16 .* of 300 to 300'),
        (np.full((4, 5, 3), 0.5, np.float32), r'\(4, 5, 3\) float32 .* of 0.5 to 0.5'),
        (np.full((4, 5, 3), -7.0), r'float64 .* of -7.0 to -7.0'),
        (np.full((4, 5), 3, np.uint16), r'\(4, 5\) uint16'),
    ],
)
def test_what_is_not_eight_bit_is_refused(step, image, found):
    results = dict(img=image, img_path='a.png')
    with pytest.raises(
        ValueError, match=rf'a\.png: {step} needs .*found .*{found}.*Re'
    ):
        TRANSFORMS.build(dict(type=step))(results)


def test_gray_images_and_many_channels_have_no_colours():
    for shape in ((4, 5), (4, 5, 1), (4, 5, 4)):
        results = dict(img=np.zeros(shape, np.uint8))
        with pytest.raises(ValueError, match=r"needs \(H, W, 3\).*color_type='color'"):
            PhotoMetricDistortion()(results)
    gray = TRANSFORMS.build(dict(type='RandomGrayscale', prob=1.0))
    assert gray(dict(img=np.full((4, 5, 1), 9, np.uint8)))['img'].max() == 9


def test_floats_of_eight_bits_are_taken():
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    for seed in range(20):
        np.random.seed(seed)
        expected = PhotoMetricDistortion()(dict(img=image))['img']
        np.random.seed(seed)
        floats = PhotoMetricDistortion()(dict(img=image.astype(np.float32)))['img']
        assert floats.dtype == np.uint8
        np.testing.assert_array_equal(floats, expected)
