"""Use a trained model from Python, as in mmsegmentation."""

from .inference import (
    config_in,
    embedded_config,
    inference_model,
    init_model,
    loaded_dtypes,
    show_result_pyplot,
    test_data_of,
)
from .inferencer import MMSegInferencer

__all__ = [
    'MMSegInferencer',
    'config_in',
    'embedded_config',
    'inference_model',
    'init_model',
    'loaded_dtypes',
    'show_result_pyplot',
    'test_data_of',
]
