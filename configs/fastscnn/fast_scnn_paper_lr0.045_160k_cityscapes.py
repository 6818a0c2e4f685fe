"""Fast-SCNN in the paper's own form on Cityscapes; reads Tramac's checkpoints.

Paper: Fast-SCNN, arXiv 1902.04502: SGD, lr 0.045 for a batch of 12, momentum 0.9, poly
with power 0.9, weight decay 4e-5, 1,000 epochs (about 250,000 iterations), softmax.
Here crops and 160,000 iterations are as in fast_scnn_lr0.12_8x4_160k_cityscapes.py, and
only the 1/8 map has an auxiliary head, as in Tramac/Fast-SCNN-pytorch. This config has
not been trained yet.

    python tools/test.py configs/fastscnn/fast_scnn_paper_lr0.045_160k_cityscapes.py \
        fast_scnn_citys.pth
    tools/dist_train.sh configs/fastscnn/fast_scnn_paper_lr0.045_160k_cityscapes.py 8
"""

_base_ = [
    '../_base_/models/fast_scnn_paper.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_160k.py',
]
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
optim_wrapper = dict(optimizer=dict(lr=0.045))
auto_scale_lr = dict(enable=True, base_batch_size=12)
