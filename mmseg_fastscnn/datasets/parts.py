"""The data sets inside of mmengine's wrappers, their steps, and what they list."""

from collections.abc import Callable, Iterator

from torch.utils.data import Dataset

from mmseg_fastscnn.datasets.seg_dataset import SegDataset
from mmseg_fastscnn.datasets.torchvision_dataset import TorchvisionDataset

Part = SegDataset | TorchvisionDataset


def parts_of(dataset: Dataset) -> Iterator[Dataset]:
    """Yield the data sets of files inside mmengine's wrappers, each of them once."""
    if isinstance(dataset, Part):
        yield dataset
    elif hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from parts_of(part)
    elif hasattr(dataset, 'dataset'):
        yield from parts_of(dataset.dataset)
    else:
        yield dataset


def steps_of(dataset: Dataset) -> list[Callable]:
    """Return the steps of a data set's pipeline; a user's own may have none."""
    return getattr(getattr(dataset, 'pipeline', None), 'transforms', [])


def infos_of(dataset: Dataset) -> Iterator[dict]:
    """Yield what is known of each image before it is read, such as `img_path`.

    Data sets that do not know it in advance (torchvision's) are left out.
    """
    for part in parts_of(dataset):
        if hasattr(part, 'get_data_info'):
            yield from (part.get_data_info(k) for k in range(len(part)))
