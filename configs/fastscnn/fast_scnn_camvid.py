"""Fast-SCNN on CamVid (11 classes, 480x360), from scratch on 367 frames.

66.27 ± 1.07 mIoU on the 101 validation frames, 69.22 ± 1.03 with ms+flip, over three
seeds in bf16, two runs at a time on 2 CPU cores in 54 minutes; 69.89 ± 0.25 and 73.23 ±
0.27 with twice the iterations. README.md beside it has more, docs/recipes.md says what
optimizer, class weights and length give.

Run:
    python tools/train.py configs/fastscnn/fast_scnn_camvid.py --amp --seed 0
"""

_base_ = [
    '../_base_/models/fast_scnn_softmax.py',
    '../_base_/datasets/camvid.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_4k.py',  # of 8 images: 87 epochs
]
model = dict(
    num_classes=11,
    data_preprocessor=dict(size={{_base_.crop_size}}),
    decode_head=dict(loss_decode=dict(class_weight='fourth_root')),
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='MuonAdamW', lr=4e-3, weight_decay=0.01)
)
