"""The network with softmax losses over labelled pixels: for small data sets.

The sigmoid losses of the published Cityscapes run need many more iterations.
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
    decode_head=dict(loss_decode=dict(use_sigmoid=False, avg_non_ignore=True)),
    auxiliary_head=[
        dict(auxiliary, in_channels=128, in_index=-2),
        dict(auxiliary, in_channels=64, in_index=-3),
    ],
)
del auxiliary
