"""The first lines of a run: what is about to happen, and where the results go."""

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel
from mmengine.runner import EpochBasedTrainLoop as EpochBasedTrainLoopOfMMEngine
from torch.utils.data import DataLoader

from mmseg_fastscnn.engine.loops import EpochBasedTrainLoop
from mmseg_fastscnn.machine import describe_device
from mmseg_fastscnn.models.segmentor import unwrapped


class RunHeaderHook(Hook):
    """Log data, batch, schedule, device and folders of a run."""

    priority = 'VERY_HIGH'  # after the start-up check, before other lines of the log

    def before_train(self, runner) -> None:
        loader = runner.train_dataloader
        lr = next(iter(runner.optim_wrapper.get_lr().values()))[0]
        lines = {
            'data': describe_data(loader, 'training'),
            'batch': f'{loader.batch_size} images x {get_world_size()} processes, '
            f'{loader.num_workers} workers each',
            'schedule': f'{describe_length(runner)}, lr {lr:g} now, '
            f'{type(runner.optim_wrapper).__name__}',
        }
        if runner.iter >= runner.max_iters:
            lines['note'] = 'there is nothing left to train'
        if runner.val_loop is not None:
            unit = 'epochs' if counts_epochs(runner) else 'iterations'
            lines['validation'] = (
                f'{describe_data(runner.val_dataloader, "validation")}, every '
                f'{runner.val_interval} {unit}'
            )
        log_lines(runner, lines)

    def before_test(self, runner) -> None:
        views = ', ms+flip' if isinstance(runner.model, BaseTTAModel) else ''
        data = describe_data(runner.test_dataloader, 'test')
        log_lines(runner, {'data': data + views})


def counts_epochs(runner) -> bool:
    """Return whether a run's length is given in epochs."""
    return isinstance(
        runner.train_loop, EpochBasedTrainLoop | EpochBasedTrainLoopOfMMEngine
    )


def describe_length(runner) -> str:
    """Say how long a run is, and where it begins."""
    if counts_epochs(runner):
        length = f'{runner.max_epochs} epochs of {len(runner.train_dataloader)}'
        return f'{length} iterations from epoch {runner.epoch}'
    return f'{runner.max_iters} iterations from {runner.iter}'


def describe_data(loader: DataLoader, purpose: str) -> str:
    """Say how many images and classes there are, and of which data set."""
    dataset = loader.dataset
    classes = len(dataset.metainfo['classes'])
    kind = type(dataset).__name__
    return f'{len(dataset)} {purpose} images of {kind}, {classes} classes'


def log_lines(runner, lines: dict[str, str]) -> None:
    """Log these lines between the config and what follows from runner and model."""
    model = unwrapped(runner.model)
    count = sum(p.numel() for p in model.parameters())
    lines = {
        'config': runner.cfg.filename,
        **lines,
        'device': describe_device(),
        'model': f'{type(model).__name__}, {count / 1e6:.2f} M parameters',
        'results': runner.work_dir,
        'log': runner.logger.log_file,
    }
    text = '\n'.join(f'  {key:<11}{value}' for key, value in lines.items())
    runner.logger.info('\n%s', text)
