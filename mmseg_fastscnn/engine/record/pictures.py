"""Small pictures of some results of a validation: a few fixed images, and the worst."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from mmseg_fastscnn.datasets.picture import read_picture

WIDTH = 512  # pixels at most, of the longer side
WORST = 10
SHOWN = 4


@dataclass
class Result:
    """One image's label and prediction, made smaller, and its IoU in percent.

    Attributes:
        name: Relative path.
        file: Path of the image; None if the data set names no file.
        label, pred: (h, w) uint8 train ids.
    """

    name: str
    file: str | None
    iou: float
    label: np.ndarray
    pred: np.ndarray


def smaller(shape: tuple[int, int]) -> int:
    """Return the step at which rows and columns of an image are kept."""
    return -(-max(shape) // WIDTH)


def worst_of(results: Iterable[Result]) -> list[Result]:
    """Return the labelled results of lowest IoU, the worst first."""
    labelled = [result for result in results if result.iou == result.iou]
    return sorted(labelled, key=lambda result: (result.iou, result.name))[:WORST]


def small_jpeg(file: str | None, size: tuple[int, int]) -> bytes:
    """Return an image, made as small as (w, h), as a JPEG file.

    Raises:
        OSError, ValueError: The image cannot be read.
    """
    if file is None:
        raise ValueError('the data set names no file of it')
    image = cv2.resize(read_picture(file), size, interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return jpeg.tobytes()


def as_arrays(kind: str, results: list[Result], images: list[bytes]) -> dict:
    """Return results as arrays for a file.

    Args:
        kind: What the names of the arrays begin with.
        results: The results.
        images: A JPEG file per result, empty where there is none.
    """
    arrays = {
        f'{kind}_names': np.array([result.name for result in results], np.str_),
        f'{kind}_iou': np.array([result.iou for result in results], np.float64),
    }
    for k, (result, image) in enumerate(zip(results, images, strict=True)):
        arrays[f'{kind}_{k}_image'] = np.frombuffer(image, np.uint8)
        for name in ('label', 'pred'):
            png = cv2.imencode('.png', getattr(result, name))[1]
            arrays[f'{kind}_{k}_{name}'] = png.ravel()
    return arrays


def from_arrays(kind: str, arrays: dict) -> list[tuple[Result, np.ndarray | None]]:
    """Return the results of a file, each with its image, (h, w, 3) uint8 BGR."""
    found = []
    names = arrays.get(f'{kind}_names', np.array([], np.str_))
    for k, name in enumerate(names):
        label, pred = (
            cv2.imdecode(arrays[f'{kind}_{k}_{key}'], cv2.IMREAD_GRAYSCALE)
            for key in ('label', 'pred')
        )
        jpeg = arrays[f'{kind}_{k}_image']
        image = cv2.imdecode(jpeg, cv2.IMREAD_COLOR) if len(jpeg) else None
        iou = float(arrays[f'{kind}_iou'][k])
        found.append((Result(str(name), None, iou, label, pred), image))
    return found
