"""Translate the data of mmsegmentation 0.x configs: loaders and pipelines."""

from collections.abc import Sequence

RENAMED = {'CustomDataset': 'BaseSegDataset'}  # data sets of other names in 1.x
SAME = (
    *('img_suffix', 'seg_map_suffix', 'ignore_index', 'reduce_zero_label'),
    'test_mode',
)  # arguments of a data set


def translate_data(data: dict, model: dict, notes: list[str]) -> dict:
    """Return the loaders and pipelines of the 1.x config.

    Args:
        data: `data` of the 0.x config; what is translated is taken out of it.
        model: `model` of the 1.x config; gets its data preprocessor.
        notes: Gets one line per key that has no counterpart.
    """
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
    dataset: dict | Sequence[dict], normalise: dict, notes: list[str], path: str
) -> dict:
    """Translate a data set; `normalise` gets what the data preprocessor does in 1.x."""
    if isinstance(dataset, list | tuple):
        parts = [
            translate_dataset(part, normalise, notes, f'{path}.{k}')
            for k, part in enumerate(dataset)
        ]
        return dict(type='ConcatDataset', datasets=parts)
    if dataset.get('type') == 'RepeatDataset':  # InfiniteSampler repeats by itself
        return translate_dataset(dataset['dataset'], normalise, notes, path)
    prefix = dict(img_path=dataset.pop('img_dir', ''))
    if 'ann_dir' in dataset:
        prefix['seg_map_path'] = dataset.pop('ann_dir')
    kind = dataset.pop('type')
    result = dict(type=RENAMED.get(kind, kind), data_prefix=prefix)
    for old, new in [('split', 'ann_file'), ('data_root', 'data_root')]:
        if dataset.get(old):
            result[new] = dataset[old]
        dataset.pop(old, None)
    metainfo = {k: dataset.pop(k) for k in ('classes', 'palette') if k in dataset}
    if metainfo:
        result['metainfo'] = metainfo
    for same in SAME:
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
    """Translate Resize; with `ratio_range` it is RandomResize in 1.x."""
    result = dict(type='Resize', keep_ratio=step.get('keep_ratio', True))
    if step.get('img_scale'):
        result['scale'] = tuple(step['img_scale'])
    if step.get('ratio_range'):
        result |= dict(type='RandomResize', ratio_range=tuple(step['ratio_range']))
    return result


def plain_pipeline(pipeline: list[dict]) -> list[dict]:
    """Return the pipeline of testing at one scale, inside MultiScaleFlipAug in 0.x."""
    views = next((s for s in pipeline if s['type'] == 'MultiScaleFlipAug'), None)
    if views is None:
        return pipeline
    scale = views.get('img_scale')
    resize = [dict(type='Resize', scale=tuple(scale), keep_ratio=True)] if scale else []
    load = [s for s in pipeline if s['type'] == 'LoadImageFromFile']
    return [*load, *resize, dict(type='LoadAnnotations'), dict(type='PackSegInputs')]


def tta_pipeline(pipeline: list[dict]) -> list[dict]:
    """Return the pipeline of ms+flip.

    Its ratios are those of MultiScaleFlipAug, or else mmsegmentation's six.
    """
    views = next((s for s in pipeline if s['type'] == 'MultiScaleFlipAug'), {})
    ratios = views.get('img_ratios') or (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    scale = views.get('img_scale')
    sizes = [dict(scale_factor=ratio) for ratio in ratios]
    if scale:
        sizes = [dict(scale=tuple(int(side * r) for side in scale)) for r in ratios]
    resizes = [dict(type='Resize', **size, keep_ratio=True) for size in sizes]
    flips = [
        dict(type='RandomFlip', prob=prob, direction='horizontal')
        for prob in (0.0, 1.0)
    ]
    pack = [[dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]]
    transforms = [resizes, flips, *pack]
    load = dict(type='LoadImageFromFile')
    return [load, dict(type='TestTimeAug', transforms=transforms)]
