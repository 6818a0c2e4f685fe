"""The network for small data sets and runs of a few thousand iterations.

Softmax losses over the labelled pixels learn faster than the sigmoid losses of the
published Cityscapes run. Normalisation statistics that move by 1 % per iteration, as in
that run, are too slow for weights that change as fast as they do here.

Test images are padded to a multiple of 32 pixels, which crops and Cityscapes' images
are. Otherwise the coarse maps, which reach over the edge of such an image, would be
squeezed into it, and things would not be where they were in training.
"""

_base_ = './fast_scnn.py'

auxiliary = dict(
    type='FCNHead',
    channels=32,
    num_convs=1,
    concat_input=False,
    loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=0.4),
)
model = dict(
    norm_cfg=dict(momentum=0.1),
    data_preprocessor=dict(test_cfg=dict(size_divisor=32)),
    decode_head=dict(loss_decode=dict(use_sigmoid=False, avg_non_ignore=True)),
    auxiliary_head=[
        dict(auxiliary, in_channels=128, in_index=-2),
        dict(auxiliary, in_channels=64, in_index=-3),
    ],
)
del auxiliary
