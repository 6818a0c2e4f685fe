"""Fast-SCNN on CamVid (11 classes, 480x360), from scratch on 367 frames.

57.38 mIoU on the 101 validation frames, 59.87 with ms+flip, trained on 2 CPU cores in
bf16 (0.25 to 0.3 s per iteration). README.md in this folder has the learning curve.

Run:
    python tools/train.py configs/fastscnn/fast_scnn_camvid.py --amp --seed 0
"""

_base_ = [
    '../_base_/models/fast_scnn_softmax.py',
    '../_base_/datasets/camvid.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_160k.py',
]
iterations = 4000  # of 8 images: 87 epochs
evaluated_every = 400

model = dict(num_classes=11, data_preprocessor=dict(size={{_base_.crop_size}}))
# With AdamW and averaged weights a few thousand iterations are enough; the SGD of the
# 160k schedule needs many more.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=0.01)
)
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
train_cfg = dict(max_iters=iterations, val_interval=evaluated_every)
default_hooks = dict(checkpoint=dict(interval=evaluated_every))
auto_scale_lr = dict(enable=True, base_batch_size=8)
