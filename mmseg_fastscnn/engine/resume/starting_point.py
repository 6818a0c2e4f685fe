"""What a run takes from the checkpoint that it starts from."""

from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook
from torch import Tensor

from mmseg_fastscnn.checkpoint import read_checkpoint
from mmseg_fastscnn.checkpoint.load import fitted_to_task
from mmseg_fastscnn.engine.resume.check import check_state
from mmseg_fastscnn.engine.resume.parts import resumable
from mmseg_fastscnn.engine.resume.work_dir import checkpoint_to_resume, folder_in
from mmseg_fastscnn.models.other_width import fit_width
from mmseg_fastscnn.models.segmentor import unwrapped
from mmseg_fastscnn.registry import HOOKS


def set_starting_point(config: Config) -> None:
    """Set the checkpoint that a run goes on from, and the seed of the run before.

    The order of images and the seeds of workers follow from the seed, so it must be
    known before the parts of the run are built.
    """
    if not config.get('load_from'):
        last = checkpoint_to_resume(config)
        # a string, since the config is also written to a file
        config.load_from = last and str(last)
    if config.load_from:
        seed = read_checkpoint(config.load_from)['meta'].get('seed')
        if seed is not None:
            config.randomness = {**config.get('randomness', {}), 'seed': seed}


def starting_point(runner, filename: str) -> dict:
    """Read the checkpoint that a run starts from.

    Returns:
        The whole state of the earlier run, if this one goes on with it. If it trains
        anew, the weights are fitted to its task; if it only tests, they are as they
        are.

    Raises:
        ValueError: The file is damaged, or its state does not fit the run.
    """
    checkpoint = read_checkpoint(filename, runner.weights)
    if runner.resumes:
        return state_to_resume(runner, checkpoint, filename)
    if runner.trains:
        checkpoint['state_dict'] = fitted_to_run(runner, checkpoint, filename)
    return checkpoint


def state_to_resume(runner, checkpoint: dict, filename: str) -> dict:
    """Return the state that a run goes on from, checked against its parts."""
    checkpoint = without_averages(runner, checkpoint, filename)
    model, schedulers = unwrapped(runner.model), runner.param_schedulers or ()
    folder = folder_in(runner.cfg)
    state = resumable(checkpoint, filename, folder, schedulers, model)
    check_state(state, filename, model, runner.optim_wrapper, schedulers)
    before = state['meta'].get('images_per_step')
    if before not in (None, runner.images_per_step):
        runner.logger.warning(
            'The run before had %s images per step, this one has %d; the '
            'learning rate goes on as it was.',
            before,
            runner.images_per_step,
        )
    return state


def without_averages(runner, checkpoint: dict, filename: str) -> dict:
    """Return a checkpoint with its trained weights, where a run averages none."""
    averages = any(averages_weights(hook) for hook in runner.hooks)
    if averages or 'ema_state_dict' not in checkpoint:
        return checkpoint
    runner.logger.warning(
        'The run before averaged its weights (EMAHook), this one does not: it goes '
        'on from the trained weights, and the averaged ones are dropped.'
    )
    result = read_checkpoint(filename, 'raw')
    del result['ema_state_dict']
    return result


def averages_weights(hook: Hook | dict) -> bool:
    """Return whether a hook, or its config, is an `EMAHook` or derived from it."""
    kind = hook.get('type') if isinstance(hook, dict) else type(hook)
    kind = HOOKS.get(kind) if isinstance(kind, str) else kind
    return isinstance(kind, type) and issubclass(kind, EMAHook)


def fitted_to_run(runner, checkpoint: dict, filename: str) -> dict[str, Tensor]:
    """Fit a checkpoint's width, classifiers and first convolution to the model."""
    model = unwrapped(runner.model)
    checkpoint['state_dict'], done = fit_width(model, checkpoint['state_dict'])
    if done is not None:
        runner.logger.warning('%s: %s.', filename, done)
    classes, settings = runner.train_dataloader.dataset.metainfo['classes'], runner.cfg
    known = settings.get('checkpoint_classes'), settings.get('class_aliases')
    state_dict, done = fitted_to_task(model, checkpoint, classes, *known)
    if done:
        runner.logger.info(done)
    return state_dict
