"""Network, losses and inference."""

from .data_preprocessor import SegDataPreProcessor
from .decode_heads import DepthwiseSeparableFCNHead, FCNHead
from .distillation import DistillationLoss
from .fast_scnn import FastSCNN
from .focal_loss import FocalLoss
from .losses import CrossEntropyLoss
from .lovasz_loss import LovaszLoss
from .ohem import OhemCrossEntropy, OHEMPixelSampler
from .region_losses import DiceLoss, TverskyLoss
from .segmentor import EncoderDecoder
from .test_time_aug import SegTTAModel

__all__ = [
    'CrossEntropyLoss',
    'DepthwiseSeparableFCNHead',
    'DiceLoss',
    'DistillationLoss',
    'EncoderDecoder',
    'FCNHead',
    'FastSCNN',
    'FocalLoss',
    'LovaszLoss',
    'OHEMPixelSampler',
    'OhemCrossEntropy',
    'SegDataPreProcessor',
    'SegTTAModel',
    'TverskyLoss',
]
