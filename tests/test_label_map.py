"""What the values and colours of label files mean, from real files."""

import cv2
import numpy as np
import pytest
from mmengine.dataset import ClassBalancedDataset
from mmengine.registry import init_default_scope
from PIL import Image
from torch.utils.data import DataLoader

from mmseg_fastscnn.datasets import BaseSegDataset, LoadAnnotations, sample_facts
from mmseg_fastscnn.datasets.label_errors import count_values
from mmseg_fastscnn.datasets.label_map import LabelMap
from mmseg_fastscnn.datasets.loading import read_label
from mmseg_fastscnn.registry import DATASETS

init_default_scope('mmseg_fastscnn')
IDS = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
COLOURS = np.array([(128, 64, 128), (0, 0, 142), (70, 130, 180)], np.uint8)
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]


def label_map(mapping=None, **options) -> LabelMap:
    settings = dict(palette=COLOURS.tolist(), check_palette=True)
    return LabelMap(mapping or {0: 0, 1: 1, 2: 2}, 3, **{**settings, **options})


def with_palette(path, indices, colours) -> str:
    image = Image.fromarray(np.asarray(indices, np.uint8), mode='P')
    image.putpalette(np.asarray(colours, np.uint8).tobytes())
    image.save(path)
    return str(path)


def test_ids_of_32_bits(tmp_path):
    raw = np.array([[70_000, -1], [3, 70_000]], np.int32)
    np.save(tmp_path / 'l.npy', raw)
    Image.fromarray(raw).save(tmp_path / 'l.tif')
    mapping = LabelMap({70_000: 1, 3: 0, -1: 255}, num_classes=2)
    for suffix in ('npy', 'tif'):
        train = read_label(str(tmp_path / f'l.{suffix}'), mapping)
        np.testing.assert_array_equal(train, [[1, 255], [0, 1]])
        assert train.dtype == np.uint8
    assert mapping.raw_ids[[0, 1]].tolist() == [3, 70_000]
    with pytest.raises(ValueError, match=r'l\.tif: label ids \[70000\] are not in lab'):
        read_label(str(tmp_path / 'l.tif'), LabelMap({3: 0, -1: 255}, 1))
    with pytest.raises(ValueError, match=r'the keys \[4294967296\]'):
        LabelMap({2**32: 0}, 1)
    np.save(tmp_path / 'l.npy', raw.astype(float))
    with pytest.raises(ValueError, match=r'l\.npy: has values of float64'):
        read_label(str(tmp_path / 'l.npy'), mapping)


def test_a_palette_that_contradicts_the_indices(tmp_path):
    path = tmp_path / 'l.png'
    # the usual kinds: colours in the order of the ids, others, or none of ours
    for colours in (COLOURS, COLOURS + 1, np.arange(9).reshape(3, 3)):
        train = read_label(with_palette(path, IDS, colours), label_map())
        np.testing.assert_array_equal(train, IDS)
    # a colour mask that was reduced to a palette has an order of its own
    rgb = Image.fromarray(COLOURS[IDS])
    reduced = with_palette(path, [[2, 0, 1], [1, 0, 2]], COLOURS[[1, 2, 0]])
    assert np.array_equal(Image.open(reduced).convert('RGB'), rgb)
    with pytest.raises(ValueError, match=r'l\.png: the colours .* RGB.*palette out of'):
        read_label(reduced, label_map())
    rgb.save(path)  # the two ways out that it names
    np.testing.assert_array_equal(read_label(str(path), label_map()), IDS)
    with_palette(path, IDS, COLOURS[[1, 2, 0]])
    read = read_label(str(path), label_map(check_palette=False))
    np.testing.assert_array_equal(read, IDS)
    # nothing is said of colours at ids that are mapped as the colours say
    shifted = with_palette(path, IDS + 4, [*np.eye(4, 3), *COLOURS])
    read = read_label(shifted, label_map({4: 0, 5: 1, 6: 2}))
    np.testing.assert_array_equal(read, IDS)


def test_three_equal_channels_are_ids(tmp_path):
    path = str(tmp_path / 'l.png')
    cv2.imwrite(path, np.dstack([IDS] * 3))
    np.testing.assert_array_equal(read_label(path, label_map()), IDS)
    # but grays of the palette are colours
    black_is_2 = label_map(palette=[(9, 9, 9), (255, 255, 255), (0, 0, 0)])
    cv2.imwrite(path, np.dstack([IDS // 2 * 255] * 3))
    np.testing.assert_array_equal(read_label(path, black_is_2), 2 - IDS // 2)
    cv2.imwrite(path, np.dstack([np.array([[0, 1, 255]], np.uint8)] * 3))
    with pytest.raises(ValueError, match=r'colours \[\(1, 1, 1\)\]'):
        read_label(path, black_is_2)


def test_a_colour_of_two_classes_names_none(tmp_path):
    path = str(tmp_path / 'l.png')
    Image.fromarray(COLOURS[IDS]).save(path)
    with pytest.raises(ValueError, match=r'several classes have the colours \[\(0'):
        read_label(path, label_map(palette=[(70, 130, 180), *[(0, 0, 142)] * 2]))
    # but the map may say what it means
    mapping = {(0, 0, 142): 1, (128, 64, 128): 0}
    named = label_map(mapping, palette=[(70, 130, 180), *[(0, 0, 142)] * 2])
    np.testing.assert_array_equal(read_label(path, named), [[0, 1, 0], [0, 1, 0]])


@DATASETS.register_module()
class TutorialDataset(BaseSegDataset):
    METAINFO = dict(classes=('sea', 'boat'), palette=[[0, 0, 200], [200, 0, 0]])

    def __init__(self, img_suffix='.jpg', seg_map_suffix='.png', **kwargs):
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)


@pytest.fixture
def boats(tmp_path):
    """Ten images; 0 is unlabelled, 1 sea, and boats, 2, are in the last."""
    for k in range(10):
        raw = np.array([[0, 1, 1, 255]], np.uint8)
        raw[0, 2] += k == 9
        for folder, suffix, pixels in (
            ('img_dir', 'jpg', np.zeros((1, 4, 3), np.uint8)),
            ('ann_dir', 'png', raw),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / f'{folder}/{k}.{suffix}'), pixels)
    return dict(
        type='TutorialDataset',
        data_root=str(tmp_path),
        data_prefix=dict(img_path='img_dir', seg_map_path='ann_dir'),
        reduce_zero_label=True,
        serialize_data=False,
        pipeline=PIPELINE,
    )


def labels_of(dataset) -> list[list[int]]:
    loader = DataLoader(dataset, batch_size=None)
    return [item['data_samples'].gt_sem_seg.data[0, 0].tolist() for item in loader]


def test_the_data_set_class_of_the_tutorial(boats):
    data = DATASETS.build(boats)
    assert labels_of(data) == [[255, 0, 0, 255]] * 9 + [[255, 0, 1, 255]]
    assert data[0]['data_samples'].raw_ids[:2].tolist() == [1, 2]  # undone
    assert data.metainfo['classes'] == ('sea', 'boat')
    for asked, fits in ((None, True), (True, True), (False, False)):
        step = LoadAnnotations(reduce_zero_label=asked)
        info = dict(data.get_data_info(0), ori_shape=(1, 4))
        if fits:
            assert step(info)['gt_seg_map'].tolist() == [[255, 0, 0, 255]]
        else:
            with pytest.raises(ValueError, match='Set it on the data set'):
                step(info)
    subset = DATASETS.build(dict(boats, metainfo=dict(classes=['boat'])))
    assert labels_of(subset)[9] == [255, 255, 0, 255]
    plain = DATASETS.build(dict(boats, reduce_zero_label=False))
    with pytest.raises(ValueError, match=r'label ids \[2\]'):
        plain[9]


def test_wrappers_of_mmengine(boats):
    data = DATASETS.build(boats)
    assert [data.get_cat_ids(k) for k in (0, 9)] == [[0], [0, 1]]
    balanced = ClassBalancedDataset(DATASETS.build(boats), oversample_thr=0.4)
    # boats are in 0.1 of the images: sqrt(0.4 / 0.1) = 2 times
    assert labels_of(balanced) == labels_of(data) + [[255, 0, 1, 255]]
    for wrapped, length in (
        (dict(type='RepeatDataset', dataset=boats, times=2), 20),
        (dict(type='ConcatDataset', datasets=[boats, boats]), 20),
        (dict(type='ClassBalancedDataset', dataset=boats, oversample_thr=0.4), 11),
    ):
        built = DATASETS.build(wrapped)
        assert len(labels_of(built)) == length
        assert built.metainfo['classes'] == ('sea', 'boat')
    unlabelled = DATASETS.build(dict(boats, data_prefix=dict(img_path='img_dir')))
    with pytest.raises(ValueError, match='no label, so there are no classes to bal'):
        unlabelled.get_cat_ids(0)


def test_the_pixels_of_a_large_label_are_counted_exactly():
    label = np.zeros((4097, 4097), np.uint8)  # more pixels than a float32 can count
    label[0, :2] = 255
    assert count_values(label) == {0: 4097**2 - 2, 255: 2}


def test_facts_of_a_sample(boats, tmp_path):
    repeated = dict(type='RepeatDataset', dataset=boats, times=3)
    both = dict(type='ConcatDataset', datasets=[repeated, boats])
    facts = sample_facts(DATASETS.build(both), 60)
    assert (facts.total, facts.looked_at, facts.labelled) == (20, 20, 20)
    assert facts.pixels == {'sea': 38, 'boat': 2} and facts.ignored == 40
    assert facts.raw_values == {0: 20, 1: 38, 2: 2, 255: 20}
    assert facts.image_kinds == {'uint8 x 3 JPEG': 20} and not facts.absent
    assert facts.suggestion is None and not any(p.errors for p in facts.pairs)
    # masks of 0 and 255
    for path in (tmp_path / 'ann_dir').iterdir():
        cv2.imwrite(str(path), np.array([[0, 255, 255, 0]], np.uint8))
    masks = dict(boats, reduce_zero_label=False)
    facts = sample_facts(DATASETS.build(masks), seconds=0)
    assert facts.looked_at == 1 and facts.absent == ['boat']
    assert facts.suggestion == {0: 0, 255: 1}
    mended = DATASETS.build(dict(masks, label_map=facts.suggestion))
    facts = sample_facts(mended, 60)
    assert facts.pixels == {'sea': 20, 'boat': 20} and facts.suggestion is None
    (tmp_path / 'ann_dir/3.png').write_bytes(b'')
    facts = sample_facts(mended, 60)
    (unreadable,) = [pair for pair in facts.pairs if pair.errors]
    assert facts.labelled == 9
    assert '3.png: cannot be read' in unreadable.errors['label']
