"""Use a model from Python: by mmsegmentation's functions, or as a plain module."""

from .fast_scnn import FastSCNN, Segmentation
from .inference import (
    config_in,
    embedded_config,
    inference_model,
    init_model,
    load_model,
    loaded_dtypes,
    show_result_pyplot,
    test_data_of,
)
from .inferencer import MMSegInferencer

__all__ = [
    'FastSCNN',
    'MMSegInferencer',
    'Segmentation',
    'config_in',
    'embedded_config',
    'inference_model',
    'init_model',
    'load_model',
    'loaded_dtypes',
    'show_result_pyplot',
    'test_data_of',
]
