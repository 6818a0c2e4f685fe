"""Loading only the window that is drawn, from files and from the packed copy."""

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope
from pairs import AFTER, CROP, LOAD, RESIZE, dataset, write_pairs

from mmseg_fastscnn.datasets import SegDataset
from mmseg_fastscnn.datasets.join_steps import join_loading_steps
from mmseg_fastscnn.datasets.random_crop import CLOSE, resized_window

init_default_scope('mmseg_fastscnn')


@pytest.fixture
def folder(tmp_path):
    return write_pairs(tmp_path)


def draw(data: SegDataset, seed: int):
    np.random.seed(seed)
    sample = data[seed % len(data)]
    facts = sample['data_samples']
    image = sample['inputs'].numpy()
    label = facts.gt_sem_seg.data[0].numpy()
    return image, label, {key: facts.get(key) for key in ('flip', *META)}


META = ('ori_shape', 'img_shape', 'scale_factor', 'flip_direction', 'rel_path')


def test_the_same_samples_as_of_the_plain_pipeline(folder):
    """From the same draws: labels to the pixel, so scales, crops and flips are too.

    Colours, drawn after these, are equal but for what resizing a window rounds.
    """
    plain = dataset(folder, fuse=False)
    fast = [dataset(folder), dataset(folder, packed=str(folder / 'copy'))]
    assert len(plain.pipeline.transforms) == 7
    assert [len(data.pipeline.transforms) for data in fast] == [4, 4]
    scales, differences = set(), []
    for seed in range(120):
        image, label, facts = draw(plain, seed)
        scales.add(facts['scale_factor'])
        for data in fast:
            fast_image, fast_label, fast_facts = draw(data, seed)
            np.testing.assert_array_equal(fast_label, label)
            assert fast_facts == facts
            difference = np.abs(fast_image.astype(int) - image)
            differences.append(difference.mean())
    assert len(scales) > 60
    assert np.mean(differences) < 0.3 and np.max(differences) < 1.5  # of 255


def test_windows_of_a_resized_image():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (12, 15, 3), dtype=np.uint8)
    image = cv2.resize(image, (120, 90), interpolation=cv2.INTER_CUBIC)
    steepest = max(np.abs(np.diff(image.astype(int), axis=k)).max() for k in (0, 1))
    for _ in range(1000):
        h, w = rng.integers(30, 250, 2)
        rows, columns = (
            slice(first, int(rng.integers(first + 1, side + 20)))
            for side in (h, w)
            for first in [int(rng.integers(0, side))]
        )
        ours = resized_window(image, (h, w), rows, columns)
        expected = cv2.resize(image, (int(w), int(h)))[rows, columns]
        assert ours.shape == expected.shape
        difference = np.abs(ours.astype(int) - expected)
        assert difference.max() <= CLOSE * steepest + 1


@pytest.mark.parametrize(
    'pipeline',
    [
        [*LOAD, dict(RESIZE, keep_ratio=False), CROP, *AFTER],
        [*LOAD, dict(RESIZE, scale=[(160, 96), (80, 48)]), CROP, *AFTER],
        [dict(LOAD[0], color_type='grayscale'), LOAD[1], RESIZE, CROP, *AFTER],
        [*LOAD, dict(type='Resize', scale=(160, 96)), CROP, *AFTER],
        [*LOAD, *AFTER],
    ],
)
def test_what_is_not_of_that_form_is_left_alone(pipeline):
    assert join_loading_steps(pipeline) == pipeline


@pytest.mark.parametrize(
    'load, joined',
    [
        (dict(backend_args=None, color_type='color', to_float32=False), True),
        (dict(backend_args=dict(backend='local')), True),
        (dict(to_float32=True), False),
        (dict(imdecode_backend='pillow'), False),  # another decoder of JPEG files
    ],
)
def test_options_that_change_nothing_are_joined(folder, load, joined):
    label = dict(LOAD[1], imdecode_backend='cv2', backend_args=None)
    resize = dict(RESIZE, resize_type='Resize')
    data = dataset(folder, [dict(LOAD[0], **load), label, resize, CROP, *AFTER])
    assert len(data.pipeline.transforms) == (4 if joined else 7)


@pytest.mark.parametrize('asked, joined', [(True, True), (None, True), (False, False)])
def test_reduce_zero_label_of_the_data_set_is_joined(folder, asked, joined):
    label = dict(LOAD[1], reduce_zero_label=asked)
    data = dataset(folder, [LOAD[0], label, RESIZE, CROP], reduce_zero_label=True)
    assert len(data.pipeline.transforms) == (1 if joined else 4)
    if joined:
        found = np.unique(data[0]['gt_seg_map'])
        assert set(found) <= {0, 1, 2, 255} and len(found) > 2


def test_a_pipeline_of_text_is_refused(folder):
    # as of --cfg-options train_dataloader.dataset.pipeline="[dict(type='X')]"
    with pytest.raises(ValueError, match=r"step \"dict\(type='X'\)\", which is text"):
        dataset(folder, ["dict(type='X')"])
