"""Look at a sample of a data set's files: their kinds, and which classes occur."""

import io
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from mmseg_fastscnn.datasets.image_header import read_header
from mmseg_fastscnn.datasets.label_errors import count_values
from mmseg_fastscnn.datasets.label_file import RawLabel, raw_label
from mmseg_fastscnn.datasets.loading import png_exif, read_raw_label
from mmseg_fastscnn.datasets.same_grid import read_orientation
from mmseg_fastscnn.datasets.seg_dataset import SegDataset
from mmseg_fastscnn.datasets.torchvision_dataset import TorchvisionDataset


@dataclass
class LabelFacts:
    """What was found in a sample of the files.

    Attributes:
        total: Images of the data set, without repetitions.
        looked_at: Images whose files were looked at.
        labelled: Labels among these that could be read.
        pixels: class name -> pixels in these labels; 0 for one that does not occur.
        ignored: Pixels in these labels that are ignored.
        raw_values: Raw id, or colour (r, g, b) of a colour label -> pixels.
        suggestion: A `label_map` under which the labels would have several classes,
            where they have one as they are read now.
        image_kinds: How many images there are of each kind, such as 'uint16 x 1 PNG'.
        orientations: How many images there are of each EXIF orientation other than 1.
        label_palettes: Labels with a palette.
        errors: Messages about files that could not be read.
        skipped: Data sets that could not be looked at, and why.
    """

    total: int = 0
    looked_at: int = 0
    labelled: int = 0
    pixels: dict[str, int] = field(default_factory=dict)
    ignored: int = 0
    raw_values: Counter = field(default_factory=Counter)
    suggestion: dict[int, int] | None = None
    image_kinds: Counter = field(default_factory=Counter)
    orientations: Counter = field(default_factory=Counter)
    label_palettes: int = 0
    errors: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def absent(self) -> list[str]:
        """Names of the classes that occur in no label that was read."""
        return [name for name, count in self.pixels.items() if count == 0]


def occurring_classes(dataset, seconds: float = 5, seed: int = 0) -> LabelFacts:
    """Return facts about a random sample of a data set's files.

    Args:
        dataset: A data set of this package, or a wrapper of mmengine around some.
        seconds: After how long to stop; at least one image is looked at.
        seed: Seed of the order in which images are looked at.
    """
    facts, items = LabelFacts(), []
    for part in parts_of(dataset):
        if isinstance(part, SegDataset | TorchvisionDataset):
            items += [(part, k) for k in range(len(part))]
            facts.pixels |= dict.fromkeys(part.metainfo['classes'], 0)
        else:
            facts.skipped.append(f'{type(part).__name__} is not a data set of files')
    facts.total = len(items)
    random.Random(seed).shuffle(items)
    end = time.monotonic() + seconds
    for part, index in items:
        look_at(part, index, facts)
        if time.monotonic() > end:
            break
    facts.suggestion = suggest_label_map(facts)
    return facts


def parts_of(dataset) -> Iterator:
    """Yield the data sets of files inside mmengine's wrappers, each of them once."""
    if isinstance(dataset, SegDataset | TorchvisionDataset):
        yield dataset
    elif hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from parts_of(part)
    elif hasattr(dataset, 'dataset'):
        yield from parts_of(dataset.dataset)
    else:
        yield dataset


def look_at(dataset: SegDataset | TorchvisionDataset, index: int, facts: LabelFacts):
    """Add one image and its label to `facts`."""
    facts.looked_at += 1
    try:
        if isinstance(dataset, TorchvisionDataset):
            image, label = dataset.images_of(index)
            name = f'{dataset.name}[{index}]'
            describe_opened(image, facts)
            raw = raw_label(label, name)
        else:
            info = dataset.get_data_info(index)
            describe_file(info['img_path'], facts)
            name = info.get('seg_map_path')
            raw = read_raw_label(name, dataset.max_pixels) if name else None
        if raw is not None:
            count_classes(dataset, raw, name, facts)
    except (ValueError, OSError) as error:
        facts.errors.append(str(error))


def describe_file(path: str, facts: LabelFacts) -> None:
    data = Path(path).read_bytes()
    header = read_header(io.BytesIO(data), path)
    orientation = read_orientation(header, png_exif(data), path)
    if header is None:
        facts.image_kinds['unknown'] += 1
        return
    palette = ', palette' if header.has_palette else ''
    kind = f'{header.dtype} x {header.channels} {header.format}{palette}'
    facts.image_kinds[kind] += 1
    if orientation != 1:
        facts.orientations[orientation] += 1


def describe_opened(image: Image.Image, facts: LabelFacts) -> None:
    pixels = np.asarray(image)
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    facts.image_kinds[f'{pixels.dtype} x {channels}'] += 1


def count_classes(
    dataset: SegDataset | TorchvisionDataset,
    raw: RawLabel,
    name: str,
    facts: LabelFacts,
) -> None:
    facts.raw_values.update(count_values(raw.values))
    facts.label_palettes += raw.palette is not None
    train = dataset.label_map.encode(raw, name)
    facts.labelled += 1
    classes = dataset.metainfo['classes']
    for train_id, count in count_values(train).items():
        if train_id == dataset.ignore_index:
            facts.ignored += count
        else:
            facts.pixels[classes[train_id]] += count


def suggest_label_map(facts: LabelFacts) -> dict[int, int] | None:
    """Return {0: 0, 255: 1} for masks of 0 and 255 that are read as one class.

    255 is ignored unless `label_map` says otherwise, so a mask whose foreground is 255
    has no foreground to learn.
    """
    two_values = facts.raw_values.keys() <= {0, 255, (0,) * 3, (255,) * 3}
    occurring = [name for name, count in facts.pixels.items() if count]
    if two_values and facts.ignored and len(facts.pixels) == 2 and len(occurring) < 2:
        return {0: 0, 255: 1}
    return None
