"""What one image and its label hold, and what keeps training from reading them."""

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from mmseg_fastscnn.datasets.image_header import Header, read_header, read_orientation
from mmseg_fastscnn.datasets.label_errors import check_same_grid, count_values
from mmseg_fastscnn.datasets.label_file import RawLabel, raw_label
from mmseg_fastscnn.datasets.label_map import LabelMap
from mmseg_fastscnn.datasets.loading import (
    LoadImageFromFile,
    read_raw_label,
)
from mmseg_fastscnn.datasets.parts import Part, steps_of
from mmseg_fastscnn.datasets.picture import as_picture
from mmseg_fastscnn.datasets.seg_dataset import SegDataset
from mmseg_fastscnn.datasets.torchvision_dataset import TorchvisionDataset

Value = int | tuple[int, int, int]  # a raw id, or a colour (r, g, b) in a colour label
KEPT = 1000  # values of one label that are kept, the most frequent
SIDE = 32  # of the small grey picture


class Look(NamedTuple):
    """What is known of an image only after it is decoded.

    Attributes:
        digest: Hash of the file's content.
        grey: (32, 32) uint8, see `small_grey`.
        sums: (2, C) sums of the values and of their squares, channels as read (BGR).
    """

    digest: bytes
    grey: np.ndarray
    sums: np.ndarray


@dataclass(eq=False)  # arrays have no single answer to "equal?"
class PairFacts:
    """Facts about one image and its label.

    Attributes:
        image, label: Paths; of torchvision's data sets, which give no paths, a name.
        part: Number of the pair's data set in its split.
        kind: Depth, channels and format, such as 'uint16 x 1 PNG'.
        size: (h, w) as stored, if it is known.
        orientation: EXIF's.
        errors: Messages by what is wrong: 'image' and 'label' cannot be read, 'ids' are
            not in the label map, 'grid': the label does not lie on the image.
        values: Value in the label file -> pixels.
        is_lossy: Whether the label file is a JPEG, which changes values.
        pixels: Class name -> pixels; None if the label could not be read.
        ignored: Pixels that are ignored.
        unknown: Those of `values` that are not in the label map.
        look: What a thorough look adds.
    """

    image: str
    label: str | None = None
    part: int = 0
    kind: str = ''
    size: tuple[int, int] | None = None
    orientation: int = 1
    errors: dict[str, str] = field(default_factory=dict)
    values: dict[Value, int] = field(default_factory=dict)
    is_lossy: bool = False
    pixels: dict[str, int] | None = None
    ignored: int = 0
    unknown: dict[Value, int] = field(default_factory=dict)
    look: Look | None = None


def look_at(part: Part, sample: dict | int, thorough: bool) -> PairFacts:
    """Return the facts about one image and its label.

    Args:
        part: The data set.
        sample: The paths in it (`img_path`, perhaps `seg_map_path`), or the index where
            torchvision loads the files.
        thorough: Decode the image, too; otherwise only its header is read.
    """
    if isinstance(part, TorchvisionDataset):
        return look_at_item(part, sample)
    facts = PairFacts(sample['img_path'], sample.get('seg_map_path'))
    try:
        read_image(part, facts, thorough)
    except Exception as error:  # of any decoder: the look goes on and names the file
        facts.errors['image'] = with_name(error, facts.image)
    if facts.label is not None:
        try:
            raw = read_raw_label(facts.label, part.max_pixels)
            facts.is_lossy = is_jpeg(facts.label)
        except Exception as error:
            facts.errors['label'] = with_name(error, facts.label)
        else:
            count_label(part, raw, facts.label, facts)
            compare_grids(raw, facts)
    return facts


def with_name(error: Exception, path: str) -> str:
    """Return an error's message; ours name the file, those of libraries may not."""
    text = str(error)
    return text if path in text else f'{path}: {type(error).__name__}: {text}'


def read_image(part: SegDataset, facts: PairFacts, thorough: bool) -> None:
    """Add what an image file says about itself and, if `thorough`, what it shows."""
    data = Path(facts.image).read_bytes()
    header = read_header(io.BytesIO(data), facts.image)
    if header is not None:
        facts.kind = kind_of(header)
        facts.size = header.height, header.width
        facts.orientation = read_orientation(header, data, facts.image)
    if thorough:
        sample = dict(img_path=facts.image, max_pixels=part.max_pixels)
        image = loading_step(part).transform(sample)['img']
        facts.size = image.shape[:2]
        digest = hashlib.blake2b(data, digest_size=16).digest()
        facts.look = Look(digest, small_grey(as_picture(image)), channel_sums(image))


def is_jpeg(path: str) -> bool:
    """Return whether a file is a JPEG, whatever its name says."""
    with open(path, 'rb') as file:
        return file.read(2) == b'\xff\xd8'


def kind_of(header: Header) -> str:
    palette = ', palette' if header.has_palette else ''
    return f'{header.dtype} x {header.channels} {header.format}{palette}'


def loading_step(part: SegDataset) -> LoadImageFromFile:
    """Return the step that loads images as the data set's pipeline does."""
    for step in steps_of(part):
        if isinstance(step, LoadImageFromFile):
            options = (step.to_float32, step.color_type, step.imdecode_backend)
            return LoadImageFromFile(*options)
    return LoadImageFromFile()


def small_grey(image: np.ndarray) -> np.ndarray:
    """Reduce (H, W, 3) uint8 BGR to (32, 32) uint8 grey.

    The picture is blurred in between, so that the grid of pixels it came in, which
    another size changes, does not show.
    """
    image = cv2.resize(image, (4 * SIDE, 4 * SIDE), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    grey = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 2)
    grey = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.rint(grey).astype(np.uint8)


def channel_sums(image: np.ndarray) -> np.ndarray:
    """Return the sums of values and squares per channel, (2, C) float64."""
    means, deviations = cv2.meanStdDev(image)
    squares = deviations**2 + means**2
    return np.stack([means[:, 0], squares[:, 0]]) * (image.shape[0] * image.shape[1])


def look_at_item(part: TorchvisionDataset, index: int) -> PairFacts:
    """Look at an item whose files torchvision opens."""
    name = f'{part.name}[{index}]'
    facts = PairFacts(name, name)
    try:
        image, label = part.images_of(index)
        pixels = np.asarray(image)
        channels = pixels.shape[2] if pixels.ndim == 3 else 1
        facts.kind, facts.size = f'{pixels.dtype} x {channels}', pixels.shape[:2]
        raw = raw_label(label, name)
    except Exception as error:
        facts.errors['image'] = with_name(error, name)
    else:
        count_label(part, raw, name, facts)
    return facts


def count_label(part: Part, raw: RawLabel, name: str, facts: PairFacts) -> None:
    """Count a label's values and its classes."""
    values = count_values(raw.values)
    kept = sorted(values, key=values.get, reverse=True)[:KEPT]
    facts.values = {value: values[value] for value in sorted(kept, key=str)}
    try:
        train = part.label_map.encode(raw, name)
    except ValueError as error:
        facts.unknown = unknown_values(facts.values, part.label_map)
        facts.errors['ids' if facts.unknown else 'label'] = str(error)
        return
    counts = count_values(train)
    facts.ignored = counts.pop(part.ignore_index, 0)
    classes = part.metainfo['classes']
    facts.pixels = {classes[train_id]: n for train_id, n in counts.items()}


def unknown_values(values: dict[Value, int], label_map: LabelMap) -> dict[Value, int]:
    """Return the values that are neither in the label map nor colours of classes."""
    known = label_map.ids.keys() | label_map.colours.keys()
    known |= {(k, k, k) for k in label_map.ids}  # a colour image of ids
    return {value: n for value, n in values.items() if value not in known}


def compare_grids(raw: RawLabel, facts: PairFacts) -> None:
    """Note a label that differs from its image in size, or that EXIF turns."""
    shape = raw.values.shape[:2]
    if facts.size is None or (shape == facts.size and facts.orientation == 1):
        return
    results = dict(img_path=facts.image, seg_map_path=facts.label, ori_shape=facts.size)
    try:
        check_same_grid(shape, dict(results, orientation=facts.orientation))
    except ValueError as error:
        facts.errors['grid'] = str(error)
