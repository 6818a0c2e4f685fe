"""Write the soft labels of images: what one teacher, or the mean of several, gives."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmseg_fastscnn.datasets.loading import LoadImageFromFile
from mmseg_fastscnn.datasets.soft_layout import (
    INDEX,
    LABELS,
    file_facts,
    index_bytes,
    packed_cells,
)
from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.description import check_classes
from mmseg_fastscnn.file_hash import file_hash
from mmseg_fastscnn.ops.sampled import cells, centres, sampled
from mmseg_fastscnn.results import check_may_write
from mmseg_fastscnn.structures import STRIDE
from mmseg_fastscnn.writing import whole_file, write_file


class Teachers:
    """Models whose mean probabilities are to be learned.

    Args:
        predictors: One for each file.
        classes: Names of the classes of the data, which all of them must have.
        temperature: What logits are divided by: over 1, the less probable classes
            count more.

    Raises:
        ValueError: A model has other classes, or gives no logits of each class.
    """

    def __init__(
        self,
        predictors: Mapping[str, Predictor],
        classes: Sequence[str],
        temperature: float = 1.0,
    ):
        for file, predictor in predictors.items():
            check_teacher(file, predictor, classes)
        self.predictors = predictors
        self.classes = classes
        self.temperature = temperature

    def __call__(self, frame: np.ndarray) -> Tensor:
        """Return the probabilities (C, h, w) at the cells of a frame (H, W, 3).

        Raises:
            ValueError: See `Predictor.__call__`.
        """
        each = [
            (at_cells(predictor, frame) / self.temperature).softmax(0)
            for predictor in self.predictors.values()
        ]
        return torch.stack(each).mean(0)

    def hashes(self) -> list[tuple[str, str]]:
        """Return absolute path and hash of each file that the models are made of."""
        files = []
        for name, predictor in self.predictors.items():
            suffixes = [suffix for suffix, _ in predictor.description.parts]
            files += [Path(name), *map(Path(name).with_suffix, suffixes)]
        return [(str(file.resolve()), file_hash(file)) for file in files]


def check_teacher(file: str, predictor: Predictor, classes: Sequence[str]) -> None:
    """Raise ValueError unless a model gives logits of each of these classes."""
    description = predictor.description
    check_classes(file, description.classes, classes, 'training')
    if description.output != 'logits':
        raise ValueError(
            f'{file} gives {description.output}, and soft labels are made of logits. '
            f'Export its checkpoint with --output logits, or give the checkpoint.'
        )
    if description.threshold is not None:
        raise ValueError(
            f'{file} has one channel for two classes; a teacher needs a channel for '
            f'each (without out_channels=1).'
        )


def at_cells(predictor: Predictor, frame: np.ndarray) -> Tensor:
    """Return a model's logits (C, h, w) at the centre of each cell of a frame."""
    logits = torch.from_numpy(predictor.run(frame)).float()
    size = predictor.network_size(frame.shape[:2])
    padded = predictor.description.padded(size)
    places = []
    for pixels, resized, whole, count in zip(
        frame.shape[:2], size, padded, logits.shape[1:], strict=True
    ):
        pixel = centres(cells(pixels, STRIDE), STRIDE)
        if predictor.description.align_corners:
            pixel = pixel * ((resized - 1) / (pixels - 1))
            places.append(pixel * ((count - 1) / (whole - 1)))
        else:
            pixel = (pixel + 0.5) * (resized / pixels)
            places.append(pixel * (count / whole) - 0.5)
    return sampled(logits, *places)


def write_soft_labels(
    out: str | Path,
    teachers: Teachers,
    infos: Mapping[str, Mapping],
    top: int,
    say: Callable[[str], None],
) -> float:
    """Write the soft labels of images, as `datasets/soft_labels.py` describes them.

    Args:
        out: The folder. Earlier soft labels in it are replaced.
        teachers: The models.
        infos: What is known of each image, by its name.
        top: Number of classes that are kept of each cell.
        say: Takes a line every 100 images.

    Returns:
        The mean share of the probability that the kept classes have.

    Raises:
        ValueError: `out` has other files of these names, or a teacher's logits are not
            finite.
    """
    out = Path(out)
    check_may_write(out / INDEX)
    if not (out / INDEX).exists():
        check_may_write(out / LABELS)
    images, offset, kept = {}, 0, []
    hashes, load = teachers.hashes(), LoadImageFromFile()
    with whole_file(out / LABELS) as file:
        for done, (name, info) in enumerate(infos.items(), start=1):
            frame = load(dict(info))['img']
            probabilities = teachers(frame)
            if not probabilities.isfinite().all():
                raise ValueError(
                    f'The teachers give no numbers for {info["img_path"]}: their '
                    f'weights or logits are not finite, or --temperature '
                    f'{teachers.temperature:g} is too low.'
                )
            kept.append(float(probabilities.topk(top, 0).values.sum(0).mean()))
            packed = packed_cells(probabilities, top).tobytes()
            place = [*frame.shape[:2], offset, len(packed), zlib.crc32(packed)]
            images[name] = [*file_facts(info['img_path']), *place]
            file.write(packed)
            offset += len(packed)
            if done % 100 == 0 or done == len(infos):
                say(f'{done} of {len(infos)} images')
    index = (teachers.classes, teachers.temperature, top, hashes, images)
    write_file(out / INDEX, index_bytes(*index))
    return float(np.mean(kept))
