"""Pictures of training samples: the window, what was changed, a run's own samples."""

import cv2
import numpy as np
import pytest
from conftest import TOY
from mmengine.registry import init_default_scope

from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.datasets import SegDataset
from mmseg_fastscnn.datasets.sampler import InfiniteSampler, seed_each_sample
from mmseg_fastscnn.engine.runner import SegRunner
from mmseg_fastscnn.models import SegDataPreProcessor
from mmseg_fastscnn.registry import DATASETS, MODELS
from mmseg_fastscnn.report import training_samples as browsed
from mmseg_fastscnn.report.training_samples import YELLOW, training_samples

LOADING = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
TWICE = dict(type='RandomResize', scale=(240, 160), ratio_range=(1, 1), keep_ratio=True)
CROP = dict(type='RandomCrop', crop_size=(64, 96))
LAST = dict(type='PackSegInputs')


@pytest.fixture
def places(tmp_path):
    """Root of an image of 80x120 whose pixels say where they are: B is x, G is y."""
    rows, columns = np.indices((80, 120), np.uint8)
    image = np.dstack([columns, rows, np.full((80, 120), 7, np.uint8)])
    for folder, pixels in (('img', image), ('ann', rows // 40)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / '0.png'), pixels)
    return tmp_path


def dataset_of(root, *steps: dict, **kwargs) -> SegDataset:
    return SegDataset(
        root,
        dict(img_path='img', seg_map_path='ann'),
        metainfo=dict(classes=('upper', 'lower')),
        pipeline=[*LOADING, *steps, LAST],
        **kwargs,
    )


def seen_in(dataset, monkeypatch, **settings) -> list[tuple]:
    """Return what the pictures of three samples are drawn from."""
    seen = []
    monkeypatch.setattr(browsed, 'sample_panel', lambda *parts: seen.append(parts))
    order = InfiniteSampler(dataset, seed=0)
    samples = training_samples(dataset, order, SegDataPreProcessor(**settings))
    for _ in range(3):
        next(samples)
    return seen


NORMALISED = dict(mean=[120, 110, 100], std=[60, 55, 50], bgr_to_rgb=True)


@pytest.mark.parametrize('kind', ['fused', 'step by step', 'packed', 'packed steps'])
def test_the_window_is_where_the_pixels_come_from(kind, places, monkeypatch):
    kwargs = dict(fuse=kind in ('fused', 'packed'))
    if kind.startswith('packed'):
        kwargs['packed'] = str(places / 'packed')
    dataset = dataset_of(places, TWICE, CROP, **kwargs)
    for sample, image, window, _ in seen_in(dataset, monkeypatch, **NORMALISED):
        assert window.size == (160, 240) and image.shape == (64, 96, 3)
        assert (image[..., 2] == 7).all()
        (left, top), (right, bottom) = browsed.corners_of(window, (80, 120))
        first, last = image[0, 0].astype(int), image[-1, -1].astype(int)
        assert np.abs(first[:2] - (left, top)).max() <= 1
        assert np.abs(last[:2] - (right, bottom)).max() <= 1
        assert (right - left, bottom - top) == (47, 31)
        picture = browsed.file_picture(sample, window, 80)[-80:]
        box = picture[top : bottom + 1, left : right + 1]
        assert (box[0] == YELLOW).all() and (box[:, -1] == YELLOW).all()
        assert (box[4:-4, 4:-4, 2] == 7).all()
        assert browsed.changes(sample, window).endswith('2.00 times as large')


def test_flip_and_padding_are_shown(places, monkeypatch):
    flip = dict(type='RandomFlip', prob=1.0, direction='horizontal')
    dataset = dataset_of(places, CROP, flip)
    settings = dict(NORMALISED, size=(70, 100))
    for sample, image, window, metainfo in seen_in(dataset, monkeypatch, **settings):
        left, right = window.columns.start, window.columns.stop - 1
        assert image[0, 0, 0] == right and image[0, 95, 0] == left
        assert browsed.changes(sample, window).endswith('flipped (horizontal)')
        assert image[69, 99].tolist() == [100, 110, 120]  # the mean, as BGR
        monkeypatch.undo()
        picture = browsed.sample_panel(sample, image, window, metainfo)
        assert picture.shape == (18 + 70 + 18, 105 + 4 + 100 + 4 + 100, 3)


def test_a_window_of_a_turned_image_is_not_drawn(places, monkeypatch):
    turn = dict(type='RandomRotate', prob=1.0, degree=20)
    dataset = dataset_of(places, turn, CROP)
    assert [window for _, _, window, _ in seen_in(dataset, monkeypatch)] == [None] * 3


def test_the_samples_are_those_of_a_run(streets):
    init_default_scope('mmseg_fastscnn')
    config = load_config(TOY, data_root=str(streets))
    loader = SegRunner.build_dataloader(
        dict(config.train_dataloader, num_workers=0, persistent_workers=False), seed=5
    )
    seed_each_sample(loader.dataset)  # as the loop of a run does
    preprocessor = MODELS.build(config.model.data_preprocessor)
    batch = preprocessor(next(iter(loader)), training=True)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    order = InfiniteSampler(dataset, seed=5)
    samples = training_samples(dataset, order, preprocessor)
    for there in batch['data_samples']:
        here, _ = next(samples)
        assert here.rel_path == there.rel_path and here.seed == there.seed
        assert (here.gt_sem_seg.data == there.gt_sem_seg.data).all()
