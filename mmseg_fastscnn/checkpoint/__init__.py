"""Checkpoint files of any origin: reading, loading into a model, writing."""

from .files import read_checkpoint, write_weights
from .load import LoadReport, leave_out_absent_heads, load_weights

__all__ = [
    'LoadReport',
    'leave_out_absent_heads',
    'load_weights',
    'read_checkpoint',
    'write_weights',
]
