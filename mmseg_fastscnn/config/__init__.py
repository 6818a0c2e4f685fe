"""Config files: read, checked, and translated from mmsegmentation 0.x."""

from .load import (
    all_datasets,
    change_test_pipelines,
    file_datasets,
    load_config,
    require,
    use_tta,
)

__all__ = [
    'all_datasets',
    'change_test_pipelines',
    'file_datasets',
    'load_config',
    'require',
    'use_tta',
]
