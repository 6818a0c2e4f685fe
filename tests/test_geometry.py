"""Image and label move together, whatever the image's channels and type."""

import cv2
import numpy as np
import pytest
from conftest import ROOT
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from pairs import LOAD, dataset, write_pairs

from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.datasets import Pad, RandomCutOut, RandomFlip, RandomRotate, Resize
from mmseg_fastscnn.datasets.random_crop import resized_window
from mmseg_fastscnn.registry import TRANSFORMS

init_default_scope('mmseg_fastscnn')
KINDS = [('uint8', 3), ('uint8', 13), ('uint16', 1), ('uint16', 5), ('float32', 200)]


def results(h: int, w: int, dtype: str = 'uint8', channels: int = 3) -> dict:
    """A smooth image of different channels, and a label of blocks."""
    y, x, c = np.mgrid[0:h, 0:w, 0:channels]
    scale = 100 if dtype == 'uint16' else 1  # out of 8 bits' reach
    image = (60 + 50 * np.sin(x / 7 + c) + 50 * np.cos(y / 5 - c)) * scale
    label = (y[..., 0] // 5 + x[..., 0] // 4) % 3
    return dict(
        img=image.astype(dtype),
        gt_seg_map=label.astype(np.uint8),
        img_shape=(h, w),
        ori_shape=(h, w),
    )


def channel(image: np.ndarray, k: int) -> np.ndarray:
    return np.ascontiguousarray(image[..., k])


@pytest.mark.parametrize(
    'direction, axes', [('horizontal', 1), ('vertical', 0), ('diagonal', (0, 1))]
)
@pytest.mark.parametrize('dtype, channels', KINDS)
def test_flips_are_written_out(direction, axes, dtype, channels):
    before = results(10, 40, dtype, channels)
    flipped = RandomFlip(prob=1.0, direction=direction)(dict(before))
    for key in ('img', 'gt_seg_map'):
        np.testing.assert_array_equal(flipped[key], np.flip(before[key], axes))
        assert flipped[key].flags.c_contiguous
    never = RandomFlip(prob=0.0)(dict(before))
    np.testing.assert_array_equal(never['img'], before['img'])


def test_left_and_right_are_exchanged_in_a_copy():
    before = results(10, 40)
    label = before['gt_seg_map'].copy()
    flip = RandomFlip(prob=1.0, swap_seg_labels=[(0, 2)])
    swapped = np.array([2, 1, 0])[label[:, ::-1]]
    np.testing.assert_array_equal(flip(before)['gt_seg_map'], swapped)
    np.testing.assert_array_equal(results(10, 40)['gt_seg_map'], label)


@pytest.mark.parametrize('dtype, channels', KINDS)
def test_many_channels_are_resized_as_one(dtype, channels):
    before = results(20, 30, dtype, channels)
    resized = Resize(scale=(45, 40))(dict(before))
    window = resized_window(before['img'], (43, 71), slice(3, 40), slice(10, 66))
    window = window.reshape(37, 56, channels)
    assert resized['img_shape'] == (40, 45) == resized['gt_seg_map'].shape
    assert resized['scale_factor'] == (1.5, 2)
    for k in {0, channels // 2, channels - 1}:
        one = channel(before['img'], k)
        found = resized['img'].reshape(40, 45, channels)[..., k]
        np.testing.assert_array_equal(found, cv2.resize(one, (45, 40)))
        expected = cv2.resize(one, (71, 43))[3:40, 10:66].astype(float)
        assert np.abs(window[..., k] - expected).max() < 0.05 * before['img'].max()


def rotated_by_definition(image, degree, center, fill):
    """Bilinear in float64: each output pixel looks where it comes from."""
    angle, (cx, cy) = np.radians(degree), center
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(float)
    # clockwise as it is seen, with y downwards; so counter-clockwise to its source
    from_x = cx + np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy)
    from_y = cy - np.sin(angle) * (x - cx) + np.cos(angle) * (y - cy)
    around = np.pad(image.astype(float), 40, constant_values=fill)
    left, top = np.floor(from_x).astype(int), np.floor(from_y).astype(int)
    right_share, bottom_share = from_x - left, from_y - top
    total = 0
    for dy, dx in np.ndindex(2, 2):
        share = np.abs(1 - dx - right_share) * np.abs(1 - dy - bottom_share)
        total = total + share * around[top + dy + 40, left + dx + 40]
    nearest = around[np.rint(from_y).astype(int) + 40, np.rint(from_x).astype(int) + 40]
    return total, nearest


@pytest.mark.parametrize('dtype, channels', KINDS)
@pytest.mark.parametrize('center', [None, (9, 4)])
def test_rotation(dtype, channels, center):
    before = results(24, 30, dtype, channels)
    np.random.seed(3)
    assert np.random.rand() < 0.9
    degree = np.random.uniform(10, 20)
    rotate = RandomRotate(0.9, (10, 20), pad_val=7, center=center)
    np.random.seed(3)
    after = rotate(dict(before))
    middle = (14.5, 11.5) if center is None else center
    for k in {0, channels // 2, channels - 1}:
        one = channel(before['img'], k)
        expected, _ = rotated_by_definition(one, degree, middle, 7)
        found = after['img'].reshape(24, 30, channels)[..., k]
        # OpenCV's grid has 1/32 pixel, here at most 1/16 of the greatest step
        assert np.abs(found - expected).max() <= 0.05 * one.max()
    _, label = rotated_by_definition(before['gt_seg_map'], degree, middle, 255)
    assert np.mean(after['gt_seg_map'] != label) < 0.01  # ties
    assert np.mean(label == 255) > 0.05 < np.mean(after['gt_seg_map'] == 255)


def test_rotation_grows_the_image_or_leaves_it():
    before = results(20, 40)
    after = RandomRotate(1.0, (90, 90), auto_bound=True)(dict(before))
    np.testing.assert_array_equal(after['img'], np.rot90(before['img'], -1))
    np.testing.assert_array_equal(
        after['gt_seg_map'], np.rot90(before['gt_seg_map'], -1)
    )
    assert after['img_shape'] == (40, 20)
    assert RandomRotate(0.0, 20)(dict(before))['img'] is before['img']
    with pytest.raises(ValueError, match='remove center or auto_bound'):
        RandomRotate(0.5, 10, center=(1, 1), auto_bound=True)
    with pytest.raises(ValueError, match=r'degree is \(5,\)'):
        RandomRotate(0.5, (5,))
    with pytest.raises(ValueError, match=r'RandomRotate: prob is 1\.5'):
        RandomRotate(1.5, 10)


@pytest.mark.parametrize(
    'sizes', [dict(cutout_shape=[(8, 4), (3, 9)]), dict(cutout_ratio=(0.2, 0.2))]
)
def test_holes(sizes):
    before = results(20, 40)
    image, label = before['img'].copy(), before['gt_seg_map'].copy()
    cut_out = RandomCutOut(0.7, (1, 3), fill_in=(1, 2, 3), seg_fill_in=255, **sizes)
    counts = set()
    for seed in range(40):
        np.random.seed(seed)
        after = cut_out(dict(before))
        np.random.seed(seed)  # the same draws, by the definition of the options
        hole = np.zeros((20, 40), bool)
        count = np.random.randint(1, 4) if np.random.rand() < 0.7 else 0
        for _ in range(count):
            x, y = np.random.randint(0, 40), np.random.randint(0, 20)
            index = np.random.randint(0, len(sizes.get('cutout_shape', [1])))
            w, h = sizes.get('cutout_shape', [(8, 4)])[index]
            hole[y : y + h, x : x + w] = True
        counts.add(count)
        expected = np.where(hole[..., None], [1, 2, 3], image)
        np.testing.assert_array_equal(after['img'], expected)
        np.testing.assert_array_equal(after['gt_seg_map'], np.where(hole, 255, label))
    assert counts == {0, 1, 2, 3}
    np.testing.assert_array_equal(before['img'], image)  # others may hold it, too


def test_holes_fit_the_image():
    many = results(20, 40, 'float32', 13)
    after = RandomCutOut(1.0, 1, cutout_shape=(200, 200))(dict(many))
    assert (after['img'] == 0).all(axis=2).any()
    assert after['gt_seg_map'] is many['gt_seg_map']
    with pytest.raises(ValueError, match=r'13 channels.*has 2 values'):
        RandomCutOut(1.0, 1, cutout_shape=(9, 9), fill_in=(1, 2))(many)
    with pytest.raises(ValueError, match='one of the two'):
        RandomCutOut(1.0, 1)
    with pytest.raises(ValueError, match=r'n_holes is \(3, 1\)'):
        RandomCutOut(1.0, (3, 1), cutout_shape=(9, 9))


@pytest.mark.parametrize('dtype, channels', KINDS)
def test_padding_says_what_it_added(dtype, channels):
    before = results(10, 40, dtype, channels)
    after = Pad(size_divisor=32)(dict(before))
    assert after['img_shape'] == (10, 40) and after['pad_shape'] == (32, 64)
    image = after['img'].reshape(32, 64, channels)
    np.testing.assert_array_equal(image[:10, :40], before['img'])
    assert not image[10:].any() and not image[:, 40:].any()
    label = after['gt_seg_map']
    np.testing.assert_array_equal(label[:10, :40], before['gt_seg_map'])
    assert (label[10:] == 255).all() and (label[:, 40:] == 255).all()
    twice = Pad(size=(100, 50))(after)
    assert twice['img_shape'] == (10, 40) and twice['pad_shape'] == (50, 100)
    gray = Pad(size=(40, 12), pad_val=dict(img=114.0))(dict(before))['img'][10:]
    assert gray.shape[:2] == (2, 40) and (gray == 114).all()
    colour = tuple(range(1, channels + 1))
    added = Pad(size=(40, 12), pad_val=dict(img=colour))(dict(before))['img'][10:]
    assert (added.reshape(2, 40, channels) == colour).all()
    with pytest.raises(ValueError, match=rf'{channels} channels, Pad.*has 9 values'):
        Pad(size_divisor=32, pad_val=dict(img=tuple(range(9))))(dict(before))


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_padding_and_flipping_change_places(direction):
    flip, pad = RandomFlip(1.0, direction), Pad(size=(60, 50), pad_val=9)
    one, other = flip(pad(results(20, 40))), pad(flip(results(20, 40)))
    for key in ('img', 'gt_seg_map'):
        np.testing.assert_array_equal(one[key], other[key])
    assert one['img_shape'] == other['img_shape'] == (20, 40)
    # once something else has changed the size, the padding is part of the image
    cropped = Compose([pad, dict(type='RandomCrop', crop_size=(50, 60)), flip])(
        results(20, 40)
    )
    axes = dict(horizontal=1, vertical=0, diagonal=(0, 1))[direction]
    np.testing.assert_array_equal(
        cropped['img'], np.flip(pad(results(20, 40))['img'], axes)
    )


@pytest.mark.parametrize(
    'step',
    [
        dict(type='RandomChoiceResize', scales=[(90, 60), (180, 120)], keep_ratio=True),
        dict(type='RandomApply', transforms=[dict(type='Resize', scale=(155, 91))]),
        dict(
            type='RandomChoice',
            transforms=[
                [dict(type='Pad', size=(144, 96))],
                [dict(type='RandomFlip', prob=1.0)],
            ],
        ),
        dict(type='CenterCrop', crop_size=(33, 21)),
        dict(type='RandomResize', scale=(120, 80), ratio_range=(0.6, 2.0)),
    ],
)
def test_steps_of_mmcv_move_labels_by_nearest_neighbour(step):
    run, shapes = TRANSFORMS.build(step), set()
    label = np.kron(np.eye(4, 6), np.ones((20, 20))).astype(np.uint8)
    for seed in range(8):
        np.random.seed(seed)
        image = cv2.merge([label * 200] * 3)
        after = run(dict(img=image, gt_seg_map=label, img_shape=(80, 120)))
        gray, moved = after['img'][..., 0], after['gt_seg_map']
        assert gray.shape == moved.shape
        padded = moved == 255
        assert set(np.unique(moved[~padded])) <= {0, 1} and not gray[padded].any()
        wrong = (gray > 100) != (moved == 1)  # by nearest neighbour, half a pixel off
        assert wrong[~padded].mean() < 0.04
        shapes.add(moved.shape)
    assert len(shapes) > 1 or step['type'] == 'CenterCrop'


def test_a_training_pipeline_of_them(tmp_path):
    """From a config file to samples whose images have their labels' values."""
    folder = write_pairs(tmp_path)
    for file in (folder / 'data/labels').iterdir():
        label = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        gray = np.where(label == 255, 200, label * 60).astype(np.uint8)
        cv2.imwrite(str(folder / 'data/images' / file.name), cv2.merge([gray] * 3))
    rotate = dict(type='RandomRotate', prob=0.5, degree=[-10, 30.0], pad_val=200)
    holes = dict(cutout_ratio=[(0.1, 0.2), (0.3, 0.1)], fill_in=(200, 200, 200))
    pipeline = [
        *LOAD,
        dict(type='RandomChoiceResize', scales=[(160, 96), (240, 120)]),
        dict(type='RandomApply', transforms=[rotate], prob=0.8),
        dict(type='RandomCutOut', prob=0.5, n_holes=(1, 4), seg_fill_in=255, **holes),
        dict(type='RandomCrop', crop_size=(110, 150)),
        dict(type='Pad', size=(170, 130), pad_val=dict(img=200, seg=255)),
        dict(type='RandomFlip', prob=[0.3, 0.5], direction=['vertical', 'diagonal']),
        dict(type='PackSegInputs', meta_keys=['keep_ratio']),
    ]
    config = tmp_path / 'config.py'
    base = ROOT / 'configs/fastscnn/fast_scnn_toy_streets.py'
    config.write_text(
        f'_base_ = {str(base)!r}\n'
        f'train_dataloader = dict(dataset=dict(pipeline={pipeline!r}))\n'
    )
    pipeline = load_config(config).train_dataloader.dataset.pipeline
    data, agree = dataset(folder, pipeline), []
    for seed in range(40):
        np.random.seed(seed)
        sample = data[seed % 5]
        image, facts = sample['inputs'].numpy(), sample['data_samples']
        label = facts.gt_sem_seg.data[0].numpy()
        assert image.shape == (3, 130, 170) and label.shape == facts.pad_shape
        h, w = facts.img_shape
        assert (label[h:] == 255).all() and (label[:, w:] == 255).all()
        assert facts.keep_ratio is False
        expected = np.where(label == 255, 200, label * 60)
        agree.append(np.mean(np.abs(expected - image[0]) <= 30))
    assert min(agree) > 0.9 and np.mean(agree) > 0.95
