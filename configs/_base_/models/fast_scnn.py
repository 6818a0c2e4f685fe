"""The network in mmsegmentation's form. Each of its numbers is here, once.

Three heads read the three feature maps (1/8, 1/32 and fused); the two auxiliary heads
are used in training only. For another data set set `model=dict(num_classes=N)`, which
reaches all heads.
"""

auxiliary = dict(
    type='FCNHead',
    channels=32,
    num_convs=1,
    concat_input=False,
    loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=0.4),
)
model = dict(
    type='EncoderDecoder',
    num_classes=19,
    norm_cfg=dict(type='SyncBN', requires_grad=True, momentum=0.01),
    align_corners=False,
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='FastSCNN',
        downsample_dw_channels=(32, 48),
        global_in_channels=64,
        global_block_channels=(64, 96, 128),
        global_block_strides=(2, 2, 1),
        global_out_channels=128,
        higher_in_channels=64,
        lower_in_channels=128,
        fusion_out_channels=128,
        out_indices=(0, 1, 2),
    ),
    decode_head=dict(
        type='DepthwiseSeparableFCNHead',
        in_channels=128,
        channels=128,
        concat_input=False,
        in_index=-1,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
    ),
    auxiliary_head=[
        dict(auxiliary, in_channels=128, in_index=-2),
        dict(auxiliary, in_channels=64, in_index=-3),
    ],
    test_cfg=dict(mode='whole'),
)
del auxiliary
