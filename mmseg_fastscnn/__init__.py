"""Fast-SCNN (arXiv 1902.04502): train, evaluate and fine-tune from a config file."""

__version__ = '0.1.0'
__all__ = ['FastSCNN', 'Segmentation']


def __getattr__(name: str):
    """Import the library only where it is used: commands answer --help at once."""
    if name in __all__:
        from mmseg_fastscnn import apis

        return getattr(apis, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
