"""Pictures of what the network gets in training, beside the image files."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
from mmcv.transforms import RandomResize, Resize
from torch import Tensor, nn

from mmseg_fastscnn.datasets.loading import LoadAnnotations, LoadImageFromFile
from mmseg_fastscnn.datasets.parts import parts_of, steps_of
from mmseg_fastscnn.datasets.picture import as_picture, read_picture
from mmseg_fastscnn.datasets.random_crop import LoadRandomCrop, RandomCrop
from mmseg_fastscnn.datasets.sampler import load_draw
from mmseg_fastscnn.pictures import hatched, overlay, panel, titled, with_legend
from mmseg_fastscnn.structures import SegDataSample

# A window of the image after these steps is a window of the file's image, too.
KEEP_PLACES = (LoadImageFromFile, LoadAnnotations, Resize, RandomResize, LoadRandomCrop)
YELLOW, BLACK = (0, 230, 255), (0, 0, 0)  # BGR


class Window(NamedTuple):
    """What a random crop took: rows and columns of an image that was resized to `size`.

    Attributes:
        size: (h, w).
    """

    size: tuple[int, int]
    rows: slice
    columns: slice


def training_samples(
    dataset: object, order: Iterable[int], preprocessor: nn.Module
) -> Iterator[tuple[SegDataSample, np.ndarray]]:
    """Yield the samples that a run draws, each with its picture.

    Args:
        dataset: The training data.
        order: What the run's sampler draws.
        preprocessor: The model's; its changes of colours and its padding are shown.

    Yields:
        The sample, and the picture: the file's image with the window that was taken
        | what the network gets | with its label.
    """
    windows: list[Window] = []
    for part in parts_of(dataset):
        watch_crops(steps_of(part), windows)
    for draw in order:
        windows.clear()
        loaded = load_draw(dataset, draw)
        batch = {key: [value] for key, value in loaded.items()}
        got = preprocessor(batch, training=True)
        image, sample = got['inputs'][0], got['data_samples'][0]
        window = windows[0] if len(windows) == 1 else None
        shown = as_picture(as_read(image, preprocessor))
        yield sample, sample_panel(sample, shown, window, dataset.metainfo)


def watch_crops(steps: Sequence[Callable], windows: list[Window]) -> None:
    """Have the random crop of a pipeline note its windows.

    They are not noted where another step moves pixels before it: such a window is none
    of the file's image.
    """
    for step in steps:
        crop = getattr(step, 'crop', step)
        if isinstance(crop, RandomCrop):
            crop.choose = partial(noted, crop.choose, windows)
        if not isinstance(step, KEEP_PLACES):
            return


def noted(
    choose: Callable, windows: list[Window], shape: Sequence[int], *args
) -> tuple:
    rows, columns, label = choose(shape, *args)
    windows.append(Window(tuple(shape[:2]), rows, columns))
    return rows, columns, label


def as_read(image: Tensor, preprocessor: nn.Module) -> np.ndarray:
    """Return an image (C, H, W) as it was before it was normalised, (H, W, C)."""
    image = image.permute(1, 2, 0).numpy().copy()
    mean = getattr(preprocessor, 'mean', None)
    if mean is not None:
        image = image * preprocessor.std.numpy().ravel() + mean.numpy().ravel()
    if getattr(preprocessor, 'bgr_to_rgb', False):
        image[..., :3] = image[..., 2::-1].copy()
    image = np.rint(image)
    return image.astype(np.uint8) if 0 <= image.min() <= image.max() < 256 else image


def sample_panel(
    sample: SegDataSample, image: np.ndarray, window: Window | None, metainfo: Mapping
) -> np.ndarray:
    """Draw the file's image with the window | what the network gets | its label.

    Args:
        sample: The sample; data sets without files have no `img_path`, and get no
            picture of the file.
        image: What the network gets, (H, W, 3) uint8 BGR.
        window: What a random crop took of the file's image, if that is known.
        metainfo: `classes` and `palette` of the data set.

    Returns:
        The picture, (H, W, 3) uint8 BGR.
    """
    parts = [titled(image, changes(sample, window))]
    if sample.get('img_path'):
        parts.insert(0, file_picture(sample, window, len(image)))
    known: list[int] = []
    if 'gt_sem_seg' in sample:
        label = sample.gt_sem_seg.data[0].numpy()
        unlabelled = label >= len(metainfo['classes'])
        known = np.unique(label[~unlabelled]).tolist()
        drawn = hatched(overlay(image, label, metainfo['palette']), unlabelled)
        parts.append(titled(drawn, 'label'))
    return with_legend(panel(parts), metainfo, known, unlabelled=True)


def file_picture(
    sample: SegDataSample, window: Window | None, height: int
) -> np.ndarray:
    """Return the file's image at some height in pixels, with the window in yellow."""
    image = read_picture(sample.img_path)
    factor = height / image.shape[0]
    size = (max(round(image.shape[1] * factor), 1), height)
    shown = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    title = f'{sample.rel_path}, {image.shape[0]}x{image.shape[1]}'
    if window is not None:
        corners = corners_of(window, shown.shape[:2])
        for colour, thickness in ((BLACK, 4), (YELLOW, 2)):
            cv2.rectangle(shown, *corners, colour, thickness)
    else:
        title += ', no window known'
    return titled(shown, title)


def corners_of(window: Window, shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the first and the last pixel (x, y) of a window in a picture of (h, w)."""
    sides = (window.rows, window.columns)
    (top, bottom, _), (left, right, _) = map(slice.indices, sides, window.size)
    fy, fx = (new / old for new, old in zip(shape, window.size, strict=True))
    first = (round(left * fx), round(top * fy))
    return [first, (round(right * fx) - 1, round(bottom * fy) - 1)]


def changes(sample: SegDataSample, window: Window | None) -> str:
    """Say what was done to the image, as far as it is known."""
    words = ['what the network gets']
    if window is not None:
        words.append(f'{window.size[0] / sample.ori_shape[0]:.2f} times as large')
    if sample.get('flip'):
        words.append(f'flipped ({sample.flip_direction})')
    return ', '.join(words)
