"""Fine-tune on a folder of your own images and label PNGs.

Copy this file within its folder (its base files are named relative to it) and edit the
copy.

    my_data/images/train/*.jpg   my_data/labels/train/*.png   (same names)
    my_data/images/val/*.jpg     my_data/labels/val/*.png

    python tools/train.py configs/fastscnn/my_config.py --load-from CHECKPOINT

The backbone starts from the checkpoint. So does every class that the checkpoint has
under the same name, or under the name that `class_aliases` gives; the log says which
classes start fresh. If the checkpoint does not name its classes, name them with
--classes-from: CityscapesDataset, or a text file with one class per line.
"""

_base_ = [
    '../_base_/models/fast_scnn_softmax.py',
    '../_base_/datasets/camvid.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_160k.py',
]
# --- your data -----------------------------------------------------------------------
data_root = 'data/my_data'
metainfo = dict(
    classes=('background', 'road', 'vehicle'),
    palette=[(0, 0, 0), (128, 64, 128), (0, 0, 142)],  # (r, g, b) in pictures
)
# id in the label PNGs -> position in `classes`, or 255 to ignore. For labels that are
# colour images, the palette says which colour is which class.
label_map = {0: 0, 1: 1, 2: 2, 255: 255}
class_aliases = dict(vehicle='car')  # your class: the checkpoint's name for it
crop_size = (512, 1024)  # (h, w) of the training crops; a smaller image is padded
scale = (1024, 512)  # (w, h) to which images are resized, times a random factor
# --- how long ------------------------------------------------------------------------
iterations = 4000
evaluated_every = 500
# -------------------------------------------------------------------------------------

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=scale, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
dataset = dict(
    type='SegDataset', data_root=data_root, metainfo=metainfo, label_map=label_map
)
train_dataloader = dict(
    dataset=dict(
        dataset,
        _delete_=True,
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        dataset,
        _delete_=True,
        data_prefix=dict(img_path='images/val', seg_map_path='labels/val'),
        pipeline={{_base_.test_pipeline}},
    )
)
test_dataloader = val_dataloader
model = dict(
    num_classes=len(metainfo['classes']), data_preprocessor=dict(size=crop_size)
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.3)}),  # 1.0: equal
)
# For the first iterations only the heads are trained. With 0 all is trained at once.
custom_hooks = [dict(type='FreezeBackboneHook', iterations=100)]
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=100, by_epoch=False),
    dict(
        type='PolyLR', eta_min=0, power=0.9, begin=100, end=iterations, by_epoch=False
    ),
]
train_cfg = dict(max_iters=iterations, val_interval=evaluated_every)
default_hooks = dict(checkpoint=dict(interval=evaluated_every))
auto_scale_lr = dict(enable=True, base_batch_size=8)
del dataset
