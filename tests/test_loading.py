"""Images and labels from real files of many kinds, compared with what was written."""

import io
import logging
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from PIL import Image
from torch.utils.data import DataLoader

from mmseg_fastscnn.datasets import (
    LoadAnnotations,
    LoadImageFromFile,
    SegDataset,
    decoding,
)
from mmseg_fastscnn.datasets.image_header import read_header, read_orientation
from mmseg_fastscnn.datasets.picture import read_picture

try:
    import tifffile
except ImportError:
    tifffile = None

init_default_scope('mmseg_fastscnn')
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
ORIENTATION = 0x0112
RANDOM = np.random.default_rng(0)
RGB = cv2.resize(RANDOM.integers(0, 256, (3, 4, 3), np.uint8), (96, 64))
DEEP = RANDOM.integers(0, 4000, (64, 96), np.uint16)
BANDS = RANDOM.integers(0, 4000, (64, 96, 5), np.uint16)


def load(path, **options) -> np.ndarray:
    return LoadImageFromFile(**options)(dict(img_path=str(path)))['img']


@pytest.fixture
def images(tmp_path):
    """An empty folder of images, with one of labels beside it."""
    for kind in ('images', 'labels'):
        (tmp_path / kind).mkdir()
    return tmp_path / 'images'


def dataset(images, label: np.ndarray | None = None, **settings) -> SegDataset:
    """The data set of `images`, with the same label for each."""
    prefix = dict(img_path='images')
    if label is not None:
        prefix['seg_map_path'] = 'labels'
        for path in images.iterdir():
            cv2.imwrite(str(images.parent / f'labels/{path.stem}.png'), label)
    settings = dict(pipeline=LOAD, metainfo=dict(classes=('a', 'b'))) | settings
    settings['serialize_data'] = False  # which takes longer than all else here
    return SegDataset(data_root=str(images.parent), data_prefix=prefix, **settings)


@pytest.fixture
def said(monkeypatch):
    """What the run's logger says."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    handler.setLevel(logging.WARNING)
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    monkeypatch.setattr(decoding.reduction_was_said, 'value', 0)
    yield lines
    logger.removeHandler(handler)


def write_turned(path, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    lossless = dict(lossless=True) if path.suffix == '.webp' else {}
    Image.fromarray(RGB).save(path, exif=exif, **lossless)


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp'])
@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
def test_images_are_read_in_the_grid_of_the_file(tmp_path, suffix, backend):
    path = tmp_path / f'turned{suffix}'
    for orientation in (1, 3, 6):
        write_turned(path, orientation)
        for color_type in ('color', 'unchanged'):
            image = load(path, imdecode_backend=backend, color_type=color_type)
            difference = np.abs(image[..., ::-1].astype(int) - RGB)
            assert difference.mean() < (6 if suffix == '.jpg' else 1e-9)
        gray = load(path, imdecode_backend=backend, color_type='grayscale')
        assert gray.shape == (64, 96)
        data = path.read_bytes()
        header = read_header(io.BytesIO(data), str(path))
        assert read_orientation(header, data, str(path)) == orientation


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
def test_exif_after_the_pixels_of_a_png(tmp_path, backend):
    path = tmp_path / 'i.png'
    write_turned(path, 6)
    data = path.read_bytes()
    first = data.index(b'eXIf') - 4
    end = first + 12 + int.from_bytes(data[first : first + 4], 'big')
    path.write_bytes(data[:first] + data[end:-12] + data[first:end] + data[-12:])
    assert 'exif' not in Image.open(path).info  # which Pillow reads up to the pixels
    loader = LoadImageFromFile(imdecode_backend=backend)
    results = loader(dict(img_path=str(path)))
    assert results['orientation'] == 6 and results['img'].shape == (64, 96, 3)


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp'])
def test_labels_of_turned_images(images, suffix):
    write_turned(images / f'i{suffix}', 6)
    label = np.eye(64, 96, dtype=np.uint8)
    # drawn on the stored grid: fits; on the one that viewers show: told
    item = dataset(images, label)[0]
    np.testing.assert_array_equal(item['gt_seg_map'], label)
    assert item['img'].shape == (64, 96, 3)
    with pytest.raises(ValueError, match='orientation 6 turns it to the size of the l'):
        dataset(images, label.T)[0]
    write_turned(images / f'i{suffix}', 3)  # the size tells nothing
    with pytest.raises(ValueError, match=r'orientation is 3, and .* not tell'):
        dataset(images, label)[0]


def test_a_turned_tiff_is_refused(images):
    write_turned(images / 'i.tif', 6)
    with pytest.raises(ValueError, match=r'i\.tif: its orientation is 6.*upright'):
        load(images / 'i.tif')
    write_turned(images.parent / 'labels/i.tif', 6)
    with pytest.raises(ValueError, match=r'i\.tif: this label is a TIFF with an or'):
        dataset(images, np.eye(64, 96), seg_map_suffix='.tif').get_cat_ids(0)


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.npy'])
@pytest.mark.parametrize('channels', [1, 3])
def test_sixteen_bits_arrive_unreduced(images, suffix, channels, said):
    pixels = np.dstack([DEEP] * channels).squeeze() + np.uint16(1)
    path = images / f'i{suffix}'
    if suffix == '.npy':
        np.save(path, pixels)
    else:
        cv2.imwrite(str(path), pixels)
    image = load(path, color_type='unchanged')
    np.testing.assert_array_equal(image, pixels)
    assert image.dtype == np.uint16
    as_float = load(path, color_type='unchanged', to_float32=True)
    np.testing.assert_array_equal(as_float, pixels.astype(np.float32))
    assert as_float.dtype == np.float32 and not said
    pipeline = [dict(LOAD[0], color_type='unchanged'), LOAD[1]]
    pipeline += [
        dict(type='RandomCrop', crop_size=(64, 96)),
        dict(type='PackSegInputs'),
    ]
    data = dataset(images, np.zeros((64, 96), np.uint8), pipeline=pipeline)
    inputs = data[0]['inputs']
    assert inputs.dtype == torch.uint16 and inputs.shape == (channels, 64, 96)
    assert np.array_equal(inputs.numpy().transpose(1, 2, 0).squeeze(), pixels)


def test_reducing_16_bits_is_said_once(images, said):
    for k in range(4):
        cv2.imwrite(str(images / f'{k}.png'), DEEP)
    data = dataset(images, pipeline=[LOAD[0], dict(type='PackSegInputs')])
    np.testing.assert_array_equal(data[0]['inputs'][0], DEEP >> 8)
    data[1]
    (line,) = said
    assert "0.png has 16-bit values; color_type='color' keeps" in line
    assert "color_type='unchanged'" in line
    # nor do the processes of a DataLoader say it again
    list(DataLoader(data, batch_size=None, num_workers=2))
    assert len(said) == 1 and decoding.reduction_was_said.value == 1


def test_arrays_and_bands(tmp_path):
    np.save(tmp_path / 'i.npy', BANDS)
    np.testing.assert_array_equal(load(tmp_path / 'i.npy'), BANDS)
    np.save(tmp_path / 'i.npy', BANDS.astype(np.float64))
    with pytest.raises(ValueError, match=r'i\.npy: its values are float64.*to_float32'):
        load(tmp_path / 'i.npy')
    assert load(tmp_path / 'i.npy', to_float32=True).dtype == np.float32
    np.save(tmp_path / 'i.npy', np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r'i\.npy: cannot be read as an image'):
        load(tmp_path / 'i.npy')


def test_pictures_of_any_image(images):
    write_turned(images / 'i.jpg', 6)
    np.save(images / 'i.npy', BANDS)
    assert read_picture(str(images / 'i.jpg')).shape == (64, 96, 3)
    shown = read_picture(str(images / 'i.npy')).astype(float)
    assert (shown.min(), shown.max()) == (0, 255)
    bands = BANDS[..., :3].astype(float)
    expected = (bands - bands.min()) / (bands.max() - bands.min()) * 255
    assert np.abs(shown - expected).max() <= 0.5


def tiff_of_bands(path, bands: np.ndarray) -> None:
    """Write a TIFF by its definition: header, pixels, one directory of tags."""
    height, width, channels = bands.shape
    pixels = bands.astype('<u2').tobytes()
    bits = np.full(channels, 16, '<u2').tobytes()
    offset = 8 + len(pixels)
    where = offset if channels > 2 else 16 << 16 | 16  # two fit into the tag itself
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, where)]
    tags += [(259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, channels)]
    tags += [(278, 4, 1, height), (279, 4, 1, len(pixels))]
    directory = np.uint16(len(tags)).tobytes() + b''.join(
        np.array([tag, kind], '<u2').tobytes() + np.array([n, value], '<u4').tobytes()
        for tag, kind, n, value in tags
    )
    start = b'II*\0' + np.uint32(offset + len(bits)).tobytes()
    path.write_bytes(start + pixels + bits + directory + bytes(4))


@pytest.mark.parametrize('channels', [2, 3, 5])
def test_bands_of_a_tiff(tmp_path, channels, monkeypatch):
    path = tmp_path / 'i.tif'
    tiff_of_bands(path, BANDS[..., :channels])
    with open(path, 'rb') as file:
        header = read_header(file, str(path))
    assert header[:4] == (64, 96, channels, 'uint16') and not header.for_opencv
    with pytest.raises(ValueError, match=rf"{channels} channel.*'unchanged'"):
        load(path)
    if tifffile is not None:
        image = load(path, color_type='unchanged')
        np.testing.assert_array_equal(image, BANDS[..., :channels])
        image = load(path, imdecode_backend='tifffile')
        np.testing.assert_array_equal(image, BANDS[..., :channels])
    monkeypatch.setitem(sys.modules, 'tifffile', None)  # as if not installed
    with pytest.raises(ImportError, match=r'i\.tif: .*pip install tifffile'):
        load(path, color_type='unchanged')


def test_what_a_packed_copy_cannot_hold(images):
    cv2.imwrite(str(images / 'i.png'), DEEP)
    label, copy = np.zeros((64, 96), np.uint8), str(images.parent / 'copy')
    with pytest.raises(ValueError, match=r'i\.png has 1 channel.* uint16.*packed'):
        dataset(images, label, packed=copy)
    cv2.imwrite(str(images / 'i.png'), RGB)
    info = dataset(images, label, packed=copy).get_data_info(0)
    as_float = LoadImageFromFile(to_float32=True)(info)['img']
    np.testing.assert_array_equal(as_float, RGB.astype(np.float32))


def test_options_of_loading(tmp_path, said):
    for options in (dict(color_type='rgb'), dict(imdecode_backend='turbojpeg')):
        with pytest.raises(ValueError, match='they must be one of color, grayscale'):
            LoadImageFromFile(**options)
    (tmp_path / 'i.png').write_bytes(b'no image')
    info = dict(img_path=str(tmp_path / 'i.png'))
    for backend_args in (None, dict(backend='local')):
        loader = LoadImageFromFile(ignore_empty=True, backend_args=backend_args)
        assert loader(dict(info)) is None
    assert 'Skipped' in said[0] and 'i.png: cannot be read' in said[0]
    cv2.imwrite(str(tmp_path / 'i.png'), RGB)
    loader = LoadImageFromFile(file_client_args=dict(backend='disk'))
    np.testing.assert_array_equal(loader(info)['img'], RGB)
    LoadAnnotations(imdecode_backend='cv2', backend_args=dict(backend='local'))
    with pytest.raises(ValueError, match="imdecode_backend='gdal'"):
        LoadAnnotations(imdecode_backend='gdal')
    with pytest.raises(ValueError, match='local disk only'):
        LoadAnnotations(backend_args=dict(backend='petrel'))


def test_the_limit_of_pixels(images):
    cv2.imwrite(str(images / 'i.png'), RGB)
    label = np.zeros((64, 96), np.uint8)
    with pytest.raises(ValueError, match=r'images/i\.png: 64x96 .*=6,143\.'):
        dataset(images, label, max_pixels=64 * 96 - 1)[0]
    assert dataset(images, label, max_pixels=64 * 96)[0]['img'].shape == (64, 96, 3)
    with pytest.raises(ValueError, match=r'labels/i\.png: 128x96 .*=6,144\.'):
        dataset(images, label.repeat(2, 0), max_pixels=64 * 96)[0]


def test_pillows_limit_is_not_ours(images, monkeypatch):
    label = np.ones((64, 96), np.uint8)
    Image.fromarray(RGB).save(images / 'i.webp')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    with pytest.raises(Image.DecompressionBombError):  # as one of 13,400 x 13,400
        Image.open(images / 'i.webp')
    np.testing.assert_array_equal(dataset(images, label)[0]['gt_seg_map'], label)
    assert Image.MAX_IMAGE_PIXELS == 1000
