"""Fast-SCNN on many generated streets: the weights that `--from streets` starts from.

1,500 scenes, changed in colour and size more than in `fast_scnn_toy_streets.py`, and
averaged weights. 75.8 mIoU on 40 other scenes. What that is worth on photographs is in
docs/recipes.md.

Run:
    python tools/make_toy_streets.py data/many_streets --num-train 1500
    python tools/train.py configs/fastscnn/fast_scnn_many_streets.py --amp --seed 0
    python tools/publish_model.py work_dirs/fast_scnn_many_streets/iter_4000.pth \\
        fast_scnn_streets.safetensors --small
"""

_base_ = './fast_scnn_toy_streets.py'

iterations = 4000
data_root = 'data/many_streets'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomResize', scale=(512, 256), ratio_range=(0.75, 2.0), keep_ratio=True
    ),
    dict(type='RandomCrop', crop_size=(192, 384), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='PhotoMetricDistortion',
        brightness_delta=48,
        contrast_range=(0.4, 1.6),
        saturation_range=(0.3, 1.7),
        hue_delta=30,
    ),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=8, dataset=dict(data_root=data_root, pipeline=train_pipeline)
)
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=100, by_epoch=False),
    dict(
        type='PolyLR', eta_min=0, power=0.9, begin=100, end=iterations, by_epoch=False
    ),
]
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='MomentumAnnealingEMA',
        momentum=0.002,
        gamma=5,
        update_buffers=True,
    )
]
train_cfg = dict(max_iters=iterations, val_interval=2000)
default_hooks = dict(checkpoint=dict(interval=2000), logger=dict(interval=50))
auto_scale_lr = dict(enable=True, base_batch_size=8)
