"""Fast-SCNN on many generated streets: the weights that `--from streets` starts from.

6,000 scenes, changed in colour and size more than in `fast_scnn_toy_streets.py`, and
averaged weights: 81.5 mIoU on 40 other scenes after 12,000 iterations, 2.3 hours of one
thread on 2 cores with other work. What that is worth on photographs is in
docs/recipes.md.

Run:
    python tools/make_toy_streets.py data/many_streets --num-train 6000
    python tools/train.py configs/fastscnn/fast_scnn_many_streets.py --amp --seed 0
    python tools/publish_model.py work_dirs/fast_scnn_many_streets/iter_12000.pth \\
        fast_scnn_streets.safetensors --small
"""

_base_ = [
    '../_base_/models/fast_scnn_softmax.py',
    '../_base_/datasets/toy_streets.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_4k.py',
]
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
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
optim_wrapper = dict(optimizer=dict(lr=3e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=100, by_epoch=False),
    dict(type='PolyLR', eta_min=0, power=0.9, begin=100, end=12000, by_epoch=False),
]
train_cfg = dict(max_iters=12000, val_interval=3000)
default_hooks = dict(checkpoint=dict(interval=3000))
