"""The network as it trains well in a few thousand iterations, on small data sets.

Softmax losses over the labelled pixels learn faster than the sigmoid ones of the
published Cityscapes run, and statistics of normalisation that move 1 % an iteration
are too slow for weights that change as fast as they do here.
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
    decode_head=dict(loss_decode=dict(use_sigmoid=False, avg_non_ignore=True)),
    auxiliary_head=[
        dict(auxiliary, in_channels=128, in_index=-2),
        dict(auxiliary, in_channels=64, in_index=-3),
    ],
)
del auxiliary
