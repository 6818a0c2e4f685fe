"""Read what annotation tools write: from a folder to images, labels and classes.

Each reader is a function from a `Folder` to what it `Found` there, or None if the
folder is of another kind. `READERS` lists them, the surest kind first: JSON says by its
content what it is, label images only by the names of folders and files (`places.py`).
Shapes (`shapes.py`) are drawn once, as label PNGs in a folder of ours
(`own_labels.py`). Where nothing divides images into training and validation,
`folder_split.py` does.
"""

from collections import Counter

from mmseg_fastscnn.datasets.annotations.coco import read_coco
from mmseg_fastscnn.datasets.annotations.folder_split import give_splits
from mmseg_fastscnn.datasets.annotations.found import Folder, Found
from mmseg_fastscnn.datasets.annotations.label_images import (
    read_label_images,
    unpaired,
)
from mmseg_fastscnn.datasets.annotations.labelme import read_labelme
from mmseg_fastscnn.datasets.annotations.yolo import read_yolo
from mmseg_fastscnn.datasets.label_errors import shorten

READERS = (read_labelme, read_coco, read_yolo, read_label_images)
EXPECTED = """What is read (SPLIT: train, val, test, or no such folder):
  LabelMe      a JSON file per image, beside it or in a folder of its own
  COCO         a JSON file with images, annotations and categories
  YOLO         images/SPLIT, labels/SPLIT with a text file per image; data.yaml, or
               classes.txt with one name per line
  label images of the images' names in images/SPLIT and labels/SPLIT (also masks,
               annotations, SegmentationClass, ...), SPLIT and SPLITannot, SPLIT/images
               and SPLIT/masks, or NAME.jpg and NAME_mask.png in one folder"""


def read_folder(root: str) -> Found:
    """Find images and annotations in a folder, and which are for training.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: There are no annotations of a known kind, or a list of classes is
            damaged.
    """
    folder = Folder(root)
    found = next(filter(None, (reader(folder) for reader in READERS)), None)
    if found is None:
        raise ValueError(f'{root} holds {unpaired(folder)}\n{EXPECTED}')
    found.problems += [
        f'{folder.root / name}: no JSON that can be read ({content}).'
        for name, content in folder.json_files.items()
        if isinstance(content, Exception)
    ]
    counts = Counter(pair.image for pair in found.pairs)
    found.problems += [
        f'{folder.root / image} is annotated in {count} files; keep one of them.'
        for image, count in counts.items()
        if count > 1
    ]
    if not isinstance(found.pairs and found.pairs[0].label, str):
        without = [name for name in folder.images if name not in counts]
        if without:
            found.left_out.append(
                f'{len(without)} images have no annotation that can be used: '
                f'{shorten(without)}.'
            )
    give_splits(folder, found)
    return found
