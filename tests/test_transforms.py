import numpy as np
import pytest

from mmseg_fastscnn.datasets import PackSegInputs, RandomCrop


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


def test_pack():
    facts = dict(flip=True, rel_path='a/b.png', extra=1, scan='s7')
    packed = PackSegInputs()(dict(results(4, 6), **facts))
    assert packed['inputs'].shape == (3, 4, 6)
    sample = packed['data_samples']
    assert sample.gt_sem_seg.data.shape == (1, 4, 6)
    assert sample.metainfo == dict(ori_shape=(4, 6), flip=True, rel_path='a/b.png')
    # more metainfo where it is asked for; what prediction needs stays
    more = PackSegInputs(meta_keys=('img_path', 'scan', 'absent'))
    assert more(dict(results(4, 6), **facts))['data_samples'].metainfo == dict(
        sample.metainfo, scan='s7'
    )


@pytest.mark.parametrize('channels', [None, 1, 3, 4, 5, 13, 200])
@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32'])
def test_pack_any_channels_and_types(dtype, channels):
    shape = (4, 6) if channels is None else (4, 6, channels)
    image = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    inputs = PackSegInputs()(dict(img=image))['inputs'].numpy()
    assert inputs.dtype == dtype and inputs.shape == (channels or 1, 4, 6)
    np.testing.assert_array_equal(np.moveaxis(inputs, 0, 2).reshape(shape), image)
