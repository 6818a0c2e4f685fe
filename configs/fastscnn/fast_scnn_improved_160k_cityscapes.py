"""The improved recipe on Cityscapes, beside the published one. Not yet trained there.

What three seeds show to help on CamVid stands below; as yet nothing does, so it is the
published recipe. benchmarks/cityscapes.py trains both.

    tools/dist_train.sh configs/fastscnn/fast_scnn_improved_160k_cityscapes.py 8
"""

_base_ = './fast_scnn_lr0.12_8x4_160k_cityscapes.py'
