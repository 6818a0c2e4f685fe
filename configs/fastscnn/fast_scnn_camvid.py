"""Fast-SCNN on CamVid (11 classes, 480x360), from scratch on 367 frames.

59.53 ± 0.49 mIoU on the 101 validation frames, 62.34 ± 0.36 with ms+flip, over three
seeds in bf16; on 2 CPU cores an iteration takes 0.25 to 0.3 s. README.md beside it has
more.

Run:
    python tools/train.py configs/fastscnn/fast_scnn_camvid.py --amp --seed 0
"""

_base_ = [
    '../_base_/models/fast_scnn_softmax.py',
    '../_base_/datasets/camvid.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_4k.py',  # of 8 images: 87 epochs
]
model = dict(num_classes=11, data_preprocessor=dict(size={{_base_.crop_size}}))
