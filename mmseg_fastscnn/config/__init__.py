"""Config files: read, checked, translated from mmsegmentation 0.x."""

from .load import all_datasets, load_config, use_tta

__all__ = ['all_datasets', 'load_config', 'use_tta']
