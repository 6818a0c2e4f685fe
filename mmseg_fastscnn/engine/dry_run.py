"""One step of a training run and one validation batch; nothing is left behind."""

import copy
import tempfile

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from mmseg_fastscnn.config import all_datasets
from mmseg_fastscnn.engine.resume.work_dir import check_work_dir
from mmseg_fastscnn.engine.runner import SegRunner


class DryRunOver(Exception):
    """Ends the training loop, of whatever kind, after its first step."""


class DryRunHook(Hook):
    """Validate one batch after the first step, then end the run."""

    priority = 'HIGHEST'  # before anything is logged or saved

    def before_train(self, runner) -> None:
        runner.train_loop.validated = runner.iter  # the step comes first

    def after_train_iter(self, runner, batch_idx: int, **kwargs) -> None:
        losses = {name: value.item() for name, value in kwargs['outputs'].items()}
        shown = ', '.join(f'{name} {value:.4f}' for name, value in losses.items())
        runner.logger.info('One step: %s.', shown)
        if runner.val_loop is not None:
            runner.model.eval()
            batch = next(iter(runner.val_dataloader))
            samples = runner.model.val_step(batch)
            runner.val_evaluator.process(data_samples=samples, data_batch=batch)
            runner.logger.info('One validation batch: %d images.', len(samples))
        raise DryRunOver


def dry_run(config: Config, overwrite: bool = False) -> None:
    """Start a run as it would start, take one step and validate one batch.

    The work dir is a temporary folder, one per process.

    Args:
        config: From `load_config`; it is not changed.
        overwrite: See `check_work_dir`.

    Raises:
        ValueError: The run would write over its own checkpoint, see `check_work_dir`,
            or there is no step left to take.
    """
    check_work_dir(config, overwrite)
    config = copy.deepcopy(config)
    for dataset in all_datasets(config):
        dataset.pop('packed', None)  # a decoded copy is written as it is read
    with tempfile.TemporaryDirectory() as folder:
        config.work_dir = folder
        runner = SegRunner.from_cfg(config)
        runner.register_hook(DryRunHook())
        try:
            runner.train()
        except DryRunOver:
            if is_main_process():
                print('Dry run: everything works up to here. Nothing was written.')
        else:
            raise ValueError(
                f'Dry run: {config.load_from} has taken all {runner.max_iters} '
                f'iterations already, so there is no step to try. Make the run longer '
                f'(train_cfg), or leave out --resume.'
            )
