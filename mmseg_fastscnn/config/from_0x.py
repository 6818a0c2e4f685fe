"""mmsegmentation 0.x configs, as 1.x ones.

Each 0.x key is taken out of the config and said again in 1.x's words; what is left over
has no counterpart, and is named.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config

from mmseg_fastscnn.config.source import base_files, names_in

# What they hold has gone into other keys, also in a config that was written resolved.
VARIABLES = {
    *('norm_cfg', 'dataset_type', 'data_root', 'img_norm_cfg', 'crop_size'),
    *('train_pipeline', 'test_pipeline', 'img_scale'),
}
KEPT = {'model', 'load_from', 'log_level', 'work_dir'}


def is_0x(config: Config) -> bool:
    data = config.get('data')
    return isinstance(data, Mapping) and 'samples_per_gpu' in data


def translate_0x(old: Config) -> tuple[Config, list[str]]:
    """Return the same run as a 1.x config, and the keys that have no counterpart."""
    rest = old.to_dict()
    for name in VARIABLES | variables(Path(old.filename)):
        rest.pop(name, None)
    new = {key: rest.pop(key) for key in KEPT if key in rest}
    notes: list[str] = []
    new['default_scope'] = 'mmseg_fastscnn'
    new |= data_part(rest.pop('data'), new['model'], notes)
    new |= schedule_part(rest, notes)
    new |= runtime_part(rest, new['default_hooks'], notes)
    pretrained = new['model'].pop('pretrained', None)
    if pretrained:
        init = dict(type='Pretrained', checkpoint=pretrained)
        new['model'].setdefault('backbone', {})['init_cfg'] = init
    notes += [f'{key} = {value!r}' for key, value in rest.items()]
    return Config(new, filename=old.filename), notes


def variables(file: Path) -> set[str]:
    """Names that a config file, or one of its bases, reads itself."""
    _, read, of_base = names_in(file)
    return (read | of_base).union(*map(variables, base_files(file)))


# --- data ----------------------------------------------------------------------------


def data_part(data: dict, model: dict, notes: list[str]) -> dict:
    batch, workers = data.pop('samples_per_gpu'), data.pop('workers_per_gpu', 2)
    result, normalise = {}, {}
    for split in ('train', 'val', 'test'):
        dataset = data.pop(split)
        sampler = dict(type='DefaultSampler', shuffle=False, round_up=False)
        if split == 'train':
            sampler = dict(type='InfiniteSampler', shuffle=True)
        result[f'{split}_dataloader'] = dict(
            batch_size=batch if split == 'train' else 1,
            num_workers=workers,
            persistent_workers=True,
            sampler=sampler,
            dataset=translate_dataset(dataset, normalise, notes, f'data.{split}'),
        )
    preprocessor = dict(type='SegDataPreProcessor', pad_val=0, seg_pad_val=255)
    model['data_preprocessor'] = preprocessor | normalise
    old_pipeline = result['test_dataloader']['dataset']['pipeline']
    pipeline = plain_pipeline(old_pipeline)
    for split in ('val', 'test'):
        result[f'{split}_dataloader']['dataset']['pipeline'] = pipeline
    result['test_pipeline'] = pipeline
    result['tta_model'] = dict(type='SegTTAModel')
    result['tta_pipeline'] = tta_pipeline(old_pipeline)
    notes += [f'data.{key} = {value!r}' for key, value in data.items()]
    return result


def translate_dataset(
    dataset: dict, normalise: dict, notes: list[str], path: str
) -> dict:
    """Rename a data set's keys; `normalise` collects what the preprocessor does now."""
    if dataset.get('type') == 'RepeatDataset':  # endless sampling repeats by itself
        return translate_dataset(dataset['dataset'], normalise, notes, path)
    prefix = dict(img_path=dataset.pop('img_dir', ''))
    if 'ann_dir' in dataset:
        prefix['seg_map_path'] = dataset.pop('ann_dir')
    result = dict(type=dataset.pop('type'), data_prefix=prefix)
    for old, new in [('split', 'ann_file'), ('data_root', 'data_root')]:
        if dataset.get(old):
            result[new] = dataset[old]
        dataset.pop(old, None)
    metainfo = {k: dataset.pop(k) for k in ('classes', 'palette') if k in dataset}
    if metainfo:
        result['metainfo'] = metainfo
    for same in ('img_suffix', 'seg_map_suffix', 'ignore_index', 'test_mode'):
        if same in dataset:
            result[same] = dataset.pop(same)
    result['pipeline'] = translate_pipeline(
        dataset.pop('pipeline'), normalise, notes, f'{path}.pipeline'
    )
    notes += [f'{path}.{key} = {value!r}' for key, value in dataset.items()]
    return result


def translate_pipeline(
    pipeline: Sequence[dict], normalise: dict, notes: list[str], path: str
) -> list[dict]:
    result = []
    for k, step in enumerate(map(dict, pipeline)):
        kind = step['type']
        if kind == 'Resize':
            result.append(translate_resize(step))
        elif kind == 'Normalize':
            normalise |= dict(mean=list(step['mean']), std=list(step['std']))
            normalise['bgr_to_rgb'] = step.get('to_rgb', True)
        elif kind == 'Pad':
            if 'size' in step:
                normalise['size'] = tuple(step['size'])
            else:
                notes.append(f'{path}.{k} = {step!r}')
        elif kind in ('DefaultFormatBundle', 'ImageToTensor'):
            pass  # PackSegInputs does it
        elif kind == 'Collect':
            result.append(dict(type='PackSegInputs'))
        elif kind == 'MultiScaleFlipAug':
            step['transforms'] = translate_pipeline(
                step['transforms'], normalise, notes, f'{path}.{k}.transforms'
            )
            result.append(step)
        else:
            result.append(step)
    return result


def translate_resize(step: dict) -> dict:
    """0.x's one Resize draws a random scale if it is given a range of ratios."""
    result = dict(type='Resize', keep_ratio=step.get('keep_ratio', True))
    if step.get('img_scale'):
        result['scale'] = tuple(step['img_scale'])
    if step.get('ratio_range'):
        result |= dict(type='RandomResize', ratio_range=tuple(step['ratio_range']))
    return result


def plain_pipeline(pipeline: list[dict]) -> list[dict]:
    """Testing at one scale: what 0.x said inside of MultiScaleFlipAug."""
    views = next((s for s in pipeline if s['type'] == 'MultiScaleFlipAug'), None)
    if views is None:
        return pipeline
    scale = views.get('img_scale')
    resize = [dict(type='Resize', scale=tuple(scale), keep_ratio=True)] if scale else []
    load = [s for s in pipeline if s['type'] == 'LoadImageFromFile']
    return [*load, *resize, dict(type='LoadAnnotations'), dict(type='PackSegInputs')]


def tta_pipeline(pipeline: list[dict]) -> list[dict]:
    """ms+flip with the ratios that MultiScaleFlipAug names, or mmsegmentation's six."""
    views = next((s for s in pipeline if s['type'] == 'MultiScaleFlipAug'), {})
    ratios = views.get('img_ratios') or (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    scale = views.get('img_scale')
    resizes = [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in ratios]
    if scale:
        resizes = [
            dict(
                type='Resize',
                scale=tuple(int(side * ratio) for side in scale),
                keep_ratio=True,
            )
            for ratio in ratios
        ]
    flips = [
        dict(type='RandomFlip', prob=prob, direction='horizontal')
        for prob in (0.0, 1.0)
    ]
    pack = [[dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]]
    transforms = [resizes, flips, *pack]
    load = dict(type='LoadImageFromFile')
    return [load, dict(type='TestTimeAug', transforms=transforms)]


# --- schedule and runtime ------------------------------------------------------------


def schedule_part(rest: dict, notes: list[str]) -> dict:
    runner = rest.pop('runner', None) or dict(max_iters=rest.pop('total_iters', 0))
    iterations = runner.get('max_iters')
    if not iterations:
        raise ValueError(
            f'runner = {runner!r}: only runs counted in iterations (IterBasedRunner, '
            f'max_iters) are translated; say the length in iterations.'
        )
    evaluation = rest.pop('evaluation', None) or {}
    checkpoint = rest.pop('checkpoint_config', None) or {}
    interval = evaluation.pop('interval', iterations)
    optimizer = rest.pop('optimizer')
    paramwise = optimizer.pop('paramwise_cfg', None)
    wrapper = dict(type='OptimWrapper', optimizer=optimizer)
    if paramwise:
        wrapper['paramwise_cfg'] = paramwise
    clip = (rest.pop('optimizer_config', None) or {}).pop('grad_clip', None)
    if clip:
        wrapper['clip_grad'] = clip
    saving = dict(
        type='CheckpointHook',
        by_epoch=False,
        interval=checkpoint.pop('interval', interval),
        max_keep_ckpts=checkpoint.pop('max_keep_ckpts', 3),
        save_best='mIoU',
    )
    metrics = evaluation.pop('metric', 'mIoU')
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    evaluator = dict(type='IoUMetric', iou_metrics=metrics)
    for name, left in [('evaluation', evaluation), ('checkpoint_config', checkpoint)]:
        for key in ('by_epoch', 'pre_eval', 'efficient_test'):  # how it works now
            left.pop(key, None)
        notes += [f'{name}.{key} = {value!r}' for key, value in left.items()]
    return dict(
        optim_wrapper=wrapper,
        param_scheduler=translate_lr(rest.pop('lr_config'), iterations, notes),
        train_cfg=dict(
            type='IterBasedTrainLoop', max_iters=iterations, val_interval=interval
        ),
        val_cfg=dict(type='ValLoop'),
        test_cfg=dict(type='TestLoop'),
        val_evaluator=evaluator,
        test_evaluator=evaluator,
        default_hooks=dict(checkpoint=saving),
    )


def translate_lr(config: dict, iterations: int, notes: list[str]) -> list[dict]:
    policy = config.pop('policy')
    if policy != 'poly':
        raise ValueError(f'lr_config.policy = {policy!r}: only poly is translated.')
    result, begin = [], 0
    if config.pop('warmup', None):
        begin = config.pop('warmup_iters')
        factor = config.pop('warmup_ratio')
        result.append(
            dict(
                type='LinearLR', start_factor=factor, begin=0, end=begin, by_epoch=False
            )
        )
    result.append(
        dict(
            type='PolyLR',
            power=config.pop('power', 1.0),
            eta_min=config.pop('min_lr', 0.0),
            begin=begin,
            end=iterations,
            by_epoch=False,
        )
    )
    config.pop('by_epoch', None)
    notes += [f'lr_config.{key} = {value!r}' for key, value in config.items()]
    return result


def runtime_part(rest: dict, hooks: dict, notes: list[str]) -> dict:
    log = rest.pop('log_config', None) or {}
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
    if rest.get('workflow') in ([('train', 1)], [['train', 1]]):
        rest.pop('workflow')
    result = dict(
        env_cfg=dict(
            cudnn_benchmark=rest.pop('cudnn_benchmark', False),
            mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
            dist_cfg=rest.pop('dist_params', None) or dict(backend='nccl'),
        ),
        log_processor=dict(by_epoch=False),
        visualizer=dict(
            type='SegLocalVisualizer', name='visualizer', vis_backends=backends
        ),
    )
    resume = rest.pop('resume_from', None)
    if resume:
        result |= dict(load_from=resume, resume=True)
    return result
