"""Translate configs of mmsegmentation 0.x to 1.x: model, schedule and runtime.

Each key that has a counterpart is taken out of the 0.x config. What is left over in the
end has none, and is named. `from_0x_data.py` translates the data.
"""

from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config

from mmseg_fastscnn.config.from_0x_data import translate_data
from mmseg_fastscnn.config.source import base_files, names_in

# Usual variables of 0.x configs. Their values have gone into other keys; a config that
# was written joined with its bases still has them.
VARIABLES = {
    *('norm_cfg', 'dataset_type', 'data_root', 'img_norm_cfg', 'crop_size'),
    *('train_pipeline', 'test_pipeline', 'img_scale'),
}
KEPT = {'model', 'load_from', 'log_level', 'work_dir'}


def is_0x(config: Config) -> bool:
    data = config.get('data')
    return isinstance(data, Mapping) and 'samples_per_gpu' in data


def translate_0x(old: Config) -> tuple[Config, list[str]]:
    """Translate a config.

    Returns:
        The same run as a 1.x config, and one line per key that has no counterpart.

    Raises:
        ValueError: A key that every 0.x config has is missing, or says something that
            has no translation.
    """
    left = old.to_dict()
    variables = variables_of(Path(old.filename)) if old.filename else set()
    for name in VARIABLES | variables:
        left.pop(name, None)
    notes: list[str] = []
    try:
        new = translate(left, notes)
    except KeyError as error:
        raise ValueError(
            f'{old.filename or "This"} is a config of mmsegmentation 0.x '
            f'(data.samples_per_gpu), but has no {error}; it cannot be translated.'
        ) from error
    notes += [f'{key} = {value!r}' for key, value in left.items()]
    return Config(new, filename=old.filename), notes


def translate(left: dict, notes: list[str]) -> dict:
    """Translate a config, and take out of it what is translated.

    Args:
        left: The 0.x config; what has no counterpart stays in it.
        notes: Gets one line per key inside of others that has no counterpart.
    """
    new = {key: left.pop(key) for key in KEPT if key in left}
    new['default_scope'] = 'mmseg_fastscnn'
    new |= translate_data(left.pop('data'), new['model'], notes)
    new |= translate_schedule(left, notes)
    new |= translate_runtime(left, new['default_hooks'], notes)
    pretrained = new['model'].pop('pretrained', None)
    if pretrained:
        init = dict(type='Pretrained', checkpoint=pretrained)
        new['model'].setdefault('backbone', {})['init_cfg'] = init
    return new


def variables_of(file: Path) -> set[str]:
    """Return the names that a config file, or one of its bases, reads itself."""
    if file.suffix != '.py':
        return set()
    _, read, of_base = names_in(file)
    return (read | of_base).union(*map(variables_of, base_files(file)))


def translate_schedule(left: dict, notes: list[str]) -> dict:
    """Translate optimizer, learning rate, length, validation and checkpoints."""
    iterations = length_in_iterations(left)
    evaluation = left.pop('evaluation', None) or {}
    interval = evaluation.pop('interval', iterations)
    metrics = evaluation.pop('metric', 'mIoU')
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    evaluator = dict(type='IoUMetric', iou_metrics=metrics)
    note_what_is_left('evaluation', evaluation, notes)
    return dict(
        optim_wrapper=translate_optimizer(left),
        default_hooks=dict(checkpoint=translate_saving(left, interval, notes)),
        param_scheduler=translate_lr(left.pop('lr_config'), iterations, notes),
        train_cfg=dict(
            type='IterBasedTrainLoop', max_iters=iterations, val_interval=interval
        ),
        val_cfg=dict(type='ValLoop'),
        test_cfg=dict(type='TestLoop'),
        val_evaluator=evaluator,
        test_evaluator=evaluator,
    )


def length_in_iterations(left: dict) -> int:
    """Take the length of the run out of a config.

    Raises:
        ValueError: It is not given in iterations.
    """
    runner = left.pop('runner', None) or dict(max_iters=left.pop('total_iters', 0))
    iterations = runner.get('max_iters')
    if not iterations:
        raise ValueError(
            f'runner = {runner!r}: only runs counted in iterations (IterBasedRunner, '
            f'max_iters) are translated; say the length in iterations.'
        )
    return iterations


def translate_optimizer(left: dict) -> dict:
    """Translate `optimizer` and `optimizer_config` to an `optim_wrapper`."""
    optimizer = left.pop('optimizer')
    paramwise = optimizer.pop('paramwise_cfg', None)
    wrapper = dict(type='OptimWrapper', optimizer=optimizer)
    if paramwise:
        wrapper['paramwise_cfg'] = paramwise
    clip = (left.pop('optimizer_config', None) or {}).pop('grad_clip', None)
    if clip:
        wrapper['clip_grad'] = clip
    return wrapper


def translate_saving(left: dict, interval: int, notes: list[str]) -> dict:
    """Translate `checkpoint_config`; by default a file is written per validation."""
    checkpoint = left.pop('checkpoint_config', None) or {}
    saving = dict(
        type='CheckpointHook',
        by_epoch=False,
        interval=checkpoint.pop('interval', interval),
        max_keep_ckpts=checkpoint.pop('max_keep_ckpts', 3),
        save_best='mIoU',
    )
    note_what_is_left('checkpoint_config', checkpoint, notes)
    return saving


def note_what_is_left(name: str, settings: Mapping, notes: list[str]) -> None:
    """Add a note for each key that has no counterpart, except what 1.x always does."""
    always = ('by_epoch', 'pre_eval', 'efficient_test')
    notes += [f'{name}.{k} = {v!r}' for k, v in settings.items() if k not in always]


def translate_lr(config: dict, iterations: int, notes: list[str]) -> list[dict]:
    """Translate `lr_config`: poly, with or without a warm-up before it."""
    policy = config.pop('policy')
    if policy != 'poly':
        raise ValueError(f'lr_config.policy = {policy!r}: only poly is translated.')
    result, warmup_end = [], 0
    if config.pop('warmup', None):
        warmup_end = config.pop('warmup_iters')
        linear = dict(type='LinearLR', start_factor=config.pop('warmup_ratio'))
        result.append(dict(linear, begin=0, end=warmup_end, by_epoch=False))
    power, least = config.pop('power', 1.0), config.pop('min_lr', 0.0)
    poly = dict(type='PolyLR', power=power, eta_min=least)
    result.append(dict(poly, begin=warmup_end, end=iterations, by_epoch=False))
    config.pop('by_epoch', None)
    notes += [f'lr_config.{key} = {value!r}' for key, value in config.items()]
    return result


def translate_runtime(left: dict, hooks: dict, notes: list[str]) -> dict:
    """Translate logging and environment; add the logger to `hooks`."""
    log = left.pop('log_config', None) or {}
    backends = [dict(type='LocalVisBackend')]
    for hook in log.pop('hooks', []):
        if hook['type'] == 'TensorboardLoggerHook':
            backends.append(dict(type='TensorboardVisBackend'))
        elif hook['type'] != 'TextLoggerHook':
            notes.append(f'log_config.hooks: {hook!r}')
    interval = log.pop('interval', 50)
    hooks['logger'] = dict(
        type='LoggerHook', interval=interval, log_metric_by_epoch=False
    )
    notes += [f'log_config.{key} = {value!r}' for key, value in log.items()]
    if left.get('workflow') in ([('train', 1)], [['train', 1]]):
        left.pop('workflow')
    result = dict(
        env_cfg=dict(
            cudnn_benchmark=left.pop('cudnn_benchmark', False),
            mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
            dist_cfg=left.pop('dist_params', None) or dict(backend='nccl'),
        ),
        log_processor=dict(by_epoch=False),
        visualizer=dict(
            type='SegLocalVisualizer', name='visualizer', vis_backends=backends
        ),
    )
    resume = left.pop('resume_from', None)
    if resume:
        result |= dict(load_from=resume, resume=True)
    return result
