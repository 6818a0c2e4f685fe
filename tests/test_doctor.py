"""The doctor: what is wrong with the files of a data set, before training meets it."""

import json
import os
import re
import shutil
import signal
from argparse import ArgumentParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import CAMVID, ROOT, TOY, run
from mmengine.registry import init_default_scope
from PIL import Image

from mmseg_fastscnn.commands import check as command
from mmseg_fastscnn.commands.entrance import mistake
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.datasets import CityscapesDataset
from mmseg_fastscnn.datasets.annotations import read_folder
from mmseg_fastscnn.datasets.class_weights import balanced_weights, class_pixel_counts
from mmseg_fastscnn.datasets.doctor import facts as facts_of_files
from mmseg_fastscnn.datasets.doctor.copies import find_copies
from mmseg_fastscnn.datasets.doctor.facts import Look, PairFacts, small_grey
from mmseg_fastscnn.datasets.toy_streets import draw_scene
from mmseg_fastscnn.registry import DATASETS

init_default_scope('mmseg_fastscnn')
CLASSES = ('road', 'sidewalk', 'building', 'rest')
CONFIG = f"""
_base_ = ['{ROOT}/configs/fastscnn/fast_scnn_finetune_folder.py']
metainfo = dict(_delete_=True, classes={CLASSES})
data = dict(data_root='', metainfo=metainfo, label_map={{0: 0, 1: 1, 2: 2, 3: 3}})
train_dataloader = dict(dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader
model = dict(num_classes=4)
del data
"""


@pytest.fixture(scope='module')
def scenes() -> list[tuple[np.ndarray, np.ndarray]]:
    """Images of 128x256 and labels of four classes, each of which is in every label."""
    road_to_rest = np.full(256, 3, np.uint8)
    road_to_rest[[7, 8, 11]] = 0, 1, 2
    drawn = [draw_scene(seed, (128, 256)) for seed in range(12)]
    return [(image, road_to_rest[label]) for image, label in drawn]


@pytest.fixture
def folder(scenes, tmp_path) -> Path:
    """Six images to train on, three to validate with, and a config beside them."""
    for k, (image, label) in enumerate(scenes[:9]):
        split = 'train' if k < 6 else 'val'
        for kind, pixels in (('images', image), ('labels', label)):
            (tmp_path / 'data' / kind / split).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / f'data/{kind}/{split}/{k}.png'), pixels)
    (tmp_path / 'config.py').write_text(CONFIG)
    return tmp_path / 'data'


def main(words) -> None:
    """Run the command in this process."""
    args = command.parse_args(ArgumentParser(), [str(word) for word in words])
    command.main(args)


def check(source, *options, status: int = 0) -> dict:
    """Run the command in this process; return its report as JSON."""
    report = Path(source).with_suffix('.report')
    words = [source, '--processes', 1, '--json', report, *options]
    found = 0
    try:
        main(words)
    except SystemExit as ended:
        found = ended.code
    content = json.loads(report.read_text())
    assert found == status == (0 if content['works'] else 1), content['findings']
    return content


def check_config(folder: Path, *options, status: int = 0) -> dict:
    config = folder.parent / 'config.py'
    return check(config, '--data-root', folder, *options, status=status)


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def change_labels(folder: Path, change, pattern: str = '*') -> None:
    for path in folder.glob(f'labels/*/{pattern}.png'):
        cv2.imwrite(str(path), change(read(path)))


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


def refused(*words) -> str:
    """Run the command in this process; return the message of the user's mistake."""
    with pytest.raises(Exception) as caught:
        main(words)
    return mistake(caught.value)


def test_the_command_gives_the_numbers_of_the_files(streets, tmp_path):
    files = ['--json', tmp_path / 'r.json', '--html', tmp_path / 'r.html']
    words = [TOY, '--data-root', streets, '--processes', 2, *files]
    printed = run('tools/check_dataset.py', *words)
    assert 'train: 6 images of 64x128 (h x w), uint8 x 3 PNG; 6 labels' in printed
    assert 'Training can work' in printed and 'task/s' not in printed  # no terminal
    report = json.loads((tmp_path / 'r.json').read_text())
    data = CityscapesDataset(data_root=str(streets))
    counts = class_pixel_counts(data)
    train = report['splits']['train']
    assert list(train['pixels'].values()) == counts[0].tolist()
    for form, weights in train['weights'].items():
        np.testing.assert_allclose(
            [*weights.values()], balanced_weights(counts, form), rtol=1e-12
        )
    pictures = [read(data.get_data_info(k)['img_path']) for k in range(6)]
    rgb = np.stack(pictures).reshape(-1, 3)[:, ::-1].astype(np.float64)
    np.testing.assert_allclose(train['mean_and_std'], [rgb.mean(0), rgb.std(0)])
    assert set(report['splits']) == {'train', 'val'}  # test has the files of val
    page = (tmp_path / 'r.html').read_text()
    assert page.count('<img') >= 6 and page.count('src="data:image/jpeg;base64,') >= 6
    # in one process, the same
    (tmp_path / 'config.py').write_text(f"_base_ = ['{ROOT / TOY}']")
    again = check(tmp_path / 'config.py', '--data-root', streets)
    assert again['splits'] == report['splits']
    assert again['findings'] == report['findings']


def test_good_data_has_no_findings(folder, capsys):
    assert check_config(folder)['findings'] == []
    assert 'Training can work. Nothing is doubtful.' in capsys.readouterr().out


def cut_image(folder):
    cut(folder / 'images/train/1.png', 900)
    return 1, '1 of 6 images cannot be read: .*train/1.png: cannot be read as an image'


def empty_label(folder):
    cut(folder / 'labels/val/7.png', 0)
    return 1, 'val: 1 of 3 labels cannot be read: .*val/7.png'


def remove_label(folder):
    (folder / 'labels/train/2.png').unlink()
    cut(folder / 'images/train/1.png', 900)  # the others are looked at all the same
    return (
        1,
        r'1 of 6 pairs have no label: \[.*labels/train/2.png\].*\n.*cannot be read',
    )


def remove_image(folder):
    (folder / 'images/train/2.png').unlink()
    return 0, 'train: 1 labels have no image .*labels/train/2.png'


def remove_folder(folder):
    shutil.rmtree(folder / 'images/val')
    return 1, 'val: The image folder .*images/val does not exist'


def name_missing_image(folder):
    (folder / 'train.txt').write_text('0\n1\nnone\n')
    config = folder.parent / 'config.py'
    ann_file = "train_dataloader = dict(dataset=dict(data, ann_file='train.txt'))"
    config.write_text(CONFIG.replace('train_dataloader = dict(dataset=data)', ann_file))
    return 1, r'train: .*train.txt names 1 image\(s\) that do not exist .*line 3: none'


def add_id(folder):
    change_labels(folder, lambda label: np.where(label == 2, 9, label), '[12]')
    return 1, (
        r'train: 2 of 6 labels hold values out of label_map. 9: [\d,]+ pixels in 2 '
        r'labels, such as .*labels/train/1.png. .*\(9: 255\)'
    )


def shift_ids(folder):
    change_labels(folder, lambda label: label + 1)
    return (
        1,
        r'4: [\d,]+ pixels in 6 labels.*label_map=\{1: 0, 2: 1, 3: 2, 4: 3\} gives',
    )


def colour_labels(folder):
    colours = np.array([[1, 2, 3], [40, 5, 6], [70, 8, 90], [0, 0, 0]], np.uint8)
    change_labels(folder, lambda label: colours[label])
    return 1, r'label_map=\{\(0, 0, 0\): 0, \(3, 2, 1\): 1, \(6, 5, 40\): 2, \(90, 8'


def jpeg_labels(folder):
    for path in folder.glob('labels/*/*.png'):
        path.write_bytes(cv2.imencode('.jpg', 60 * read(path))[1].tobytes())
    return 1, r'(?s)different values for 4 classes: .*6 labels are JPEG files'


def masks(folder):
    change_labels(folder, lambda label: np.where(label > 1, np.uint8(255), 0))
    return 1, r"nothing to tell apart: .* only \['road'\] .*files hold \[255, 0\]"


def shrink_label(folder):
    change_labels(folder, lambda label: label[:99], '1')
    return 1, r'1 of 6 labels do not lie on their images: .*the label is 99x256'


def turn_image(folder, orientation=3):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = folder / 'images/train/1.png'
    Image.open(path).save(path.with_suffix('.jpg'), exif=exif)
    path.unlink()
    return 1, '1 of 6 labels do not lie on .*train/1.jpg: its EXIF orientation is 3'


def turn_image_by_90_degrees(folder):
    turn_image(folder, 6)  # the label has the size of the file
    return 0, r'1 images have an EXIF orientation, .*train/1.jpg'


def make_gray(folder):
    path = folder / 'images/train/1.png'
    cv2.imwrite(str(path), read(path)[..., 0])
    return 0, 'train: 1 of 6 images are not uint8 x 3 PNG: uint8 x 1 PNG .*train/1.png'


def repeat_image(folder):
    for kind in ('images', 'labels'):
        path = folder / f'{kind}/train/1.png'
        shutil.copy(path, path.with_name('again.png'))
    return 0, 'train: 1 images have the content of another one .*again.png of .*1.png'


def hide_class(folder):
    change_labels(folder, lambda label: np.where(label == 1, 0, label), '[0-5]')
    return 0, 'sidewalk occurs in val and not in train: it cannot be learnt'


def set_crop(folder, crop_size, *resize):
    loading = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')
    crop = dict(type='RandomCrop', crop_size=crop_size)
    steps = [*loading, *resize, crop, dict(type='PackSegInputs')]
    (folder.parent / 'config.py').write_text(
        CONFIG.replace('(dataset=data)', f'(dataset=dict(data, pipeline={steps}))', 1)
    )


def enlarge_crop(folder):
    resize = dict(type='RandomResize', scale=(1024, 512), ratio_range=(0.5, 2.0))
    set_crop(folder, (512, 2048), resize)
    return 0, (
        r'train: 50 % of the crops of \(512, 2048\) \(h, w\) would be padding: .* '
        r'resized to \(1024, 512\) \(w, h\)\. Make crop_size smaller, or scale larger\.'
    )


def enlarge_crop_of_files(folder):
    set_crop(folder, (128, 512))
    return 0, r'50 % .* are smaller, 128x256 \(h x w\)\. Make crop_size smaller\.'


def normalise_to_1(folder):
    config = folder.parent / 'config.py'
    config.write_text(
        CONFIG
        + 'model.update(data_preprocessor=dict(mean=[0.5, 0.5, 0.5], std=[0.2] * 3))\n'
    )
    return 0, r'the images have the mean .* model.data_preprocessor \[0.5, 0.5, 0.5\]'


@pytest.mark.parametrize(
    'damage',
    [
        cut_image,
        empty_label,
        remove_label,
        remove_image,
        remove_folder,
        name_missing_image,
        add_id,
        shift_ids,
        colour_labels,
        jpeg_labels,
        masks,
        shrink_label,
        turn_image,
        turn_image_by_90_degrees,
        make_gray,
        hide_class,
        repeat_image,
        enlarge_crop,
        enlarge_crop_of_files,
        normalise_to_1,
    ],
)
def test_what_was_broken_is_found(folder, capsys, damage):
    status, message = damage(folder)
    report = check_config(folder, status=status)
    texts = '\n'.join(finding['text'] for finding in report['findings'])
    assert re.search(message, texts), texts
    stops = [finding['stops'] for finding in report['findings']]
    assert stops == sorted(stops, reverse=True)  # most grave first
    printed = capsys.readouterr().out
    assert all(line in printed for line in texts.splitlines())


def test_images_that_are_resized_fill_the_crop(folder):
    for resize in (
        dict(type='Resize', scale=(1024, 512)),
        dict(type='RandomResize', scale=[(1024, 512), (2048, 1024)]),
    ):
        set_crop(folder, (512, 1024), resize)
        findings = check_config(folder, status=0)['findings']
        assert not [f for f in findings if 'padding' in f['text']]


def jpeg(image, quality):
    return cv2.imdecode(cv2.imencode('.jpg', image, [1, quality])[1], cv2.IMREAD_COLOR)


def resized(image, factor):
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


COPIES = [
    lambda image: jpeg(image, 75),
    lambda image: jpeg(image, 25),
    lambda image: resized(image, 0.5),
    lambda image: resized(image, 2),
    lambda image: cv2.resize(image, (320, 320)),
    lambda image: image[:, ::-1],
    lambda image: jpeg(resized(image[:, ::-1].copy(), 1.3), 75),
    lambda image: jpeg(image[::-1].copy(), 75),
]


def looks(pictures: list[np.ndarray], name: str) -> list[PairFacts]:
    return [
        PairFacts(f'{name}/{k}', look=Look(f'{name}/{k}'.encode(), grey, None))
        for k, grey in enumerate(small_grey(np.ascontiguousarray(p)) for p in pictures)
    ]


def assert_copies_are_found(pictures: list[np.ndarray]) -> None:
    """Find every copy of every kind, and its original."""
    originals = looks(pictures, 'original')
    for number, change in enumerate(COPIES):
        changed = looks([change(picture) for picture in pictures], f'copy {number}')
        found = {c.second.image: c.first.image for c in find_copies(originals, changed)}
        assert found == {
            copy.image: original.image
            for original, copy in zip(originals, changed, strict=True)
        }


def test_copies_of_streets_are_found_and_nothing_else(scenes):
    pictures = [image for image, _ in scenes]
    assert_copies_are_found(pictures)
    assert not list(find_copies(looks(pictures[:6], 'a'), looks(pictures[6:], 'b')))
    blank = [np.full((64, 64, 3), value, np.uint8) for value in (0, 128)]
    assert not list(find_copies(looks(blank, 'a'), looks([*pictures, *blank], 'b')))


needs_camvid = pytest.mark.skipif(
    not CAMVID.exists(), reason='the CamVid frames are not here'
)


@needs_camvid
def test_copies_of_camvid_are_found_and_no_neighbours():
    """The frames of val are 1/15 second apart, those of train a second."""
    train, val = (
        [read(path) for path in sorted(CAMVID.glob(f'{split}/*.png'))]
        for split in ('train', 'val')
    )
    assert_copies_are_found(val[::4])
    for frames in (train, val):
        one, other = looks(frames[::2], 'one'), looks(frames[1::2], 'the other')
        assert not list(find_copies(one, other))
    assert not list(find_copies(looks(train, 'one'), looks(val, 'the other')))


@needs_camvid
def test_frames_of_a_video_in_two_splits(tmp_path):
    """Every other frame of val, a copy among them, under names with and without."""
    for k, path in enumerate(sorted(CAMVID.glob('val/*.png'))[:20]):
        for kind in ('', 'annot'):
            source = CAMVID / f'val{kind}' / path.name
            names = [path.name, f'{chr(97 + k * 7 % 20)}.png']
            for data, name in zip(('named', 'shuffled'), names, strict=True):
                target = tmp_path / data / f'{("train", "val")[k % 2]}{kind}' / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
    (text,) = (
        finding['text']
        for finding in check(tmp_path / 'named')['findings']
        if 'one video' in finding['text']
    )
    assert '10 images of train and 10 of val seem to be frames of one video' in text
    assert '0016E5_*, the nearest 2 numbers apart' in text
    (finding,) = check(tmp_path / 'shuffled')['findings']
    assert 'look much like an image of train' in finding['text']
    assert len(finding['files']) >= 9


def test_copies_in_two_splits_are_named(folder, capsys):
    for k, change in enumerate((lambda image: image, COPIES[2], COPIES[6])):
        image = change(read(folder / f'images/train/{k}.png'))
        cv2.imwrite(str(folder / f'images/val/copy{k}.jpg'), image)
        label = read(folder / f'labels/train/{k}.png')
        label = cv2.resize(label, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / f'labels/val/copy{k}.png'), label)
    shutil.copy(folder / 'images/train/3.png', folder / 'images/val/8.png')
    (folder / 'images/val/7.png').unlink()
    (folder / 'images/val/7.png').symlink_to(folder / 'images/train/4.png')
    (finding,) = check_config(folder)['findings']
    assert {Path(path).name for path in finding['files']} == {
        *(f'copy{k}.jpg' for k in range(3)),
        *('7.png', '8.png'),
    }
    for words in (
        '5 of 6 images of val are also in train',
        '2 as the same picture, 1 as',
        '1 as the same picture, mirrored left to right',
        '1 as the same file',
        '1 as equal files',
    ):
        assert words in finding['text']


LAYOUTS = (
    ('leftImg8bit/{}', 'gtFine/{}', ''),
    ('images/{}', 'labels/{}', ''),
    ('img_dir/{}', 'ann_dir/{}', ''),
    ('images/{}', 'masks/{}', ''),
    ('images/{}', 'annotations/{}', ''),
    ('{}', '{}annot', ''),
    ('{}/images', '{}/labels', ''),
    ('{}/images', '{}/masks', ''),
    ('JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation/{}.txt'),
    ('images', 'labels', '{}.txt'),
    ('images', 'labels', ''),
    ('images', 'masks', ''),
    ('pictures', 'annotations', ''),
    ('JPEGImages', 'SegmentationClass', ''),
)


@pytest.mark.parametrize('layout', LAYOUTS, ids=' '.join)
def test_folders_without_a_config(scenes, tmp_path, layout):
    """The layout is found, and with it which image has which label."""
    root = tmp_path / 'moved'
    for split, first in (('train', 0), ('val', 6)):
        images, labels, ann_file = (root / part.format(split) for part in layout)
        for k in range(first, first + 3):
            names = f'{k}.png', f'{k}_mask.png'
            if 'leftImg8bit' in layout[0]:
                names = f'{k}_leftImg8bit.png', f'{k}_gtFine_labelTrainIds.png'
            for place, name, pixels in zip(
                (images, labels), names, scenes[k], strict=False
            ):
                place.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(place / name), pixels)
        if layout[2]:
            ann_file.parent.mkdir(parents=True, exist_ok=True)
            ann_file.write_text(''.join(f'{first + k}\n' for k in range(3)))
    found = read_folder(str(root))
    assert len(found.pairs) == 6 and not found.problems
    for pair in found.pairs:
        number = Path(pair.image).name[0]
        assert Path(pair.label).name[0] == number
        if '{}' in ''.join(layout):
            assert pair.split == ('train' if int(number) < 6 else 'val')
    assert {pair.split for pair in found.pairs} == {'train', 'val'}


def test_classes_that_are_not_known(folder, capsys):
    """The label map that is written for the ids or colours reads the labels."""
    colours = np.array([[1, 2, 3], [40, 5, 6], [70, 8, 90], [0, 0, 0]], np.uint8)
    originals = {path: path.read_bytes() for path in folder.glob('labels/*/*.png')}
    for change, values in (
        (lambda label: label, [0, 1, 2, 3]),
        (lambda label: np.where(label > 1, np.uint8(255), 5 * label), [0, 5, 255]),
        (lambda label: np.where(label > 0, np.uint8(255), 0), [0, 255]),
        (lambda label: colours[label], [(0, 0, 0), (3, 2, 1), (6, 5, 40), (90, 8, 70)]),
    ):
        change_labels(folder, change)
        check(folder)
        config = load_config(folder.with_name('data.fastscnn') / 'data.py')
        dataset = DATASETS.build(dict(config.train_dataloader.dataset, pipeline=[]))
        assert sorted(config.train_dataloader.dataset.label_map) == values
        assert class_pixel_counts(dataset)[0].min() > 0
        for path, content in originals.items():
            path.write_bytes(content)
    change_labels(folder, lambda label: label * 0)
    (finding,) = check(folder, status=1)['findings']
    assert 'nothing to tell apart' in finding['text']
    (folder / 'images').rename(folder / 'somewhere')
    said = refused(folder)
    assert '9 images and 9 label images, but no two' in said and 'SPLITannot' in said


def test_names_and_files_of_strangers(folder, tmp_path, capsys):
    """HTML and control characters in names, and files that must stay as they are."""
    name = '<img src=x onerror=alert(1)>\x1b[31m\n&"\udcff'
    for kind in ('images', 'labels'):
        (folder / f'{kind}/train/1.png').rename(folder / f'{kind}/train/{name}.png')
    cut(folder / f'images/train/{name}.png', 900)
    page = tmp_path / 'page.html'
    report = check_config(folder, '--html', page, status=1)
    assert report['findings'][0]['files'][0].endswith(f'{name}.png')
    printed = capsys.readouterr().out
    assert r'alert(1)>\x1b[31m\n&"\udcff' in printed and '\x1b' not in printed
    text = page.read_text()
    assert '&lt;img src=x onerror=alert(1)&gt;\\x1b[31m\\n&amp;&quot;' in text
    assert '<img src=x' not in text and "default-src 'none'" in text
    check_config(folder, '--html', page, status=1)  # our own is replaced
    label = folder / 'labels/train/0.png'
    before = label.read_bytes()
    for option in ('--json', '--html'):
        assert 'exists and is not a result' in refused(folder, option, label)
    assert label.read_bytes() == before


def test_wrappers_are_looked_into(folder, tmp_path):
    train, val = (
        f'dict(data, data_prefix=dict(img_path="images/{split}", '
        f'seg_map_path="labels/{split}"))'
        for split in ('train', 'val')
    )
    wrapped = (
        f'dict(_delete_=True, type="ConcatDataset", datasets=['
        f'dict(type="RepeatDataset", times=2, dataset={train}), '
        f'dict(type="ClassBalancedDataset", oversample_thr=0.1, dataset={val})])'
    )
    palette = [(0, 0, k) for k in range(4)]
    metainfo = f'metainfo=dict(classes={CLASSES}, palette={palette})'
    settings = f"data = dict(type='SegDataset', data_root='', {metainfo})"
    config = CONFIG.replace('(dataset=data)', f'(dataset={wrapped})', 1)
    config = config.replace('train_dataloader', f'{settings}\ntrain_dataloader', 1)
    (tmp_path / 'config.py').write_text(config)
    cut(folder / 'labels/train/1.png', 0)  # ClassBalancedDataset itself would fail
    report = check_config(folder, status=1)
    assert report['splits']['train']['images'] == 9
    assert report['splits']['train']['labels'] == 8
    assert any('3 of 3 images of val' in found['text'] for found in report['findings'])


def test_a_process_that_is_killed_is_said(folder, monkeypatch):
    def die(*args):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(facts_of_files, 'read_raw_label', die)
    with pytest.raises(ValueError, match='was killed, perhaps for want of memory'):
        main([folder, '--processes', 2])
