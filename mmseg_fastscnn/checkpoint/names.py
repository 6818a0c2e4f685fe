"""Translate the tensor names of Tramac/Fast-SCNN-pytorch's checkpoints to ours.

That project trains the paper's own form of the network. Its tensors fit
`configs/_base_/models/fast_scnn_paper.py` one by one and give the same answers.
"""

import re
from collections.abc import Mapping

from torch import Tensor

# Rules (pattern, replacement), applied in this order: first the parts, then the layers
# in them, which that project numbers (convolution 0, normalisation 1, activation 2).
TRAMAC = [
    (
        r'^(learning_to_downsample|global_feature_extractor|feature_fusion)',
        r'backbone.\1',
    ),
    (r'^classifier\.conv\.1', 'decode_head.conv_seg'),
    (r'^classifier\.dsconv1', 'decode_head.convs.0.dsconv'),
    (r'^classifier\.dsconv2', 'decode_head.convs.1.dsconv'),
    (r'^auxlayer\.0', 'auxiliary_head.convs.0.conv'),
    (r'^auxlayer\.1', 'auxiliary_head.convs.0.bn'),
    (r'^auxlayer\.4', 'auxiliary_head.conv_seg'),
    (r'(dsconv\d?)\.conv\.0', r'\1.depthwise_conv.conv'),
    (r'(dsconv\d?)\.conv\.1', r'\1.depthwise_conv.bn'),
    (r'(dsconv\d?)\.conv\.3', r'\1.pointwise_conv.conv'),
    (r'(dsconv\d?)\.conv\.4', r'\1.pointwise_conv.bn'),
    (r'\.dsconv\.', '.'),
    (r'block\.(\d)\.conv\.0', r'conv.\1.conv'),
    (r'block\.(\d)\.conv\.1', r'conv.\1.bn'),
    (r'block\.2', 'conv.2.conv'),
    (r'block\.3', 'conv.2.bn'),
    (r'ppm\.out', 'out'),
    *((rf'ppm\.conv{k + 1}', f'ppm.{k}.1') for k in range(4)),
    (r'(out|ppm\.\d\.1|dwconv|downsample\.conv)\.conv\.0', r'\1.conv'),
    (r'(out|ppm\.\d\.1|dwconv|downsample\.conv)\.conv\.1', r'\1.bn'),
    (r'(conv_lower_res|conv_higher_res)\.0', r'\1.conv'),
    (r'(conv_lower_res|conv_higher_res)\.1', r'\1.bn'),
]

SIGN = 'classifier.dsconv1.conv.0.weight'  # a tensor that only files of it have


def our_names(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under our names, unchanged if the project is unknown."""
    if SIGN not in state_dict:
        return dict(state_dict)
    return {renamed(name): value for name, value in state_dict.items()}


def renamed(name: str) -> str:
    """Return a name after all rules were applied in turn."""
    for pattern, replacement in TRAMAC:
        name = re.sub(pattern, replacement, name)
    return name
