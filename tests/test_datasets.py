import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmengine.dataset import ConcatDataset
from mmengine.registry import DefaultScope, init_default_scope
from PIL import Image

from mmseg_fastscnn.datasets import (
    CamVidDataset,
    CityscapesDataset,
    RandomFlip,
    SegDataset,
    TorchvisionDataset,
)
from mmseg_fastscnn.datasets.cityscapes import CLASSES, LABEL_IDS
from mmseg_fastscnn.datasets.label_map import LabelMap
from mmseg_fastscnn.models import EncoderDecoder, SegDataPreProcessor

init_default_scope('mmseg_fastscnn')
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
RAW = np.array([[0, 1, 2, 7], [7, 2, 1, 0]])
MAP = {0: 0, 1: 1, 2: 0, 7: 255}
TRAIN = np.array([[0, 1, 0, 255], [255, 0, 1, 0]])
PALETTE = [(10, 20, 30), (200, 100, 0)]


@pytest.fixture
def folder(tmp_path):
    """Three images, one in a sub-folder, and their labels with the ids RAW."""
    for name in ('a', 'b', 'sub/c'):
        for kind in ('images', 'labels'):
            (tmp_path / kind / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / f'images/{name}.jpg'), np.zeros((2, 4, 3), np.uint8))
        cv2.imwrite(str(tmp_path / f'labels/{name}.png'), RAW.astype(np.uint8))
    return tmp_path


def dataset(root, **changes) -> SegDataset:
    settings = dict(
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=('one', 'two'), palette=PALETTE),
        label_map=MAP,
        pipeline=LOAD,
    )
    return SegDataset(**{**settings, **changes})


def labels(data) -> list[np.ndarray]:
    return [data[k]['gt_seg_map'] for k in range(len(data))]


def test_folder(folder):
    data = dataset(folder)
    assert [data[k]['rel_path'] for k in range(3)] == ['a.jpg', 'b.jpg', 'sub/c.jpg']
    assert all(np.array_equal(label, TRAIN) for label in labels(data))
    assert data[0]['img'].shape == (2, 4, 3) and labels(data)[0].dtype == np.uint8


@pytest.mark.parametrize('kind', ['16-bit', 'palette', 'colour'])
def test_kinds_of_label_files(folder, kind):
    path, mapping = folder / 'labels/a.png', dict(MAP)
    if kind == '16-bit':
        cv2.imwrite(str(path), np.where(RAW == 7, 40_000, RAW).astype(np.uint16))
        mapping[40_000] = 255
    elif kind == 'palette':
        image = Image.fromarray(RAW.astype(np.uint8), mode='P')
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
        image.save(path)
    else:  # class 0, class 1, and black for what is not labelled
        mapping = {0: 0, 1: 1, (0, 0, 0): 255}
        table = {0: PALETTE[0], 1: PALETTE[1], 255: (0, 0, 0)}
        rgb = np.array([[table[k] for k in row] for row in TRAIN.tolist()], np.uint8)
        Image.fromarray(rgb).save(path)
    np.testing.assert_array_equal(
        labels(dataset(folder, label_map=mapping, indices=[0]))[0], TRAIN
    )


def test_split_file_and_several_data_sets(folder):
    (folder / 'split.txt').write_text('sub/c\nb.jpg\n')
    half = dataset(folder, ann_file='split.txt')
    assert [half[k]['rel_path'] for k in range(2)] == ['sub/c.jpg', 'b.jpg']
    # together with a data set whose labels mean the same by other ids
    for path in (folder / 'labels').rglob('*.png'):
        cv2.imwrite(str(path).replace('.png', '_2.png'), (RAW + 1).astype(np.uint8))
    shifted = {raw + 1: train for raw, train in MAP.items()}
    other = dataset(folder, seg_map_suffix='_2.png', label_map=shifted)
    both = ConcatDataset([half, other])
    assert len(both) == 5 and both.metainfo['classes'] == ('one', 'two')
    assert all(np.array_equal(label, TRAIN) for label in labels(both))


def test_data_sets_of_torchvision_in_a_plain_script(monkeypatch):
    items = [(Image.new('RGB', (4, 2), (9, 0, 0)), Image.new('L', (4, 2), 1))]
    made = SimpleNamespace(Two=lambda root: items)
    monkeypatch.setitem(sys.modules, 'torchvision', SimpleNamespace(datasets=made))
    pipeline = [*LOAD, RandomFlip(prob=1.0), dict(type='ToImageAndLabel')]
    with DefaultScope.overwrite_default_scope('mmengine'):  # as of mmengine alone
        metainfo = dict(classes=('one', 'two'))
        data = TorchvisionDataset('Two', '', metainfo, pipeline=pipeline)
    image, label = data[0]
    assert image[:, 0, 0].tolist() == [9, 0, 0] and label.tolist() == [[1] * 4] * 2


def test_identity_is_the_default_label_map(folder):
    cv2.imwrite(str(folder / 'labels/a.png'), np.array([[0, 1, 255, 1]] * 2, np.uint8))
    label = labels(dataset(folder, label_map=None, indices=[0]))[0]
    np.testing.assert_array_equal(label, [[0, 1, 255, 1]] * 2)
    # and VOC's colours are the default palette
    data = dataset(folder, metainfo=dict(classes=('a', 'b'), palette=None))
    assert data.metainfo['palette'] == [(0, 0, 0), (128, 0, 0)]


def test_cityscapes_from_its_own_files(streets, tmp_path):
    data = CityscapesDataset(data_root=str(streets), pipeline=LOAD)
    assert len(data) == 6
    raw = cv2.imread(data.get_data_info(0)['seg_map_path'], cv2.IMREAD_UNCHANGED)
    expected = np.array([LABEL_IDS[k] for k in raw.ravel().tolist()]).reshape(raw.shape)
    np.testing.assert_array_equal(labels(data)[0], expected)
    np.testing.assert_array_equal(
        np.where(expected == 255, 0, data[0]['raw_ids'][expected]),
        np.where(expected == 255, 0, raw),
    )
    # the same scenes with only labelTrainIds, as Cityscapes' converter writes them
    root = tmp_path / 'converted'
    (root / 'leftImg8bit').parent.mkdir()
    (root / 'leftImg8bit').symlink_to(streets / 'leftImg8bit')
    for k in range(6):
        info = data.get_data_info(k)
        path = root / info['seg_map_path'][len(str(streets)) + 1 :]
        path.parent.mkdir(parents=True, exist_ok=True)
        path = str(path).replace('labelIds', 'labelTrainIds')
        cv2.imwrite(path, labels(data)[k])
    city = root / 'gtFine/train/toy'  # may be a link to a folder
    city.rename(root / 'elsewhere')
    city.symlink_to(root / 'elsewhere')
    converted = CityscapesDataset(data_root=str(root), pipeline=LOAD)
    for ours, theirs in zip(labels(data), labels(converted), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_subset_of_classes(streets):
    metainfo = dict(classes=('sky', 'road'))
    data = CityscapesDataset(data_root=str(streets), metainfo=metainfo, pipeline=LOAD)
    everything = CityscapesDataset(data_root=str(streets), pipeline=LOAD)
    names = [name for name, _, _ in CLASSES]
    full, label = labels(everything)[0], labels(data)[0]
    assert ((label == 0) == (full == names.index('sky'))).all()
    assert ((label == 1) == (full == names.index('road'))).all()
    assert data.metainfo['palette'] == [(70, 130, 180), (128, 64, 128)]
    with pytest.raises(ValueError, match="no classes \\['raod'\\]"):
        CityscapesDataset(data_root=str(streets), metainfo=dict(classes=('raod',)))


def test_raw_ids_come_back():
    table = LabelMap({0: 0, 5: 1, 300: 2, 4: 1, 9: 255}, num_classes=3).raw_ids
    assert table[[0, 1, 2, 255]].tolist() == [0, 4, 300, 9] and table.dtype == np.uint16


def test_colours_are_classes_whatever_the_raw_ids(folder):
    rgb = np.array([PALETTE[1], PALETTE[0]] * 4, np.uint8).reshape(2, 4, 3)
    Image.fromarray(rgb).save(folder / 'labels/a.png')
    data = dataset(folder, label_map={7: 0, 8: 1}, indices=[0])
    np.testing.assert_array_equal(labels(data)[0], [[1, 0, 1, 0]] * 2)


def test_linked_folders_and_capital_suffixes_count(folder, tmp_path_factory):
    (folder / 'images/b.jpg').rename(folder / 'images/b.JPG')
    elsewhere = tmp_path_factory.mktemp('elsewhere')
    (folder / 'images/sub').rename(elsewhere / 'sub')
    (folder / 'images/sub').symlink_to(elsewhere / 'sub')
    assert len(labels(dataset(folder))) == 3
    # links back, to what was visited and to what contains it all, add nothing
    (elsewhere / 'sub/back').symlink_to(folder / 'images')
    (folder / 'images/a_loop').symlink_to(folder / 'images')
    (folder / 'images/all').symlink_to(folder)
    # nor do copies that an editor hides
    (folder / 'images/.ipynb_checkpoints').mkdir()
    for hidden in ('.ipynb_checkpoints/a.jpg', '._a.jpg'):
        (folder / 'images' / hidden).write_bytes(b'not for us')
    names = [pair['rel_path'] for pair in dataset(folder).load_data_list()]
    assert names == ['a.jpg', 'b.JPG', 'sub/c.jpg']


def test_split_files_of_other_tools(folder):
    lines = [
        '\ufeff# comment',
        '',
        'images/a.jpg labels/a.png',
        f'{folder}/images/b.jpg,{folder}/labels/b.png',
        '.\\images\\sub\\c.jpg\t.\\labels\\sub\\c.png',
    ]
    split = folder / 'split.txt'
    split.write_text('\r\n'.join(lines), encoding='utf-8')
    data = dataset(folder, ann_file='split.txt')
    assert [data[k]['rel_path'] for k in range(3)] == ['a.jpg', 'b.jpg', 'sub/c.jpg']
    assert all(np.array_equal(label, TRAIN) for label in labels(data))
    split.write_text('a\n./images/b.jpg\nsub/c')
    names = [pair['rel_path'] for pair in dataset(folder, ann_file='split.txt')]
    assert names == ['a.jpg', 'b.jpg', 'sub/c.jpg']


@pytest.mark.parametrize(
    'line, error, message',
    [
        ('../a.jpg', ValueError, r'split\.txt, line 2: \.\./a\.jpg leaves its folder'),
        ('a ../x.png', ValueError, r'line 2: \.\./x\.png leaves its folder'),
        (f'{__file__}', ValueError, r'line 2: /.* is not below .*data_root'),
        ('z.jpg', FileNotFoundError, r'1 image\(s\) .* \[line 2: z\.jpg\]'),
        ('a.jpg 1', FileNotFoundError, r'line 2: the label 1 does not exist'),
        ('a.jpg images/a.jpg', ValueError, r"line 2: .*seg_map_suffix='\.png'"),
    ],
)
def test_lines_of_split_files_that_cannot_be_used(folder, line, error, message):
    (folder / 'split.txt').write_text(f'b\n{line}\n')
    with pytest.raises(error, match=message):
        dataset(folder, ann_file='split.txt')


def test_without_labels(folder):
    prefix = dict(img_path='images', seg_map_path='')
    data = dataset(folder, data_prefix=prefix)
    assert 'gt_seg_map' not in data[0] and data[0]['img'].shape == (2, 4, 3)


@pytest.mark.parametrize('host', ['cpu', 'none'])
def test_training_without_labels_says_what_is_missing(folder, host, monkeypatch):
    monkeypatch.setattr('mmseg_fastscnn.ops.host.HOST', host)
    prefix = dict(img_path='images', seg_map_path='')
    pipeline = [*LOAD, dict(type='PackSegInputs')]
    labelled = dataset(folder, pipeline=pipeline)[0]
    item = dataset(folder, data_prefix=prefix, pipeline=pipeline)[0]
    batch = {key: [labelled[key], value] for key, value in item.items()}
    prepared = SegDataPreProcessor(mean=[0] * 3, std=[1] * 3, size=(8, 8))(batch, True)
    with pytest.raises(ValueError, match=r'images without labels.*seg_map_path'):
        EncoderDecoder.loss(None, **prepared)


def turn_image(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (2, 4)).save(folder / 'images/b.jpg', exif=exif)
    return ValueError, r'images/b\.jpg is stored as 4x2, and its EXIF orientation 6'


def add_twin(folder):
    (folder / 'images/b.png').write_bytes((folder / 'images/b.jpg').read_bytes())
    return ValueError, r'images differ only in their suffix .*: \[b\]'


def break_id(folder):
    cv2.imwrite(str(folder / 'labels/b.png'), np.full((2, 4), 9, np.uint8))
    return ValueError, r'labels/b\.png: label ids \[9\].*label_map'


def break_colour(folder):
    Image.new('RGB', (4, 2), (1, 2, 3)).save(folder / 'labels/b.png')
    return ValueError, r'labels/b\.png: colours \[\(1, 2, 3\)\].*label_map'


def break_size(folder):
    cv2.imwrite(str(folder / 'labels/b.png'), np.zeros((4, 2), np.uint8))
    return ValueError, r'labels/b\.png: the label is 4x2 .*b\.jpg is 2x4'


def break_label(folder):
    path = folder / 'labels/b.png'
    path.write_bytes(path.read_bytes()[:45])
    return ValueError, r'labels/b\.png: cannot be read as a label image'


def break_image(folder):
    (folder / 'images/b.jpg').write_bytes(b'no image')
    return ValueError, r'images/b\.jpg: cannot be read as an image'


def remove_label(folder):
    (folder / 'labels/b.png').unlink()
    return FileNotFoundError, r'1 of 3 pairs have no label: \[.*labels/b\.png\]'


def remove_images(folder):
    for path in (folder / 'images').rglob('*.jpg'):
        path.unlink()
    return FileNotFoundError, r'No image ends in .* below .*images'


@pytest.mark.parametrize(
    'damage',
    [
        break_id,
        break_colour,
        break_size,
        break_label,
        break_image,
        turn_image,
        add_twin,
        remove_label,
        remove_images,
    ],
)
def test_bad_data_is_named(folder, damage):
    error, message = damage(folder)
    with pytest.raises(error, match=message):
        data = dataset(folder)
        _ = [data[k] for k in range(len(data))]


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(metainfo={}), 'no class names'),
        (dict(label_map={'0': 1}), r"the keys \['0'\]; a key is an id"),
        (dict(metainfo=dict(clases=('a',))), "no key 'clases'; did you mean 'classes'"),
        (dict(reduce_zero_label=True), 'reduce_zero_label=True is a label_map'),
        (dict(label_map={0: 5}), r'train ids \[5\]; with 2 classes'),
        (
            dict(metainfo=dict(classes=['a', 'b'], palette=[(0, 0, 0)])),
            '1 colours for 2',
        ),
        (dict(ann_file='none.txt'), 'split file .*none.txt is missing'),
        (dict(data_prefix=dict(img_path='x')), 'folder .*x does not exist'),
    ],
)
def test_bad_settings_are_named(folder, changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        dataset(folder, **changes)


def test_camvid(camvid):
    root, counts = camvid
    data = {
        split: CamVidDataset(
            data_root=str(root),
            data_prefix=dict(img_path=split, seg_map_path=f'{split}annot'),
            pipeline=LOAD,
        )
        for split in ('train', 'val')
    }
    assert (len(data['train']), len(data['val'])) == counts
    results = data['val'][0]
    assert results['img'].shape == (360, 480, 3)
    found = set(np.unique(results['gt_seg_map']))
    assert found <= {*range(11), 255} and {0, 1, 3, 8} <= found
