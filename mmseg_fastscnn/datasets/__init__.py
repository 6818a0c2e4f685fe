"""Data sets and transforms."""

from . import counterparts  # noqa: F401, fills the registry's table
from .albu import Albu
from .camvid import CamVidDataset
from .cityscapes import CityscapesDataset
from .colour import PhotoMetricDistortion, RandomGrayscale
from .cut_out import RandomCutOut
from .geometry import Pad, RandomFlip, RandomRotate, Resize
from .inspect_labels import occurring_classes
from .known import (
    ADE20KDataset,
    BDD100KDataset,
    DarkZurichDataset,
    KITTIDataset,
    MapillaryDataset_v1,
    MapillaryDataset_v2,
    NightDrivingDataset,
    PascalVOCDataset,
)
from .loading import LoadAnnotations, LoadImageFromFile
from .random_crop import LoadRandomCrop
from .sampler import InfiniteSampler
from .seg_dataset import SegDataset
from .test_pipeline import TestTimeAug
from .torchvision_dataset import TorchvisionDataset
from .transforms import PackSegInputs, RandomCrop

BaseSegDataset = SegDataset  # mmsegmentation's name, which users' data sets derive from

__all__ = [
    'ADE20KDataset',
    'Albu',
    'BDD100KDataset',
    'BaseSegDataset',
    'CamVidDataset',
    'CityscapesDataset',
    'DarkZurichDataset',
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
    'TorchvisionDataset',
    'occurring_classes',
]
