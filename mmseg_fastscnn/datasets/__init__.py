"""Data sets and transforms."""

from .camvid import CamVidDataset
from .cityscapes import CityscapesDataset
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
from .seg_dataset import SegDataset
from .torchvision_dataset import TorchvisionDataset
from .transforms import PackSegInputs, PhotoMetricDistortion, RandomCrop

BaseSegDataset = SegDataset  # mmsegmentation's name, which users' data sets derive from

__all__ = [
    'ADE20KDataset',
    'BDD100KDataset',
    'BaseSegDataset',
    'CamVidDataset',
    'CityscapesDataset',
    'DarkZurichDataset',
    'KITTIDataset',
    'LoadAnnotations',
    'LoadImageFromFile',
    'LoadRandomCrop',
    'MapillaryDataset_v1',
    'MapillaryDataset_v2',
    'NightDrivingDataset',
    'PackSegInputs',
    'PascalVOCDataset',
    'PhotoMetricDistortion',
    'RandomCrop',
    'SegDataset',
    'TorchvisionDataset',
    'occurring_classes',
]
