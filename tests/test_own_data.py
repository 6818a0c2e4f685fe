"""Folders from annotation tools: read, checked, trained on, without a config."""

import base64
import json
import math
import re
import shutil
from argparse import ArgumentParser
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from conftest import run
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from PIL import Image, ImageOps

from mmseg_fastscnn import memory
from mmseg_fastscnn.commands import check as command
from mmseg_fastscnn.commands.entrance import mistake
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.datasets.annotations import read_folder
from mmseg_fastscnn.datasets.annotations.class_lists import class_list
from mmseg_fastscnn.datasets.annotations.folder_split import choose_validation
from mmseg_fastscnn.datasets.annotations.found import Folder
from mmseg_fastscnn.datasets.annotations.image_size import shown_size
from mmseg_fastscnn.datasets.annotations.palette import told_apart
from mmseg_fastscnn.datasets.annotations.places import match
from mmseg_fastscnn.datasets.annotations.shapes import as_stored, run_lengths
from mmseg_fastscnn.datasets.loading import read_raw_label
from mmseg_fastscnn.engine.folder.choices import choose, free_memory
from mmseg_fastscnn.registry import DATASETS
from mmseg_fastscnn.report.folder_picture import write_picture_of

init_default_scope('mmseg_fastscnn')
NAMES = ['background', 'ball', 'Kiste']
COLOURS = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]  # VOC's, too
COUNT, SIZE = 7, (72, 96)


@pytest.fixture(scope='module')
def scenes() -> list[tuple[np.ndarray, np.ndarray]]:
    """Images, and labels 0, 1, 2: a ball, and a box that may hide a part of it."""
    random = np.random.default_rng(0)
    result = []
    for _ in range(COUNT):
        label = np.zeros(SIZE, np.uint8)
        x, y = random.integers(20, 60, 2).tolist()
        cv2.circle(label, (x, y), 15, 1, -1)
        cv2.rectangle(label, (x - 5, y - 2), (x + 30, y + 5), 2, -1)
        image = random.integers(0, 60, (*SIZE, 3), np.uint8) + 60 * label[..., None]
        result.append((image, label))
    return result


def outlines(label: np.ndarray, value: int) -> list[list[list[float]]]:
    """Return the outlines of a class, through the middles of pixels."""
    mask = (label == value).astype(np.uint8)
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [(points[:, 0] + 0.5).tolist() for points in found]


def save(path: Path, pixels: np.ndarray, palette: list | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if palette is None:
        cv2.imwrite(str(path), pixels)
    else:
        image = Image.fromarray(pixels, 'P')
        image.putpalette([value for colour in palette for value in colour])
        image.save(path)


def in_colours(label: np.ndarray) -> np.ndarray:
    return np.array(COLOURS, np.uint8)[label][..., ::-1]  # BGR, for OpenCV


def labelme(root: Path, scenes: list, shapes=None) -> None:
    for k, (image, label) in enumerate(scenes):
        save(root / f'{k}.jpg', image)
        drawn = [
            dict(label=NAMES[v], points=points, shape_type='polygon')
            for v in (1, 2)
            for points in outlines(label, v)
        ]
        content = dict(
            version='5.4.1',
            shapes=drawn,
            imagePath=f'..\\old\\{k}.jpg',
            imageData=None if k else base64.b64encode(b'picture').decode(),
            imageHeight=label.shape[0],
            imageWidth=label.shape[1],
        )
        (root / f'{k}.json').write_text(json.dumps(content))


def coco(root: Path, scenes: list) -> None:
    """As Roboflow exports it, in splits; polygons, run lengths and compressed ones."""
    for split, first, last in (('train', 0, 5), ('valid', 5, COUNT)):
        images, annotations = [], []
        for k in range(first, last):
            image, label = scenes[k]
            save(root / split / f'{k}.png', image)
            images.append(dict(id=k, file_name=f'{k}.png', height=72, width=96))
            for v in (1, 2):
                flat = [np.ravel(points).tolist() for points in outlines(label, v)]
                ends = np.flatnonzero(np.diff((label == v).T.ravel(), prepend=0))
                counts = np.diff(ends, prepend=0, append=label.size).tolist()
                segmentation = flat if k % 2 else dict(counts=counts, size=[72, 96])
                annotations.append(
                    dict(id=9, image_id=k, category_id=v, segmentation=segmentation)
                )
        categories = [dict(id=v, name=n) for v, n in enumerate(['all', *NAMES[1:]])]
        content = dict(images=images, annotations=annotations, categories=categories)
        (root / split / '_annotations.coco.json').write_text(json.dumps(content))


def yolo(root: Path, scenes: list) -> None:
    for k, (image, label) in enumerate(scenes):
        split = 'train' if k < 5 else 'val'
        save(root / f'images/{split}/{k}.png', image)
        lines = [
            ' '.join(map(str, [v - 1, *np.ravel(np.array(points) / SIZE[::-1])]))
            for v in (1, 2)
            for points in outlines(label, v)
        ]
        path = root / f'labels/{split}/{k}.txt'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('\n'.join(lines))
    (root / 'data.yaml').write_text('names: {0: ball, 1: Kiste}\ntrain: images/train')


def cvat(root: Path, scenes: list) -> None:
    for k, (image, label) in enumerate(scenes):
        save(root / f'JPEGImages/{k}.jpg', image)
        save(root / f'SegmentationClass/{k}.png', in_colours(label))
        save(root / f'SegmentationObject/{k}.png', in_colours(label))
    lines = [f'{n}:{r},{g},{b}::' for n, (r, g, b) in zip(NAMES, COLOURS, strict=True)]
    text = '# label:color_rgb:parts:actions\n' + '\n'.join(lines)
    (root / 'labelmap.txt').write_text(text)
    (root / 'ImageSets/Segmentation').mkdir(parents=True)
    (root / 'ImageSets/Segmentation/default.txt').write_text('0\n1\n')


def label_colors(root: Path, scenes: list) -> None:
    for k, (image, label) in enumerate(scenes):
        split = 'train' if k < 5 else 'val'
        save(root / f'{split}/{k}.png', image)
        save(root / f'{split}annot/{k}.png', in_colours(label))
    lines = [f'{r} {g} {b}\t{n}' for n, (r, g, b) in zip(NAMES, COLOURS, strict=True)]
    (root / 'label_colors.txt').write_text('\n'.join(lines))


def roboflow(root: Path, scenes: list) -> None:
    for k, (image, label) in enumerate(scenes):
        split = 'train' if k < 5 else 'valid'
        save(root / f'{split}/{k}.jpg', image)
        save(root / f'{split}/{k}_mask.png', label)
    lines = ['Pixel Value, Class', *(f'{k}, {n}' for k, n in enumerate(NAMES))]
    (root / 'train/_classes.csv').write_text('\n'.join(lines))


def voc(root: Path, scenes: list) -> None:
    """Palette PNGs with white borders, in splits that leave one image out."""
    for k, (image, label) in enumerate(scenes):
        save(root / f'JPEGImages/{k}.jpg', image)
        label = label.copy()
        label[0] = 255
        palette = [(1, 1, 1), *COLOURS[1:], *[(9, 9, 9)] * 253]  # not quite VOC's
        save(root / f'SegmentationClass/{k}.png', label, palette)
    for split, names in (('train', '0\n1\n2\n3'), ('val', '4\n5')):
        path = root / f'ImageSets/Segmentation/{split}.txt'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(names)
    (root / 'classes.txt').write_text('\n'.join(NAMES))


FORMS = {
    'LabelMe JSON (7 files)': (labelme, {'train': 6, 'val': 1}),
    'COCO JSON': (coco, {'train': 5, 'val': 2}),
    'YOLO polygons': (yolo, {'train': 5, 'val': 2}),
    'values as in labelmap.txt': (cvat, {'train': 6, 'val': 1}),
    'values as in label_colors.txt': (label_colors, {'train': 5, 'val': 2}),
    'values as in train/_classes.csv': (roboflow, {'train': 5, 'val': 2}),
    'values as in classes.txt': (voc, {'train': 4, 'val': 2}),
}


def check(folder: Path, *options, status: int = 0) -> dict:
    """Run `fastscnn check` in this process; return its report as JSON."""
    report, found = folder.with_suffix('.report'), 0
    words = [folder, '--processes', 1, '--json', report, *options]
    args = command.parse_args(ArgumentParser(), [str(word) for word in words])
    try:
        command.main(args)
    except SystemExit as ended:
        found = ended.code
    content = json.loads(report.read_text())
    assert found == status, content['findings']
    return content


def texts(report: dict) -> str:
    return '\n'.join(finding['text'] for finding in report['findings'])


def read_back(config: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return the labels as the config reads them: split -> stem -> train ids."""
    config, result = load_config(config), {}
    for split in ('train', 'val'):
        dataset = dict(config[f'{split}_dataloader'].dataset, pipeline=[])
        dataset = DATASETS.build(dataset)
        result[split] = labels = {}
        for k in range(len(dataset)):
            info = dataset.get_data_info(k)
            raw = read_raw_label(info['seg_map_path'], 10**6)
            labels[Path(info['img_path']).stem] = dataset.label_map.encode(raw, '')
    return result


@pytest.mark.parametrize('form', FORMS)
def test_each_form_is_read_as_it_was_drawn(form, scenes, tmp_path, capsys):
    write, counts = FORMS[form]
    root = tmp_path / 'my photos'
    root.mkdir()
    write(root, scenes)
    before = {path: path.read_bytes() for path in root.rglob('*') if path.is_file()}
    report = check(root)
    said = capsys.readouterr().out
    assert form in said and f'3 classes: {", ".join(NAMES)}' in said
    config = tmp_path / 'my photos.fastscnn/my_photos.py'
    assert f'Config that reads this data: {config}' in said
    labels = read_back(config)
    assert {split: len(several) for split, several in labels.items()} == counts
    for split, several in labels.items():
        for stem, found in several.items():
            truth = scenes[int(stem)][1].copy()
            if write is voc:
                truth[0] = 255
            np.testing.assert_array_equal(found, truth, f'{split} {stem}')
    pixels = [report['splits']['train']['pixels'][name] for name in NAMES]
    train = [labels['train'][stem] for stem in labels['train']]
    assert pixels == [sum((label == k).sum() for label in train) for k in range(3)]
    assert (tmp_path / 'my photos.fastscnn/labels.jpg').stat().st_size > 5000
    after = {path: path.read_bytes() for path in root.rglob('*') if path.is_file()}
    assert after == before  # nothing is written to the user's folder


def test_what_is_not_used_is_said(scenes, tmp_path, capsys):
    for write in (cvat, voc):
        root = tmp_path / write.__name__
        root.mkdir()
        write(root, scenes)
        save(root / 'JPEGImages/alone.jpg', scenes[0][0])
    check(tmp_path / 'cvat')
    assert '7 pictures of instances or for people are' in capsys.readouterr().out
    said = texts(check(tmp_path / 'voc'))
    assert '1 images have no label: [JPEGImages/alone.jpg]' in said
    assert '1 images with labels are in no split' in said


def test_masks_of_0_and_255_are_two_classes(scenes, tmp_path, capsys):
    for k, (image, label) in enumerate(scenes):
        save(tmp_path / f'flat/{k}.jpg', image)
        save(tmp_path / f'flat/{k}.png', np.where(label > 0, np.uint8(255), 0))
    check(tmp_path / 'flat')
    said = capsys.readouterr().out
    assert 'two classes, 0 is background and 255 is foreground' in said
    labels = read_back(tmp_path / 'flat.fastscnn/flat.py')
    for stem, label in (labels['train'] | labels['val']).items():
        np.testing.assert_array_equal(label, scenes[int(stem)][1] > 0)


@pytest.mark.parametrize('form', ['jpg', 'png'])
def test_values_between_those_of_two_classes_are_no_classes(form, scenes, tmp_path):
    """Masks saved as JPEG, or resized with interpolation; a rare class is fine."""
    for k, (image, label) in enumerate(scenes):
        mask = np.where(label == 1, np.uint8(255), 0)
        half = cv2.resize(mask, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_NEAREST)
        smooth = cv2.blur(cv2.resize(half, SIZE[::-1]), (1, 2)) // 64 * 64
        smooth[smooth == 192] = 255
        save(tmp_path / f'flat/images/{k}.png', image)
        save(tmp_path / f'flat/masks/{k}.{form}', mask if form == 'jpg' else smooth)
        save(tmp_path / f'rare/images/{k}.png', image)
        rare = np.zeros(SIZE, np.uint8)
        rare[0], rare[40, :20] = 255, 1
        save(tmp_path / f'rare/masks/{k}.png', rare)
    told = dict(jpg=r'JPEG or WebP \(masks/0\.jpg', png='seem to be smoothed borders')
    assert re.search(told[form], texts(check(tmp_path / 'flat', status=1)))
    check(tmp_path / 'rare')


def test_labels_without_images(scenes, tmp_path):
    """As CVAT exports them by default; and with photos of other names beside them."""
    cvat(tmp_path, scenes)
    for path in (tmp_path / 'JPEGImages').iterdir():
        path.rename(path.with_stem(f'IMG_{path.stem}'))
    with pytest.raises(ValueError, match='7 images and 7 label images, but no two'):
        check(tmp_path)
    shutil.rmtree(tmp_path / 'JPEGImages')
    with pytest.raises(ValueError, match=r'7 label images \(SegmentationClass/0.png'):
        check(tmp_path)


def test_ids_of_a_list_of_names(tmp_path):
    """A class that is not counted keeps its id; LabelMe's first line has none."""
    (tmp_path / 'classes.txt').write_text('road\nignore\nred\n\n')
    found = class_list(Folder(str(tmp_path)))
    assert found.values == {0: 'road', 1: 'ignore', 2: 'red'}
    (tmp_path / 'classes.txt').write_text('__ignore__\n_background_\nred')
    assert class_list(Folder(str(tmp_path))).values == {0: '_background_', 1: 'red'}
    (tmp_path / 'classes.txt').write_text('road\n\nred')
    with pytest.raises(ValueError, match=r'line 2 is empty\. Name the class'):
        class_list(Folder(str(tmp_path)))


def test_what_cannot_be_a_data_set_is_said(scenes, tmp_path):
    root = tmp_path / 'photos'
    root.mkdir()
    labelme(root, scenes)
    for inside in (root, root / 'ours'):
        with pytest.raises(ValueError, match=r'is in the data, .* Give another'):
            check(root, '--out', inside)
    content = json.loads((root / '0.json').read_text())
    content['shapes'][0]['label'] = '\ud800'
    (root / '0.json').write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"a class is called '\\ud800', which has"):
        check(root)
    mask = dict(content['shapes'][0], shape_type='mask', mask='', label='red')
    for mask['points'] in ([[0, 0], [9, 9]], [[math.inf, 0], [9, 9]]):
        content['shapes'][0] = mask
        (root / '0.json').write_text(json.dumps(content))
        said = texts(check(root, status=1))
        assert '0.json: shape 1: its mask is no image, or begins outside' in said
    for path in root.glob('*.json'):
        content = json.loads(path.read_text())
        for shape in content['shapes']:
            shape.update(label='__ignore__', shape_type='rectangle')
            shape['points'] = [[0, 0], [500, 500]]
        path.write_text(json.dumps(content))
    assert 'the labels have no class: each pixel is' in texts(check(root, status=1))


def test_where_no_image_can_be_read_there_is_no_picture(tmp_path):
    write_picture_of(SimpleNamespace(facts={}), tmp_path / 'labels.jpg')
    assert not list(tmp_path.iterdir())


def test_colours_of_classes_are_told_apart():
    colours = told_apart(['Background', *map(str, range(19))])
    assert colours[0] == (0, 0, 0)
    lab = cv2.cvtColor(np.float32(colours)[:, None] / 255, cv2.COLOR_RGB2LAB)[:, 0]
    distances = np.linalg.norm(lab[:, None] - lab, axis=-1)
    assert np.sort(distances.ravel())[20] > 35  # 9 among as many of VOC's
    assert len(set(told_apart([str(k) for k in range(100)]))) == 100


def test_every_bad_file_is_named(scenes, tmp_path):
    root = tmp_path / 'photos'
    root.mkdir()
    labelme(root, scenes)
    content = json.loads((root / '0.json').read_text())
    (root / '0.json').write_text('{"shapes": [')
    for name, changed in (
        ('1', dict(imageHeight=96, imageWidth=200)),
        ('2', dict(shapes=[dict(label='ball', points=[[1, 1], [5, 5]])])),
        ('3', dict(shapes=[dict(label='ball', points=[[1, 1], [5, 1], [9e9, 5]])])),
        ('extra', dict(imagePath='none.jpg')),
    ):
        (root / f'{name}.json').write_text(json.dumps(content | changed))
    point = dict(label='ball', points=[[1, 1]], shape_type='point')
    (root / '4.json').write_text(
        json.dumps(
            content | dict(imagePath='4.jpg', shapes=[*content['shapes'], point])
        )
    )
    said = texts(check(root, status=1))
    for words in (
        r'/0\.json: no JSON that can be read',
        r'/1\.json: it was drawn on an image of 96x200, the file is 72x96 \(h x w\)',
        r'/2\.json: shape 1: a polygon has 4 numbers; it needs x and y of 3 or more',
        r'/3\.json: shape 1: a polygon has the point \(9e\+09, 5\), far out',
        r"/extra\.json: its image 'none.jpg' is not in the folder",
        r'Left out: 1 shapes of type point have no area',
        r'Left out: 4 images have no annotation that can be used: \[0.jpg, 1.jpg, 2',
    ):
        assert re.search(words, said), (words, said)


def test_bad_lines_and_lists_are_named(scenes, tmp_path):
    root = tmp_path / 'photos'
    yolo(root, scenes)
    (root / 'labels/train/0.txt').write_text('0 0.1 0.1 0.2 0.2')
    (root / 'labels/train/1.txt').write_text('2 0.1 0.1 0.2 0.2 0.3 0.1')
    said = texts(check(root, status=1))
    assert '0.txt: line 1 is a box, not a polygon' in said
    assert '1.txt: line 1 has class 2; there are 2 names' in said
    bomb = ''.join(
        f'a{k}: &a{k} [{", ".join([f"*a{k - 1}"] * 9)}]\n' for k in range(1, 9)
    )
    (root / 'data.yaml').write_text(f'a0: &a0 [x]\n{bomb}names: [*a8]')
    with pytest.raises(ValueError, match=r'data\.yaml has no names of classes'):
        check(root)
    coco(tmp_path / 'coco', scenes)
    path = tmp_path / 'coco/train/_annotations.coco.json'
    content = json.loads(path.read_text())
    content['annotations'][0]['segmentation'] = []
    content['annotations'][3]['image_id'] = 99
    content['annotations'][4]['segmentation']['counts'] = [5, 5]
    content['annotations'].append(dict(image_id=[], category_id=1))
    path.write_text(json.dumps(content))
    shutil.copy(path, path.with_name('again.json'))
    said = texts(check(tmp_path / 'coco', status=1))
    assert '0.png: annotation 9: it has no polygon and no mask' in said
    assert 'an annotation is of image 99, which is not listed' in said
    assert 'an annotation is of image [], which is not listed' in said
    assert 'train/3.png is annotated in 2 files; keep one of them' in said
    assert '2.png: annotation 9: a run-length mask has 10 pixels, its size is' in said


def test_nothing_of_the_user_is_written_over(scenes, tmp_path):
    root, ours = tmp_path / 'photos', tmp_path / 'photos.fastscnn'
    root.mkdir()
    labelme(root, scenes)
    check(root)
    config, label = ours / 'photos.py', ours / 'labels/0.png'
    drawn = label.stat().st_mtime_ns
    check(root)  # what is as we wrote it is replaced, and a label is not drawn again
    assert label.stat().st_mtime_ns == drawn
    content = json.loads((root / '0.json').read_text())
    content['shapes'][0]['label'] = 'Kiste'
    (root / '0.json').write_text(json.dumps(content))
    check(root)
    assert label.stat().st_mtime_ns != drawn
    config.write_text(config.read_text().replace('lr=0.004', 'lr=0.001'))
    said = run('tools/train.py', root, '--iterations', 2, ok=False)
    assert f'To train as it says: fastscnn train {config}' in said
    with pytest.raises(ValueError) as caught:
        check(root)
    assert f'{config} exists and is not as this program' in mistake(caught.value)
    assert 'lr=0.001' in config.read_text()
    check(root, '--config-out', tmp_path / 'mine.py')
    save(label, scenes[0][1])  # no longer ours
    with pytest.raises(ValueError, match='exists and is not a result'):
        check(root, '--config-out', tmp_path / 'mine.py')


@pytest.mark.parametrize('orientation', [5, 6, 7, 8])
def test_labels_of_turned_photos_lie_on_the_stored_pixels(orientation, tmp_path):
    """Annotation tools show a photo as EXIF turns it, and training reads it stored."""
    stored = np.arange(6, dtype=np.uint8).reshape(2, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / 'a.png'
    Image.fromarray(stored).save(path, exif=exif)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(as_stored(upright, orientation), stored)
    assert shown_size(path) == (upright.shape, orientation)


@pytest.mark.parametrize('variable', ['LOCAL_RANK', 'SLURM_LOCALID'])
def test_each_process_asks_its_own_gpu_for_memory(variable, monkeypatch):
    monkeypatch.setattr(
        'mmseg_fastscnn.engine.folder.choices.get_device', lambda: 'cuda'
    )
    monkeypatch.setattr('torch.cuda.mem_get_info', lambda gpu: (1000 + gpu, 9000))
    found = []
    for gpus in (8, 1):  # Slurm may show a task its own GPU alone
        monkeypatch.setattr('torch.cuda.device_count', lambda gpus=gpus: gpus)
        monkeypatch.setenv(variable, '6')
        found.append(free_memory())
    assert found == [1006, 1000]


@pytest.mark.skipif(get_device() == 'cuda', reason='the memory of a GPU counts')
@pytest.mark.parametrize(('available', 'batch'), [(16 << 20, 8), (1 << 20, 3)])
def test_files_that_the_system_keeps_in_memory_leave_room(
    available, batch, tmp_path, monkeypatch
):
    """Linux gives up its copies of files as soon as a program needs the memory."""
    facts = tmp_path / 'meminfo'
    facts.write_text(f'MemFree: 300000 kB\nMemAvailable: {available} kB\n')
    monkeypatch.setattr(memory, 'MEMINFO', facts)
    assert choose({(480, 640): 100}).batch == batch


def test_processes_share_the_images_of_an_epoch():
    one, four = (choose({(64, 96): 800}, epochs=10, processes=n) for n in (1, 4))
    assert (one.iterations, four.iterations) == (1000, 250)
    assert '(10 times each image)' in four.reasons['schedule']


def test_compressed_run_lengths():
    """The text that pycocotools 2.0.11 gives for this mask."""
    mask = np.zeros((40, 60), np.uint8)
    mask[5:30, 10:40] = mask[10:20, 20:55] = mask[35:, :3] = 1
    text = f'S15S1000j7d0bG{57 * "0"}5A:{27 * "0"}n5'
    drawn = np.zeros_like(mask)
    run_lengths(text, (40, 60)).paint(drawn, 1)
    np.testing.assert_array_equal(drawn, mask)
    with pytest.raises(ValueError, match='end in the middle'):
        run_lengths('S15S1000j', (40, 60))


@pytest.mark.parametrize(
    'image, label',
    [
        (
            'leftImg8bit/train/a/a_0_leftImg8bit.png',
            'gtFine/train/a/a_0_gtFine_labelIds.png',
        ),
        ('images/train/a/1.png', 'labels/train/a/1.png'),
        ('img_dir/val/1.jpg', 'ann_dir/val/1.png'),
        ('train/1.png', 'trainannot/1.png'),
        ('train_images/1.png', 'train_masks/1.png'),
        ('test/images/1.png', 'test/masks/1_mask.png'),
        ('images/1.jpg', 'labels/val/1.png'),
        ('701_StillsRaw/0001TP_1.png', '701_StillsRaw/0001TP_1_L.png'),
    ],
)
def test_pairs_by_name(image, label):
    others = ['labels/train/a/2.png', 'labels/test/1.png', 'masks/1_mask.png']
    assert match([image], [label])[0] == {image: label}
    assert (
        match([image.replace('1', '3').replace('a_0', 'a_3')], [label, *others])[0]
        == {}
    )


@pytest.mark.parametrize(
    'images, line',
    [
        ('{0}/1', './images/{0}/1.png'),  # as Ultralytics writes them
        ('{0}/1', r'C:\data\images\{0}\1.png'),
        ('0016E5.{0}', '0016E5.{0}'),
        ('street {0}', 'street {0}.png'),
        ('{0}_1', 'images/{0}_1.png labels/{0}_1.png'),
    ],
)
def test_lists_name_images_in_many_ways(scenes, images, line, tmp_path):
    for split, (image, label) in zip(('train', 'val'), scenes, strict=False):
        save(tmp_path / f'images/{images.format(split)}.png', image)
        save(tmp_path / f'labels/{images.format(split)}.png', label)
        (tmp_path / f'{split}.txt').write_text(line.format(split))
    found = read_folder(tmp_path)
    splits = {pair.image: pair.split for pair in found.pairs}
    expected = {f'images/{images.format(s)}.png': s for s in ('train', 'val')}
    assert splits == expected and not found.problems


def test_two_labels_never_become_one_file(scenes, tmp_path):
    labelme(tmp_path, scenes)
    cv2.imwrite(str(tmp_path / '0.png'), scenes[0][0])
    content = json.loads((tmp_path / '1.json').read_text())
    (tmp_path / '1.json').write_text(json.dumps(dict(content, imagePath='0.png')))
    with pytest.raises(ValueError, match=r'0\.jpg and 0\.png differ only in their suf'):
        check(tmp_path)


def test_frames_of_a_video_stay_together():
    names = [f'clips/day{d}_{k}.jpg' for d in range(10) for k in range(d + 3)]
    chosen, how = choose_validation(names)
    days = {name.split('_')[0] for name in chosen}
    assert all((n in chosen) == (n.split('_')[0] in days) for n in names)
    assert 0.1 < len(chosen) / len(names) < 0.3 and '10 groups' in how
    assert choose_validation(names[::-1])[0] == chosen
    photos = [f'IMG_{k}.jpg' for k in range(95, 155)]
    chosen, how = choose_validation(photos)
    assert len(chosen) == 12 and 'blocks of up to 6' in how
    numbers = sorted(int(name[4:-4]) for name in chosen)
    assert numbers == [
        *range(numbers[0], numbers[0] + 6),
        *range(numbers[6], numbers[6] + 6),
    ]
