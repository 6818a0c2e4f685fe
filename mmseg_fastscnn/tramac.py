"""Names of Tramac/Fast-SCNN-pytorch's checkpoints, as ours.

That network is the paper's own form: it fits `configs/_base_/models/fast_scnn_paper.py`
tensor by tensor, and gives the same answers there.
"""

import re
from collections.abc import Mapping

from torch import Tensor

# Parts first, then the layers in them, which that project numbers: convolution 0,
# normalisation 1, activation 2, and so on.
RULES = [
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


def is_tramac(state_dict: Mapping[str, Tensor]) -> bool:
    return 'classifier.dsconv1.conv.0.weight' in state_dict


def convert_tramac(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the same tensors under our names."""
    return {our_name(name): value for name, value in state_dict.items()}


def our_name(name: str) -> str:
    for pattern, replacement in RULES:
        name = re.sub(pattern, replacement, name)
    return name
