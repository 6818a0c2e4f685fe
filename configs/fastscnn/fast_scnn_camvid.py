"""x"""

_base_ = [
    '../_base_/models/fast_scnn.py',
    '../_base_/datasets/camvid.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_160k.py',
]
crop_size = (360, 480)
model = dict(num_classes=11, data_preprocessor=dict(size=crop_size))
auto_scale_lr = dict(enable=True, base_batch_size=8)
