import cv2
import numpy as np
import pytest

from mmseg_fastscnn.datasets.transforms import (
    PackSegInputs,
    PhotoMetricDistortion,
    RandomCrop,
    RandomFlip,
)


def results(h: int, w: int) -> dict:
    y, x = np.mgrid[0:h, 0:w]
    image = np.stack([y, x, y + x], axis=2).astype(np.uint8)
    return dict(img=image, gt_seg_map=(x // 4 % 3).astype(np.uint8), ori_shape=(h, w))


def test_crop_keeps_image_and_label_together():
    np.random.seed(0)
    corners = set()
    for _ in range(50):
        cut = RandomCrop((8, 16))(results(10, 40))
        image, label = cut['img'], cut['gt_seg_map']
        assert cut['img_shape'] == image.shape[:2] == label.shape == (8, 16)
        np.testing.assert_array_equal(label, image[..., 1] // 4 % 3)
        corners.add(tuple(image[0, 0, :2].tolist()))
    rows, columns = zip(*corners, strict=True)
    assert set(rows) == {0, 1, 2} and max(columns) > 20 > min(columns)


def test_crop_of_a_smaller_image_is_the_image():
    assert RandomCrop((64, 16))(results(10, 40))['img'].shape == (10, 16, 3)


def test_cat_max_ratio_avoids_crops_of_one_class():
    np.random.seed(0)
    label = np.zeros((8, 400), np.uint8)
    label[:, 300:] = 1  # windows over the border are one in twenty
    label[:, :40] = 255
    shares = []
    for _ in range(200):
        data = dict(img=np.zeros((8, 400, 3), np.uint8), gt_seg_map=label)
        cut = RandomCrop((8, 40), cat_max_ratio=0.75)(data)['gt_seg_map']
        shares.append(np.mean(cut == 1))
    mixed = np.mean([0.25 < share < 0.75 for share in shares])
    # 20 of 361 windows are mixed: with one draw 0.055, with eleven 1 - (1 - 0.055)^11
    assert mixed == pytest.approx(1 - (341 / 361) ** 11, abs=0.1)


@pytest.mark.parametrize(
    'direction, axes', [('horizontal', 1), ('vertical', 0), ('diagonal', (0, 1))]
)
def test_flips_are_written_out(direction, axes):
    flipped = RandomFlip(prob=1.0, direction=direction)(results(10, 40))
    for key in ('img', 'gt_seg_map'):
        np.testing.assert_array_equal(flipped[key], np.flip(results(10, 40)[key], axes))
        assert flipped[key].flags.c_contiguous
    never = RandomFlip(prob=0.0)(results(10, 40))
    np.testing.assert_array_equal(never['img'], results(10, 40)['img'])


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


def test_pack():
    packed = PackSegInputs()(
        dict(results(4, 6), flip=True, rel_path='a/b.png', extra=1)
    )
    assert packed['inputs'].shape == (3, 4, 6)
    sample = packed['data_samples']
    assert sample.gt_sem_seg.data.shape == (1, 4, 6)
    assert sample.metainfo == dict(ori_shape=(4, 6), flip=True, rel_path='a/b.png')


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
