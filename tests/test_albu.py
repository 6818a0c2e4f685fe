"""Transforms of albumentations: of the real one where it is, else of a stand-in."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT

from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.datasets import Albu

FLIP_AND_CROP = [
    dict(type='OneOf', transforms=[dict(type='HorizontalFlip', p=1.0)], p=1.0),
    dict(type='RandomCrop', height=6, width=8, p=1.0),
]


class StandIn:
    """As much of albumentations as `FLIP_AND_CROP` needs."""

    def __init__(self, transforms=(), p=1.0, height=None, width=None):
        self.transforms, self.size = transforms, (height, width)

    def __call__(self, **given):
        for transform in self.transforms:
            given = transform(**given)
        return given


class Flip(StandIn):
    def __call__(self, **given):
        return {key: value[:, ::-1] for key, value in given.items()}


class Crop(StandIn):
    def __call__(self, **given):
        height, width = self.size
        y, x = (np.random.randint(0, 10 - height), np.random.randint(0, 20 - width))
        window = slice(y, y + height), slice(x, x + width)
        return {key: value[window] for key, value in given.items()}


@pytest.fixture(params=['stand-in', 'real'])
def package(request, monkeypatch):
    if request.param == 'real':
        return pytest.importorskip('albumentations')
    module = SimpleNamespace(
        Compose=StandIn, OneOf=StandIn, HorizontalFlip=Flip, RandomCrop=Crop
    )
    monkeypatch.setitem(sys.modules, 'albumentations', module)
    return module


def results(channels: int = 3) -> dict:
    """An image whose channels say where a pixel was; the label is its column."""
    y, x, c = np.mgrid[0:10, 0:20, 0:channels]
    image = np.where(c == 0, y, np.where(c == 1, x, 200 + c)).astype(np.uint8)
    return dict(img=image, gt_seg_map=image[..., 1].copy(), img_path='a.png')


@pytest.mark.usefixtures('package')
def test_image_and_label_stay_together():
    augment, corners = Albu(FLIP_AND_CROP), []
    for seed in (1, 2, 3, 1):
        np.random.seed(seed)
        after = augment(results())
        assert after['img'].shape == (6, 8, 3) and after['img_shape'] == (6, 8)
        assert after['img_path'] == 'a.png' and 'pad_shape' not in after
        assert (after['img'][..., 2] == 202).all()  # BGR again
        np.testing.assert_array_equal(after['gt_seg_map'], after['img'][..., 1])
        assert (np.diff(after['gt_seg_map'][0].astype(int)) == -1).all()  # flipped
        corners.append(tuple(after['img'][0, 0].tolist()))
    assert corners[0] == corners[3] and len(set(corners)) > 1  # the run's seed rules
    only_image = results(channels=5)
    del only_image['gt_seg_map']
    assert augment(only_image)['img'].shape == (6, 8, 5)


@pytest.mark.usefixtures('package')
def test_options():
    keymap = {'img': 'image', 'gt_seg_map': 'mask'}
    padded = Albu(FLIP_AND_CROP, keymap=keymap, update_pad_shape=True)(results())
    assert padded['pad_shape'] == (6, 8)
    with pytest.raises(ValueError, match="no transform named 'HorizontalFlop'"):
        Albu([dict(type='HorizontalFlop')])


def test_colours_are_given_as_rgb():
    albumentations = pytest.importorskip('albumentations')
    gray = albumentations.ToGray(p=1.0)
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 2] = 200  # red
    expected = gray(image=np.ascontiguousarray(image[..., ::-1]))['image']
    after = Albu([dict(type='ToGray', p=1.0)])(dict(img=image))['img']
    np.testing.assert_array_equal(after, expected)
    assert after[0, 0, 0] == pytest.approx(0.299 * 200, abs=1)


def test_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'albumentations', None)
    with pytest.raises(ImportError, match='pip install albumentations'):
        Albu(FLIP_AND_CROP)


def test_the_config_check_leaves_its_transforms_alone(tmp_path):
    file = tmp_path / 'albu.py'
    base = ROOT / 'configs/fastscnn/fast_scnn_toy_streets.py'
    options = "dict(type='Albu', transforms=[dict(type='ColorJitter', p=0.2)], {})"
    for more in ('update_pad_shape=True', 'update_pad=1'):
        step = options.format(more)
        file.write_text(
            f'_base_ = {str(base)!r}\n'
            f"load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]\n"
            f"pack = [dict(type='PackSegInputs')]\n"
            f'train_dataloader = dict(dataset=dict(pipeline=[*load, {step}, *pack]))\n'
        )
        if 'shape' in more:
            assert len(load_config(str(file)).train_dataloader.dataset.pipeline) == 4
        else:
            with pytest.raises(ValueError, match='unknown key for Albu'):
                load_config(str(file))
