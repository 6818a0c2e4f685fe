"""Any segmentation data set of torchvision, for the pipelines of this package."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import Compose
from PIL import Image

from mmseg_fastscnn.datasets.join_steps import build_steps
from mmseg_fastscnn.datasets.label_file import raw_label
from mmseg_fastscnn.datasets.loading import LoadImageFromFile
from mmseg_fastscnn.datasets.metainfo import MetaInfo, complete_metainfo, make_label_map
from mmseg_fastscnn.registry import DATASETS
from mmseg_fastscnn.structures import IGNORED


@DATASETS.register_module()
class TorchvisionDataset:
    """Wrap `torchvision.datasets.<name>`, whose items are (PIL image, PIL label).

    Args:
        name: `VOCSegmentation`, `SBDataset`, `OxfordIIITPet`, `Cityscapes`, ...
        data_root: torchvision's `root`.
        metainfo: `classes` and, optionally, `palette`.
        label_map: raw id -> train id; by default the ids are the train ids.
        ignore_index: Train id of what is not counted (VOC's own border is 255).
        pipeline: Transforms. `LoadImageFromFile` is left out, since torchvision loads
            the image, and `LoadAnnotations` takes the label that torchvision loaded.
        test_mode: Has no effect; mmengine's loops set it.
        kwargs: Arguments of torchvision's data set, such as `image_set='train'`,
            `mode='segmentation'`, `target_types='segmentation'` or
            `target_type='semantic'`.

    Raises:
        ValueError: torchvision has no such data set, or an item is no pair of images.
    """

    METAINFO: dict = {}
    LABEL_MAP = None
    reduce_zero_label = False

    def __init__(
        self,
        name: str,
        data_root: str,
        metainfo: MetaInfo,
        label_map: Mapping | None = None,
        ignore_index: int = IGNORED,
        pipeline: Sequence = (),
        test_mode: bool = False,
        **kwargs,
    ):
        try:
            from torchvision import datasets  # only here: torchvision is optional
        except (ImportError, RuntimeError) as error:
            raise ImportError(
                f'TorchvisionDataset needs a torchvision that works with torch '
                f'{torch.__version__}; install both from one source ({error}).'
            ) from error
        if not hasattr(datasets, name):
            raise ValueError(f'torchvision.datasets has no data set named {name!r}.')
        self.name = name
        self.ignore_index = ignore_index
        self.label_map = make_label_map(self, label_map, metainfo)
        self.metainfo = complete_metainfo(type(self), metainfo)
        self.test_mode = test_mode
        self.dataset = getattr(datasets, name)(data_root, **kwargs)
        hidden = getattr(self.dataset, '_images', None)
        self.paths = getattr(self.dataset, 'images', hidden)
        steps = build_steps(pipeline, fuse=False)
        self.pipeline = Compose(
            [step for step in steps if not isinstance(step, LoadImageFromFile)]
        )

    def full_init(self) -> None:
        """Do nothing: `ConcatDataset` calls it, and all is done in `__init__`."""

    def __len__(self) -> int:
        return len(self.dataset)

    def images_of(self, idx: int) -> tuple[Image.Image, Image.Image]:
        """Return image and label of an item, as torchvision reads them."""
        image, label = self.dataset[idx]
        if not isinstance(label, Image.Image):
            raise ValueError(
                f'{self.name} gives a {type(label).__name__} as label, not an image. '
                f"Ask for segmentation, e.g. mode='segmentation' (SBDataset), "
                f"target_types='segmentation' (OxfordIIITPet) or "
                f"target_type='semantic' (Cityscapes)."
            )
        return image, label

    def __getitem__(self, idx: int) -> dict:
        image, label = self.images_of(idx)
        image = np.ascontiguousarray(np.asarray(image.convert('RGB'))[..., ::-1])
        results = dict(
            img=image,
            img_shape=image.shape[:2],
            ori_shape=image.shape[:2],
            loaded_seg_map=self.train_ids(label, idx),
            rel_path=f'{idx:06d}.png',
            raw_ids=self.label_map.raw_ids,
            sample_idx=idx,
        )
        if self.paths is not None:
            results['img_path'] = str(self.paths[idx])
            results['rel_path'] = Path(self.paths[idx]).name
        return self.pipeline(results)

    def train_ids(self, label: Image.Image, idx: int) -> np.ndarray:
        """Return (H, W) uint8 train ids of an item's label."""
        name = f'{self.name}[{idx}]'
        return self.label_map.encode(raw_label(label, name), name)

    def read_label(self, idx: int) -> np.ndarray:
        """Return (H, W) uint8 train ids of an item."""
        return self.train_ids(self.images_of(idx)[1], idx)

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the train ids in a label, for mmengine's `ClassBalancedDataset`."""
        found = np.unique(self.read_label(idx))
        return [k for k in found.tolist() if k != self.ignore_index]
