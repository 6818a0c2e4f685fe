"""Checkpoint files of any origin, and what a model takes from them."""

from .files import read_checkpoint, write_weights
from .load import LoadReport, load_weights

__all__ = ['LoadReport', 'load_weights', 'read_checkpoint', 'write_weights']
