"""The inference form of a network: normalisation folded, wide layers in row bands.

The network as it is trained reads as the paper does. For inference its layers are put
into other hands, in place: what it computes stays the same.
"""

from collections.abc import Callable

import torch
from mmcv.cnn import fuse_conv_bn
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg_fastscnn.models.decode_heads import DepthwiseSeparableFCNHead, FCNHead
from mmseg_fastscnn.models.fast_scnn import (
    FastSCNN,
    FeatureFusionModule,
    InvertedResidual,
    use_pooling_form,
)
from mmseg_fastscnn.ops.host import on_host
from mmseg_fastscnn.ops.row_bands import in_row_bands

NEAR_ROWS_ONLY = (
    nn.Conv2d,
    _BatchNorm,
    nn.Dropout,
    nn.Dropout2d,
    nn.Identity,
    nn.ReLU,
    nn.ReLU6,
    nn.PReLU,
    nn.LeakyReLU,
    nn.Hardswish,
    nn.SiLU,
    nn.GELU,
)


def inference_form(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Rewrite a backbone or a head for inference, in place; return it.

    Batch normalisation goes into the convolutions before it; the parts that `REWRITES`
    names run in row bands on CPUs; pyramids pool by the operator. Parts of other kinds
    keep their form, and what is rewritten already stays as it is.

    Args:
        network: The backbone or the head.
        dtype: Of its weights and activations.
    """
    folded = fuse_conv_bn(network.eval())
    for part in list(folded.modules()):
        rewrite = REWRITES.get(type(part))
        if rewrite is not None:
            rewrite(part)
    use_pooling_form(folded, 'operator')
    # new parts are in training mode at first
    return folded.eval().to(dtype, memory_format=torch.channels_last)


class RowBands(nn.Module):
    """Layers applied one after the other, in bands of rows where that is faster.

    The whole image is one band where gradients may be asked for; in training; on a
    GPU, which is fastest with large maps; in a graph that is traced, exported or
    compiled, which would be cut for one size; and with layers that are not known to
    look at near rows only, such as GroupNorm.

    Args:
        layers: See `function` of `in_row_bands`.
        stride: Rows of the input per row of the result.
        margin: See `in_row_bands`.
    """

    def __init__(self, *layers: nn.Module, stride: int = 1, margin: int = 1):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.stride = stride
        self.margin = margin
        self.near_rows_only = all(
            isinstance(part, NEAR_ROWS_ONLY)
            for part in self.layers.modules()
            if not any(True for _ in part.children())  # it does what its parts do
        )

    def forward(self, x: Tensor) -> Tensor:
        if self._to_be_cut(x):
            return in_row_bands(self.layers, x, self.stride, self.margin)
        return self.layers(x)

    def _to_be_cut(self, x: Tensor) -> bool:
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if traced or torch.is_grad_enabled() or not on_host(x.device):
            return False
        return self.near_rows_only and not self.training


def backbone_in_bands(backbone: FastSCNN) -> None:
    if not isinstance(backbone.learning_to_downsample, RowBands):
        layers = backbone.learning_to_downsample.children()
        backbone.learning_to_downsample = RowBands(*layers, stride=8)


def bottleneck_in_bands(block: InvertedResidual) -> None:
    if not isinstance(block.conv, RowBands):
        block.conv = RowBands(*block.conv, stride=block.stride)


def fusion_in_bands(fusion: FeatureFusionModule) -> None:
    if not isinstance(fusion.dwconv, RowBands):
        fusion.dwconv = RowBands(fusion.dwconv, fusion.conv_lower_res)
        fusion.conv_lower_res = nn.Identity()


def head_in_bands(head: FCNHead) -> None:
    if head.conv_cat is not None or isinstance(head.convs, RowBands):
        return
    convolutions = [m for m in head.convs.modules() if isinstance(m, nn.Conv2d)]
    margin = sum(layer.kernel_size[0] // 2 for layer in convolutions)
    layers = (*head.convs, head.dropout, head.conv_seg)
    head.convs = RowBands(*layers, margin=margin)
    head.dropout, head.conv_seg = nn.Identity(), nn.Identity()


# by the very class: one derived from it may use its parts in another way
REWRITES: dict[type[nn.Module], Callable[[nn.Module], None]] = {
    FastSCNN: backbone_in_bands,
    InvertedResidual: bottleneck_in_bands,
    FeatureFusionModule: fusion_in_bands,
    FCNHead: head_in_bands,
    DepthwiseSeparableFCNHead: head_in_bands,
}
