"""Fast-SCNN, the backbone: arXiv 1902.04502, section 3, from top to bottom.

By default four details are not the paper's but mmsegmentation's, whose weights then
fit; four options of `FastSCNN` bring the paper's own form back. Its docstring explains
the arguments of all parts. Shapes in the margin are for an image of (3, 1024, 2048).
"""

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmseg_fastscnn.models.checks import check_channels, check_stages, refuse_small
from mmseg_fastscnn.ops.pyramid_pool import cell_matrix, kept_cell_matrix
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import COARSEST

PoolingForm = Literal['matrix', 'operator']
INIT_CFG = [
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
]


class LearningToDownsample(nn.Module):
    """Section 3.2.1: three strided layers, shared by both branches; output at 1/8."""

    def __init__(
        self, channels: Sequence[int], padding: int, norm_cfg: dict, dw_act_cfg: dict
    ):
        super().__init__()
        image, dw1, dw2, out = channels
        strided = dict(kernel_size=3, stride=2, norm_cfg=norm_cfg)
        separable = dict(strided, padding=1, dw_act_cfg=dw_act_cfg)
        self.conv = ConvModule(image, dw1, padding=padding, **strided)
        self.dsconv1 = DepthwiseSeparableConvModule(dw1, dw2, **separable)
        self.dsconv2 = DepthwiseSeparableConvModule(dw2, out, **separable)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)  # (32, 512, 1024)
        x = self.dsconv1(x)  # (48, 256, 512)
        return self.dsconv2(x)  # (64, 128, 256)


class InvertedResidual(nn.Module):
    """MobileNetV2's bottleneck (table 2): expand, depthwise, project, add.

    The input is added where it has the output's shape.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        expand_ratio: int,
        norm_cfg: dict,
    ):
        super().__init__()
        hidden = in_channels * expand_ratio
        self.stride = stride
        self.use_residual = stride == 1 and in_channels == out_channels
        conv = partial(ConvModule, norm_cfg=norm_cfg)
        self.conv = nn.Sequential(
            conv(in_channels, hidden, kernel_size=1),
            conv(hidden, hidden, 3, stride=stride, padding=1, groups=hidden),
            conv(hidden, out_channels, kernel_size=1, act_cfg=None),
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(x)
        return out.add_(x) if self.use_residual else out


class PyramidPool(nn.Module):
    """Average (N, C, H, W) over a grid: (N, C, bins, bins).

    Args:
        bins: Cells of the grid along each axis.
        form: How it is computed, with the same result. 'matrix' has a deterministic
            backward on every device, and exports to ONNX at any size. 'operator' is
            PyTorch's own: faster without gradients, and a layer that exporters know,
            some of them only for sizes that are a multiple of `bins`.
    """

    def __init__(self, bins: int, form: PoolingForm = 'matrix'):
        super().__init__()
        self.bins = bins
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        if self.form == 'operator':
            return F.adaptive_avg_pool2d(x, self.bins)
        # A graph that is traced, exported or compiled must compute the matrix: one from
        # before would be a constant in it, and the graph would fit one size only.
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        build = cell_matrix if traced or type(x) is not Tensor else kept_cell_matrix
        cells = build(*x.shape[2:], self.bins, x.dtype, x.device)
        pooled = cells @ x.flatten(2).transpose(1, 2)  # channels last, as x is
        return pooled.transpose(1, 2).unflatten(2, (self.bins, self.bins))


class PPM(nn.ModuleList):
    """Pyramid pooling module: context on grids of several sizes, back at x's size."""

    def __init__(
        self,
        pool_scales: Sequence[int],
        in_channels: int,
        channels: int,
        norm_cfg: dict,
        align_corners: bool,
    ):
        conv = partial(ConvModule, in_channels, channels, 1, norm_cfg=norm_cfg)
        super().__init__(nn.Sequential(PyramidPool(k), conv()) for k in pool_scales)
        self.align_corners = align_corners

    def forward(self, x: Tensor) -> list[Tensor]:
        options = dict(mode='bilinear', align_corners=self.align_corners)
        return [F.interpolate(level(x), x.shape[2:], **options) for level in self]


class GlobalFeatureExtractor(nn.Module):
    """Section 3.2.2: three stages of bottlenecks, then the pyramid; output at 1/32."""

    def __init__(
        self,
        channels: Sequence[int],
        out_channels: int,
        strides: Sequence[int],
        num_blocks: Sequence[int],
        expand_ratio: int,
        pool_scales: Sequence[int],
        pyramid_kernel: int,
        norm_cfg: dict,
        align_corners: bool,
    ):
        super().__init__()
        stages = zip(channels[:-1], channels[1:], strides, num_blocks, strict=True)
        self.bottleneck1, self.bottleneck2, self.bottleneck3 = (
            bottlenecks(*stage, expand_ratio, norm_cfg) for stage in stages
        )
        deepest = channels[-1]
        per_level = deepest // len(pool_scales)
        self.ppm = PPM(pool_scales, deepest, per_level, norm_cfg, align_corners)
        self.out = ConvModule(
            deepest + per_level * len(pool_scales),
            out_channels,
            kernel_size=pyramid_kernel,
            padding=pyramid_kernel // 2,
            norm_cfg=norm_cfg,
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.bottleneck1(x)  # (64, 64, 128)
        x = self.bottleneck2(x)  # (96, 32, 64)
        x = self.bottleneck3(x)  # (128, 32, 64)
        x = torch.cat([x, *self.ppm(x)], dim=1)  # (256, 32, 64)
        return self.out(x)  # (128, 32, 64)


def bottlenecks(
    before: int, after: int, stride: int, count: int, expand_ratio: int, norm_cfg: dict
) -> nn.Sequential:
    """Build a stage of bottlenecks; only the first changes channels and size."""
    block = partial(InvertedResidual, expand_ratio=expand_ratio, norm_cfg=norm_cfg)
    others = (block(after, after, 1) for _ in range(count - 1))
    return nn.Sequential(block(before, after, stride), *others)


class FeatureFusionModule(nn.Module):
    """Section 3.2.3: bring 1/32 up to 1/8, add the detail of the shallow branch."""

    def __init__(
        self, higher: int, lower: int, out: int, bias: bool, norm_cfg: dict, align: bool
    ):
        super().__init__()
        self.align_corners = align
        conv = partial(ConvModule, norm_cfg=norm_cfg)
        self.dwconv = conv(lower, out, kernel_size=3, padding=1, groups=out)
        with warnings.catch_warnings():  # a bias before BN is idle, and meant
            warnings.simplefilter('ignore')
            self.conv_lower_res = conv(out, out, 1, bias=bias, act_cfg=None)
            self.conv_higher_res = conv(higher, out, 1, bias=bias, act_cfg=None)

    def forward(self, higher: Tensor, lower: Tensor) -> Tensor:
        lower = F.interpolate(
            lower, higher.shape[2:], mode='bilinear', align_corners=self.align_corners
        )  # (128, 128, 256)
        lower = self.conv_lower_res(self.dwconv(lower))  # (128, 128, 256)
        higher = self.conv_higher_res(higher)  # (128, 128, 256)
        return F.relu_(higher.add_(lower))


@MODELS.register_module()
class FastSCNN(BaseModule):
    """The whole backbone: learning to downsample, global features, fusion.

    Args:
        in_channels: Channels of the image.
        downsample_dw_channels: Channels of the first two downsampling layers.
        global_in_channels: Channels of the 1/8 map that both branches start from.
        global_block_channels: Channels of each of the three bottleneck stages.
        global_block_strides: Stride of each stage.
        global_out_channels: Channels of the 1/32 map.
        higher_in_channels: Must equal `global_in_channels`.
        lower_in_channels: Must equal `global_out_channels`.
        fusion_out_channels: Channels of the fused 1/8 map.
        out_indices: Which of (1/8 map, 1/32 map, fused map) to return, in order.
        num_blocks: Bottlenecks of each stage.
        expand_ratio: How many times wider a bottleneck is inside.
        pool_scales: Grids of the pyramid, cells along each axis.
        downsample_padding: Padding of the first convolution; the paper's form: 0.
        dw_act_cfg: Activation after the depthwise convolutions of the downsampling; the
            paper's form: `dict(type='ReLU')`.
        pyramid_kernel: Kernel of the convolution after the pyramid; the paper's: 1.
        fusion_bias: Bias in the two 1x1 convolutions of the fusion; the paper's form,
            as Tramac/Fast-SCNN-pytorch has it: True.
        norm_cfg: Normalisation layer, `dict(type='BN')` or `dict(type='SyncBN')`.
        align_corners: Passed to every bilinear interpolation.
        init_cfg: mmengine's weight initialisation; default Kaiming.

    Raises:
        ValueError: Settings that do not fit each other.
    """

    def __init__(
        self,
        in_channels: int = 3,
        downsample_dw_channels: Sequence[int] = (32, 48),
        global_in_channels: int = 64,
        global_block_channels: Sequence[int] = (64, 96, 128),
        global_block_strides: Sequence[int] = (2, 2, 1),
        global_out_channels: int = 128,
        higher_in_channels: int = 64,
        lower_in_channels: int = 128,
        fusion_out_channels: int = 128,
        out_indices: Sequence[int] = (0, 1, 2),
        num_blocks: Sequence[int] = (3, 3, 3),
        expand_ratio: int = 6,
        pool_scales: Sequence[int] = (1, 2, 3, 6),
        downsample_padding: int = 1,
        dw_act_cfg: dict | None = None,
        pyramid_kernel: int = 3,
        fusion_bias: bool = False,
        norm_cfg: dict | None = None,
        align_corners: bool = False,
        init_cfg: dict | list | None = None,
    ):
        super().__init__(init_cfg or INIT_CFG)
        check_channels('higher_in', higher_in_channels, 'global_in', global_in_channels)
        check_channels('lower_in', lower_in_channels, 'global_out', global_out_channels)
        check_stages('global_block_channels', global_block_channels)
        check_stages('global_block_strides', global_block_strides)
        check_stages('num_blocks', num_blocks)
        norm_cfg = norm_cfg or dict(type='BN')
        self.out_indices = tuple(out_indices)
        self.learning_to_downsample = LearningToDownsample(
            channels=(in_channels, *downsample_dw_channels, global_in_channels),
            padding=downsample_padding,
            norm_cfg=norm_cfg,
            dw_act_cfg=dw_act_cfg,
        )
        self.global_feature_extractor = GlobalFeatureExtractor(
            channels=(global_in_channels, *global_block_channels),
            out_channels=global_out_channels,
            strides=global_block_strides,
            num_blocks=num_blocks,
            expand_ratio=expand_ratio,
            pool_scales=pool_scales,
            pyramid_kernel=pyramid_kernel,
            norm_cfg=norm_cfg,
            align_corners=align_corners,
        )
        self.feature_fusion = FeatureFusionModule(
            higher=higher_in_channels,
            lower=lower_in_channels,
            out=fusion_out_channels,
            bias=fusion_bias,
            norm_cfg=norm_cfg,
            align=align_corners,
        )

    @property
    def first_conv(self) -> nn.Conv2d:
        """The convolution that reads the image."""
        layers = self.learning_to_downsample.modules()
        return next(layer for layer in layers if isinstance(layer, nn.Conv2d))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, C, H, W) to the features that `out_indices` names.

        Raises:
            ValueError: H or W is under 32 pixels.
        """
        if min(x.shape[2:]) < COARSEST:
            refuse_small(x, COARSEST)
        higher = self.learning_to_downsample(x)  # (64, 128, 256)
        lower = self.global_feature_extractor(higher)  # (128, 32, 64)
        fused = self.feature_fusion(higher, lower)  # (128, 128, 256)
        features = (higher, lower, fused)
        return tuple(features[i] for i in self.out_indices)
