"""Use a model from Python: by mmsegmentation's functions, or as a plain module."""

from .fast_scnn import FastSCNN
from .inference import inference_model, loaded_dtypes, show_result_pyplot
from .inferencer import MMSegInferencer
from .loading import config_in, embedded_config, init_model, load_model, test_data_of
from .segmentation import Segmentation

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
