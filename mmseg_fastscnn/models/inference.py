"""The inference form of a network: normalisation folded, wide layers in row bands.

The network as it is trained reads as the paper does. For inference its layers are
rearranged, in place: what it computes stays the same.
"""

from collections.abc import Callable
from typing import NoReturn

import torch
from mmcv.cnn import fuse_conv_bn
from torch import nn

from mmseg_fastscnn.models.decode_heads import DepthwiseSeparableFCNHead, FCNHead
from mmseg_fastscnn.models.fast_scnn import (
    FastSCNN,
    FeatureFusionModule,
    InvertedResidual,
    PoolingForm,
    PyramidPool,
)
from mmseg_fastscnn.models.row_bands import RowBands


def into_inference_form(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Rewrite a segmentor in place; return it. See `EncoderDecoder.for_inference`."""
    model.eval()
    model.backbone = inference_form(model.backbone, dtype)
    model.decode_head = inference_form(model.decode_head, dtype)
    model.data_preprocessor.dtype = dtype
    if not model.for_inference_only:
        model.register_load_state_dict_pre_hook(refuse_checkpoint)
    model.for_inference_only = True
    return model


def refuse_checkpoint(*_) -> NoReturn:
    """Raise ValueError when a checkpoint is loaded into the inference form."""
    raise ValueError(
        'This model is in its inference form, whose convolutions hold the '
        'normalisation too, so a checkpoint cannot be loaded into it. Build the model '
        'anew, load the checkpoint, then call for_inference().'
    )


def inference_form(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a backbone or a head rewritten for inference; it is changed in place.

    Batch normalisation goes into the convolutions before it; bottlenecks and the parts
    that `REWRITES` names run in row bands on CPUs; pyramids pool by the operator. Parts
    of other kinds keep their form, and what is rewritten already stays as it is.

    Args:
        network: The backbone or the head.
        dtype: Type of its weights and activations.
    """
    folded = fuse_conv_bn(network.eval())
    for part in list(folded.modules()):
        for name, child in part.named_children():
            if type(child) is InvertedResidual:
                setattr(part, name, bottleneck_in_bands(child))
        rewrite = REWRITES.get(type(part))
        if rewrite is not None:
            rewrite(part)
    use_pooling_form(folded, 'operator')
    # new parts are in training mode at first
    return folded.eval().to(dtype, memory_format=torch.channels_last)


def use_pooling_form(model: nn.Module, form: PoolingForm) -> None:
    """Have every pyramid of a model pool in one form; see `PyramidPool`."""
    for part in model.modules():
        if isinstance(part, PyramidPool):
            part.form = form


def bottleneck_in_bands(block: InvertedResidual) -> RowBands:
    return RowBands(*block.conv, stride=block.stride, residual=block.use_residual)


def backbone_in_bands(backbone: FastSCNN) -> None:
    if not isinstance(backbone.learning_to_downsample, RowBands):
        layers = backbone.learning_to_downsample.children()
        backbone.learning_to_downsample = RowBands(*layers, stride=8)


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
    FeatureFusionModule: fusion_in_bands,
    FCNHead: head_in_bands,
    DepthwiseSeparableFCNHead: head_in_bands,
}
