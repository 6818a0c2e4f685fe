"""mmsegmentation's config files run here, 1.x as they are and 0.x translated."""

import json
from pathlib import Path

import pytest
from conftest import run
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.config.from_0x import translate_0x
from mmseg_fastscnn.registry import DATASETS, MODELS

ROOT = Path(__file__).parents[1]
OLD = Path(__file__).parent / 'data/mmseg_0x/fast_scnn.py'
ONE = Path(__file__).parent / 'data/mmseg_1x/fast_scnn.py'
init_default_scope('mmseg_fastscnn')


def test_a_1x_config_trains_and_tests_as_it_is(streets, tmp_path):
    data = ['--work-dir', tmp_path, '--data-root', streets]
    run(
        *['tools/train.py', ONE, *data, '--cfg-options', 'train_cfg.max_iters=2'],
        *['train_cfg.val_interval=2', 'default_hooks.checkpoint.interval=2'],
    )
    run('tools/test.py', ONE, tmp_path / 'iter_2.pth', '--tta', *data)
    scores = json.loads((tmp_path / 'metrics_ms_flip.json').read_text())
    assert scores['num_images'] == 5
    drawn = [path.parts[-4:-1] for path in tmp_path.rglob('vis_image/*/toy/*.png')]
    assert sorted({parts[1] for parts in drawn}) == ['test', 'val_2']
    assert len(drawn) == 4  # every second of 5 images, twice


@pytest.mark.parametrize(
    'text',
    [
        # a small data set, repeated; another optimizer, with warm-up
        """
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=400,
        dataset=dict(
            type='BaseSegDataset',
            data_root='data/vessels',
            metainfo=dict(classes=('rest', 'vessel'), palette=[[9, 9, 9], [0, 9, 0]]),
            data_prefix=dict(img_path='images', seg_map_path='labels'),
            img_suffix='.png',
            pipeline={{_base_.train_pipeline}},
        ),
    )
)
optim_wrapper = dict(
    _delete_=True,
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    accumulative_counts=2,
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    clip_grad=dict(max_norm=1, norm_type=2),
    paramwise_cfg=dict(
        bias_decay_mult=0.0,
        custom_keys={'norm': dict(decay_mult=0.0), 'head': dict(lr_mult=10.0)},
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', eta_min=0.0, power=1.0, begin=1500, end=40000, by_epoch=False),
]
val_evaluator = dict(iou_metrics=['mIoU', 'mDice', 'mFscore'])
""",
        # counted in epochs; windows in testing; weights averaged; two data sets
        """
train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=80)
param_scheduler = [
    dict(type='PolyLR', power=0.9, begin=0, end=80, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=10, begin=70, end=80, by_epoch=True),
]
part = dict(
    type='CityscapesDataset',
    data_root='data/cityscapes',
    data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
    pipeline={{_base_.train_pipeline}},
)
train_dataloader = dict(
    drop_last=True,
    prefetch_factor=2,
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
    dataset=dict(_delete_=True, type='ConcatDataset', datasets=[part, part]),
)
model = dict(
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)),
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='x.pth')),
)
custom_hooks = [dict(type='EMAHook', momentum=2e-4, priority='ABOVE_NORMAL')]
default_hooks = dict(
    checkpoint=dict(by_epoch=True, interval=4, save_best=['mIoU'], rule='greater'),
    logger=dict(log_metric_by_epoch=True),
)
log_processor = dict(by_epoch=True, window_size=20)
auto_scale_lr = dict(enable=False, base_batch_size=16)
randomness = dict(seed=304, deterministic=False)
""",
        # training alone, and everything that a run may log to
        """
val_dataloader = val_cfg = val_evaluator = None
test_dataloader = test_cfg = test_evaluator = None
vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(vis_backends=vis_backends, alpha=0.6)
default_hooks = dict(
    checkpoint=dict(save_optimizer=False, max_keep_ckpts=1, published_keys=['meta']),
    timer=None,
)
find_unused_parameters = True
work_dir = './work_dirs/{{ fileBasenameNoExtension }}'
""",
    ],
    ids=['repeated', 'epochs', 'no validation'],
)
def test_what_1x_configs_say_is_not_refused(tmp_path, text):
    (tmp_path / 'leaf.py').write_text(f"_base_ = '{ONE}'\n{text}")
    config = load_config(tmp_path / 'leaf.py')
    assert config.model.type == 'EncoderDecoder' and config.default_scope != 'mmseg'


def test_a_0x_config_becomes_the_reproduction_config(capsys):
    ours = load_config(
        ROOT / 'configs/fastscnn/fast_scnn_lr0.12_8x4_160k_cityscapes.py'
    )
    theirs = load_config(OLD)
    said = capsys.readouterr().out
    assert 'mmsegmentation 0.x and was translated' in said
    assert "left out: fp16 = {'loss_scale': 512.0}" in said
    assert said.count('left out') == 1
    for key in ('train_pipeline', 'dataset'):
        assert key not in theirs
    train, expected = theirs.train_dataloader, ours.train_dataloader
    assert train.dataset.pipeline == expected.dataset.pipeline
    assert train.dataset.data_prefix == expected.dataset.data_prefix
    assert (train.batch_size, train.sampler) == (4, expected.sampler)
    assert theirs.test_pipeline == ours.test_pipeline
    assert theirs.val_dataloader.dataset.pipeline == ours.test_pipeline
    assert theirs.optim_wrapper.optimizer == ours.optim_wrapper.optimizer
    for key in ('param_scheduler', 'train_cfg', 'val_cfg', 'test_cfg', 'env_cfg'):
        assert theirs[key] == ours[key], key
    for key, value in theirs.default_hooks.checkpoint.items():
        assert ours.default_hooks.checkpoint[key] == value
    assert theirs.model.data_preprocessor == ours.model.data_preprocessor
    names = MODELS.build(theirs.model).state_dict()
    assert list(names) == list(MODELS.build(ours.model).state_dict())
    flips = theirs.tta_pipeline[1].transforms[1]
    assert flips == ours.tta_pipeline[1].transforms[1]
    scales = [step.scale for step in theirs.tta_pipeline[1].transforms[0]]
    assert scales[0] == (1024, 512) and scales[-1] == (3584, 1792)


def test_a_0x_config_trains_and_is_written(streets, tmp_path):
    printed = run('tools/convert_config.py', OLD, tmp_path / 'new.py')
    assert 'fp16' in printed and 'Written' in printed
    assert 'exists' in run(
        'tools/convert_config.py', OLD, tmp_path / 'new.py', ok=False
    )
    written, old = (
        load_config(file, work_dir='a') for file in (tmp_path / 'new.py', OLD)
    )
    assert written.to_dict() == old.to_dict()
    printed = run(
        *['tools/train.py', OLD, '--data-root', streets, '--work-dir', tmp_path],
        *['--cfg-options', 'train_cfg.max_iters=1', 'train_cfg.val_interval=1'],
        *['train_dataloader.batch_size=2', 'default_hooks.logger.interval=1'],
        'model.data_preprocessor.size=(64,128)',
        'train_dataloader.dataset.pipeline.2.scale=(128,64)',
        'train_dataloader.dataset.pipeline.3.crop_size=(64,128)',
    )
    assert 'Iter(train) [1/1]' in printed and 'mIoU: ' in printed


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(lr_config=dict(policy='step')), "lr_config.policy = 'step': only poly"),
        (dict(runner=dict(type='EpochBasedRunner', max_epochs=3)), 'iterations'),
        (dict(data=dict(samples_per_gpu=4)), "0.x .*, but has no 'train'"),
    ],
)
def test_what_cannot_be_translated_is_an_error(change, message):
    config = Config.fromfile(OLD)
    for key, value in change.items():
        config[key] = value
    with pytest.raises(ValueError, match=message):
        translate_0x(config)


def test_what_has_no_counterpart_is_named():
    config = Config.fromfile(OLD)
    config.data.train.pipeline.insert(4, dict(type='Pad', size_divisor=32))
    config.evaluation.save_result = True
    config.custom_thing = 3
    _, notes = translate_0x(config)
    assert sorted(notes) == [
        'custom_thing = 3',
        "data.train.pipeline.4 = {'type': 'Pad', 'size_divisor': 32}",
        'evaluation.save_result = True',
        "fp16 = {'loss_scale': 512.0}",
    ]


def test_a_data_set_of_ones_own_is_translated():
    config = Config.fromfile(OLD)
    for split in ('train', 'val', 'test'):
        config.data[split].update(
            type='CustomDataset',
            classes=['road', 'car'],
            palette=[[1, 1, 1], [2, 2, 2]],
            img_suffix='.png',
            reduce_zero_label=True,
        )
    new, notes = translate_0x(config)
    assert notes == ["fp16 = {'loss_scale': 512.0}"]
    dataset = dict(load_config(new).val_dataloader.dataset, pipeline=[], lazy_init=True)
    dataset = DATASETS.build(dataset)
    assert dataset.metainfo['classes'] == ('road', 'car')
    assert dataset.img_suffix == ('.png',) and dataset.reduce_zero_label
