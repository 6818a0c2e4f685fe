"""Backends of the log that need a package of their own: TensorBoard, W&B, MLflow."""

from collections.abc import Iterable, Mapping
from importlib.util import find_spec

# type in `vis_backends`: package, which is also the name of our extra
NEEDED = {
    'TensorboardVisBackend': 'tensorboard',
    'WandbVisBackend': 'wandb',
    'MLflowVisBackend': 'mlflow',
}


def check_backends(backends: Iterable[Mapping]) -> None:
    """Check that what the log is to be written with is installed, before any work.

    Raises:
        ImportError: A package is missing.
    """
    for backend in backends:
        kind = str(backend.get('type')).split('.')[-1]
        package = NEEDED.get(kind)
        if package is not None and find_spec(package) is None:
            raise ImportError(
                f'vis_backends has {kind}, which needs {package}: '
                f"pip install '.[{package}]' (or pip install {package}), or remove it "
                f'from vis_backends.'
            )
