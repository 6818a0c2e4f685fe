"""Checkpoint files of any origin: reading, loading into a model, writing."""

from .files import read_checkpoint, write_weights
from .load import LoadReport, load_weights

__all__ = ['LoadReport', 'load_weights', 'read_checkpoint', 'write_weights']
