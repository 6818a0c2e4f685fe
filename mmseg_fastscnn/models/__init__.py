"""Network, losses and inference."""

from .data_preprocessor import SegDataPreProcessor
from .decode_heads import DepthwiseSeparableFCNHead, FCNHead
from .fast_scnn import FastSCNN
from .losses import CrossEntropyLoss, OhemCrossEntropy
from .segmentor import EncoderDecoder
from .test_time_aug import SegTTAModel

__all__ = [
    'CrossEntropyLoss',
    'DepthwiseSeparableFCNHead',
    'EncoderDecoder',
    'FCNHead',
    'FastSCNN',
    'OhemCrossEntropy',
    'SegDataPreProcessor',
    'SegTTAModel',
]
