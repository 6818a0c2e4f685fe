"""Any segmentation data set of torchvision, as one of ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import Compose
from PIL import Image

from mmseg_fastscnn.datasets.label_map import LabelMap
from mmseg_fastscnn.datasets.seg_dataset import MetaInfo, complete_metainfo
from mmseg_fastscnn.registry import DATASETS


@DATASETS.register_module()
class TorchvisionDataset:
    """Wrap `torchvision.datasets.<name>`, whose items are (PIL image, PIL label).

    Args:
        name: `VOCSegmentation`, `SBDataset`, `OxfordIIITPet`, `Cityscapes`, ...
        data_root: torchvision's `root`.
        metainfo: `classes` and, if wished, `palette`.
        label_map: raw id -> train id; by default the ids are the train ids.
        ignore_index: Train id of what is not counted (VOC's own border is 255).
        pipeline: Transforms; `LoadImageFromFile` is left out, since torchvision loads,
            and `LoadAnnotations` takes the label that it loaded.
        test_mode: Accepted for the sake of the loops; changes nothing.
        kwargs: torchvision's own arguments, `image_set='train'`, `mode=
            'segmentation'`, `target_types='segmentation'`, `target_type='semantic'`.

    Raises:
        ValueError: torchvision has no such data set, or an item is no pair of images.
    """

    METAINFO: dict = {}

    def __init__(
        self,
        name: str,
        data_root: str,
        metainfo: MetaInfo,
        label_map: Mapping | None = None,
        ignore_index: int = 255,
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
        self.metainfo = complete_metainfo(type(self), metainfo)
        classes, palette = self.metainfo['classes'], self.metainfo['palette']
        mapping = label_map or {k: k for k in range(len(classes))}
        self.label_map = LabelMap(mapping, len(classes), ignore_index, palette)
        self.test_mode = test_mode
        self.dataset = getattr(datasets, name)(data_root, **kwargs)
        self.paths = getattr(self.dataset, 'images', None)
        if self.paths is None:
            self.paths = getattr(self.dataset, '_images', None)
        self.pipeline = Compose(
            [step for step in pipeline if step['type'] != 'LoadImageFromFile']
        )

    def full_init(self) -> None:
        """Nothing is left to do; `ConcatDataset` calls it."""

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, idx: int) -> dict:
        image, label = self.dataset[idx]
        if not isinstance(label, Image.Image):
            raise ValueError(
                f'{self.name} gives a {type(label).__name__} as label, not an image. '
                f"Ask for segmentation, e.g. mode='segmentation' (SBDataset), "
                f"target_types='segmentation' (OxfordIIITPet) or "
                f"target_type='semantic' (Cityscapes)."
            )
        image = np.ascontiguousarray(np.asarray(image.convert('RGB'))[..., ::-1])
        results = dict(
            img=image,
            img_shape=image.shape[:2],
            ori_shape=image.shape[:2],
            loaded_seg_map=self.label_map.encode(label, f'{self.name}[{idx}]'),
            rel_path=f'{idx:06d}.png',
            raw_ids=self.label_map.raw_ids,
            sample_idx=idx,
        )
        if self.paths is not None:
            results['img_path'] = str(self.paths[idx])
            results['rel_path'] = Path(self.paths[idx]).name
        return self.pipeline(results)
