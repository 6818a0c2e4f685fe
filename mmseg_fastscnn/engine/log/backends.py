"""Backends of the log that need a package of their own: TensorBoard, W&B, MLflow."""

import os
import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

from mmengine.visualization import MLflowVisBackend as MLflowVisBackendOfMMEngine
from mmengine.visualization import WandbVisBackend as WandbVisBackendOfMMEngine

from mmseg_fastscnn.registry import VISBACKENDS

# type in `vis_backends`: package, which is also the name of our extra
NEEDED = {
    'TensorboardVisBackend': 'tensorboard',
    'WandbVisBackend': 'wandb',
    'MLflowVisBackend': 'mlflow',
}
LOCAL = 'LocalVisBackend'


def complete_backends(backends: Iterable[Mapping] | Mapping | None) -> list[Mapping]:
    """Return the backends of a config, and the one that writes `scalars.json`.

    A run always has the latter, since its report is made from it.

    Raises:
        ImportError: A package is missing.
    """
    backends = [backends] if isinstance(backends, Mapping) else list(backends or ())
    kinds = [str(backend.get('type')).split('.')[-1] for backend in backends]
    for kind in kinds:
        package = NEEDED.get(kind)
        # a folder of that name, as W&B makes, looks like a package without an origin
        if package and getattr(find_spec(package), 'origin', None) is None:
            raise ImportError(
                f'vis_backends has {kind}, which needs {package}: '
                f"pip install '.[{package}]' (or pip install {package}), or remove it "
                f'from vis_backends.'
            )
    return backends if LOCAL in kinds else [dict(type=LOCAL), *backends]


@VISBACKENDS.register_module()
class WandbVisBackend(WandbVisBackendOfMMEngine):
    """mmengine's WandbVisBackend, which also logs the step as the x axis of all charts.

    W&B itself counts calls, so that iteration 400 would be its step 9 or so.
    """

    def _init_env(self) -> None:
        super()._init_env()
        self._wandb.define_metric('step')
        self._wandb.define_metric('*', step_metric='step')

    def add_scalar(self, name: str, value: float, step: int = 0, **kwargs) -> None:
        self.add_scalars({name: value}, step)

    def add_scalars(
        self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs
    ) -> None:
        super().add_scalars(dict(scalar_dict, step=step))


@VISBACKENDS.register_module()
class MLflowVisBackend(MLflowVisBackendOfMMEngine):
    """mmengine's MLflowVisBackend for today's MLflow, and for any name of a class.

    Without `tracking_uri` and without MLFLOW_TRACKING_URI, runs are kept in
    `mlflow.db` in the folder of the log: current MLflow refuses plain folders.
    """

    def _init_env(self) -> None:
        import mlflow

        self._mlflow = mlflow
        folder = Path(self._save_dir).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        uri = self._tracking_uri or os.environ.get('MLFLOW_TRACKING_URI')
        mlflow.set_tracking_uri(uri or f'sqlite:///{folder / "mlflow.db"}')
        name = self._exp_name or 'mmseg_fastscnn'
        if mlflow.get_experiment_by_name(name) is None:
            place = self._artifact_location or (None if uri else str(folder / 'mlflow'))
            mlflow.create_experiment(name, artifact_location=place)
        mlflow.set_experiment(name)
        mlflow.start_run(run_name=self._run_name, tags=self._tags)
        mlflow.log_params(self._params or {})

    def add_scalar(self, name: str, value: float, step: int = 0, **kwargs) -> None:
        super().add_scalar(accepted(name), value, step)

    def add_scalars(
        self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs
    ) -> None:
        super().add_scalars({accepted(k): v for k, v in scalar_dict.items()}, step)

    def _flatten(self, d: dict, parent_key: str = '', sep: str = '.') -> dict:
        """Return a nested config with dotted keys; those of a label map are numbers."""
        return super()._flatten({accepted(k): v for k, v in d.items()}, parent_key, sep)


def accepted(name: object) -> str:
    """Return a name with `_` for each sign that MLflow refuses."""
    return re.sub(r'[^\w\-. /:]', '_', str(name))
