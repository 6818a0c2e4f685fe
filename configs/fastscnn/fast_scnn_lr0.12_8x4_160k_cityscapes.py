"""Fast-SCNN on Cityscapes, to reproduce mmsegmentation's released run.

Paper: Fast-SCNN, arXiv 1902.04502 (68.0 mIoU on the Cityscapes test set).
Trained on: 8 GPUs x 4 images of 512x1024, 160,000 iterations, SyncBN.
Published (mmsegmentation, Cityscapes val): 70.96 mIoU, 72.65 with ms+flip;
3.3 GB per GPU in training, 56.45 images/s in inference on a V100.
The loss is that of the published run: sigmoid cross entropy, averaged over all pixels
with ignored ones (`avg_non_ignore=False`).

    tools/dist_train.sh configs/fastscnn/fast_scnn_lr0.12_8x4_160k_cityscapes.py 8
"""

_base_ = [
    '../_base_/models/fast_scnn.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_160k.py',
]
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
auto_scale_lr = dict(enable=True, base_batch_size=32)  # 8 GPUs x 4 images
