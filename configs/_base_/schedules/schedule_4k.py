"""4,000 iterations of AdamW with averaged weights, for a few hundred images.

With these few iterations are enough; the SGD of the 160k schedule needs many more.
"""

_base_ = './schedule_160k.py'

iterations = 4000
evaluated_every = 400
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
