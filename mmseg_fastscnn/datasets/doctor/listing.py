"""List the samples of a data set, also where training would stop at what is missing."""

import os

from mmseg_fastscnn.datasets.pairs import IMAGE_SUFFIXES, files_below
from mmseg_fastscnn.datasets.parts import Part
from mmseg_fastscnn.datasets.seg_dataset import SegDataset
from mmseg_fastscnn.datasets.split_file import ends_in
from mmseg_fastscnn.datasets.torchvision_dataset import TorchvisionDataset

PATHS = ('img_path', 'seg_map_path')


def sample_of(part: Part, index: int) -> dict | int:
    """Return what `facts.look_at` takes: the paths, or torchvision's index."""
    if isinstance(part, TorchvisionDataset):
        return index
    info = part.get_data_info(index)
    return {key: info[key] for key in PATHS if key in info}


def list_samples(part: Part) -> tuple[list, list[str]]:
    """Return the samples that there are, and messages about those that are missing.

    Args:
        part: A data set, not listed yet.
    """
    try:
        if isinstance(part, SegDataset):
            part.serialize_data = False  # packing the list pays only for long use
            part.full_init()
        return [sample_of(part, k) for k in range(len(part))], []
    except (FileNotFoundError, ValueError) as error:
        if type(part).load_data_list is not SegDataset.load_data_list:
            return [], [str(error)]  # a user's own way to list
    try:
        pairs, problems = part.list_pairs()
    except (FileNotFoundError, ValueError) as error:
        return [], [str(error)]
    samples = [{key: pair[key] for key in PATHS if key in pair} for pair in pairs]
    labels = (sample.get('seg_map_path', sample['img_path']) for sample in samples)
    there = [s for s, path in zip(samples, labels, strict=True) if os.path.exists(path)]
    return there, [str(problem) for problem in problems]


def stray_labels(part: Part, samples: list) -> list[str]:
    """Return the label files that are of no image.

    With a split file, those of the images that it leaves out are none of these.
    """
    folder = isinstance(part, SegDataset) and part.data_prefix.get('seg_map_path')
    if not folder or not os.path.isdir(folder) or part.ann_file:
        return []
    used = {os.path.abspath(path) for sample in samples for path in sample.values()}
    return sorted(
        path
        for name in files_below(folder)
        if ends_in(name, part.seg_map_suffix)
        and ends_in(name, *IMAGE_SUFFIXES)
        and os.path.abspath(path := os.path.join(folder, name)) not in used
    )
