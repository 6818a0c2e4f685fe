"""Data sets and transforms."""

from .albu import Albu
from .camvid import CamVidDataset
from .cityscapes import CityscapesDataset
from .colour import PhotoMetricDistortion, RandomGrayscale
from .cut_out import RandomCutOut
from .geometry import Pad, RandomFlip, RandomRotate, Resize
from .random_crop import LoadRandomCrop
from .sampler import InfiniteSampler
from .seg_dataset import SegDataset
from .test_pipeline import TestTimeAug
from .torchvision_dataset import TorchvisionDataset
from .transforms import LoadAnnotations, LoadImageFromFile, PackSegInputs, RandomCrop

__all__ = [
    'Albu',
    'CamVidDataset',
    'CityscapesDataset',
    'InfiniteSampler',
    'LoadAnnotations',
    'LoadImageFromFile',
    'LoadRandomCrop',
    'PackSegInputs',
    'Pad',
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
]
