"""Data sets, and the steps of their pipelines.

A data set (`seg_dataset.py`) gives a `results` dict to its pipeline, a list of steps:
`LoadImageFromFile` and `LoadAnnotations` (`loading.py`), `RandomCrop`
(`random_crop.py`), flip and colours (`transforms.py`), `PackSegInputs`
or `ToImageAndLabel` (`formatting.py`), rarer ones
(`geometry.py`, `cut_out.py`, `albu.py`) and those of mmcv
(`RandomResize`, `RandomApply`, ...). Each changes the dict: `img`
(H, W, C), uint8 BGR by default; `gt_seg_map` (H, W) uint8 train ids; and facts about
them (`img_shape`, `ori_shape`, ..., all (h, w)).
"""

from . import counterparts  # noqa: F401, fills the registry's table
from .albu import Albu
from .cityscapes import CityscapesDataset
from .cut_out import RandomCutOut
from .doctor.survey import sample_facts
from .formatting import PackSegInputs, ToImageAndLabel
from .geometry import Pad, RandomRotate, Resize
from .known import (
    ADE20KDataset,
    BDD100KDataset,
    CamVidDataset,
    DarkZurichDataset,
    KITTIDataset,
    MapillaryDataset_v1,
    MapillaryDataset_v2,
    NightDrivingDataset,
    PascalVOCDataset,
)
from .loading import LoadAnnotations, LoadImageFromFile
from .random_crop import LoadRandomCrop, RandomCrop
from .sampler import DefaultSampler, InfiniteSampler
from .seg_dataset import SegDataset
from .test_pipeline import TestTimeAug
from .torchvision_dataset import TorchvisionDataset
from .transforms import PhotoMetricDistortion, RandomFlip, RandomGrayscale

BaseSegDataset = SegDataset  # mmsegmentation's name, which users' data sets derive from

__all__ = [
    'ADE20KDataset',
    'Albu',
    'BDD100KDataset',
    'BaseSegDataset',
    'CamVidDataset',
    'CityscapesDataset',
    'DarkZurichDataset',
    'DefaultSampler',
    'InfiniteSampler',
    'KITTIDataset',
    'LoadAnnotations',
    'LoadImageFromFile',
    'LoadRandomCrop',
    'MapillaryDataset_v1',
    'MapillaryDataset_v2',
    'NightDrivingDataset',
    'PackSegInputs',
    'Pad',
    'PascalVOCDataset',
    'PhotoMetricDistortion',
    'RandomCrop',
    'RandomCutOut',
    'RandomFlip',
    'RandomGrayscale',
    'RandomRotate',
    'Resize',
    'SegDataset',
    'TestTimeAug',
    'ToImageAndLabel',
    'TorchvisionDataset',
    'sample_facts',
]
