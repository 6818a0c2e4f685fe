"""Data sets and transforms."""

from .camvid import CamVidDataset
from .cityscapes import CityscapesDataset
from .random_crop import LoadRandomCrop
from .sampler import InfiniteSampler
from .seg_dataset import SegDataset
from .torchvision_dataset import TorchvisionDataset
from .transforms import (
    LoadAnnotations,
    LoadImageFromFile,
    PackSegInputs,
    PhotoMetricDistortion,
    RandomCrop,
)

__all__ = [
    'CamVidDataset',
    'CityscapesDataset',
    'InfiniteSampler',
    'LoadAnnotations',
    'LoadImageFromFile',
    'LoadRandomCrop',
    'PackSegInputs',
    'PhotoMetricDistortion',
    'RandomCrop',
    'SegDataset',
    'TorchvisionDataset',
]
