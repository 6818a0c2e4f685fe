"""One step of a training run and one validation batch, and nothing left behind."""

import copy
import tempfile

from mmengine.config import Config
from mmengine.hooks import Hook

from mmseg_fastscnn.engine.runner import SegRunner


class DryRunOver(Exception):
    """Ends the training loop, of whatever kind, after its first step."""


class DryRunHook(Hook):
    """Validate one batch after the first step, and end the run."""

    priority = 'HIGHEST'  # before anything is logged or saved

    def after_train_iter(self, runner, batch_idx: int, **kwargs) -> None:
        losses = {name: float(value) for name, value in kwargs['outputs'].items()}
        shown = ', '.join(f'{name} {value:.4f}' for name, value in losses.items())
        runner.logger.info('One step: %s.', shown)
        if runner.val_loop is not None:
            runner.model.eval()
            batch = next(iter(runner.val_dataloader))
            samples = runner.model.val_step(batch)
            runner.val_evaluator.process(data_samples=samples, data_batch=batch)
            runner.logger.info('One validation batch: %d images.', len(samples))
        raise DryRunOver


def dry_run(config: Config) -> None:
    """Start a run as it would start, take one step and validate one batch.

    The work dir is a temporary folder.
    """
    config = copy.deepcopy(config)
    with tempfile.TemporaryDirectory() as folder:
        config.work_dir = folder
        runner = SegRunner.from_cfg(config)
        runner.register_hook(DryRunHook())
        try:
            runner.train()
        except DryRunOver:
            print('Dry run: everything works up to here. Nothing was written.')
