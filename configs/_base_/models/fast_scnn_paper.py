"""The network in the paper's own form, as Tramac/Fast-SCNN-pytorch trains it.

It differs from mmsegmentation's form in these points: a 1x1 convolution after the
pyramid, ReLU after the depthwise convolutions, no padding in the first convolution,
biased convolutions in the fusion, `align_corners`, and one auxiliary head, which reads
the 1/8 map.
"""

_base_ = './fast_scnn.py'

relu = dict(type='ReLU')
model = dict(
    align_corners=True,
    norm_cfg=dict(momentum=0.1),
    backbone=dict(
        downsample_padding=0, dw_act_cfg=relu, pyramid_kernel=1, fusion_bias=True
    ),
    decode_head=dict(
        dw_act_cfg=relu,
        loss_decode=dict(use_sigmoid=False, avg_non_ignore=True),
    ),
    auxiliary_head=dict(
        _delete_=True,
        type='FCNHead',
        in_channels=64,
        channels=32,
        num_convs=1,
        concat_input=False,
        in_index=-3,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=0.4),
    ),
)
del relu
