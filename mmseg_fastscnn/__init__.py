"""Fast-SCNN (arXiv 1902.04502): train, evaluate and fine-tune from a config file."""

__version__ = '0.1.0'
