"""Fast-SCNN, the backbone: arXiv 1902.04502, section 3, from top to bottom.

By default four details are not the paper's but mmsegmentation's, whose weights then
fit; four options of `FastSCNN` bring the paper's own form back. Its docstring explains
the arguments of all parts. Shapes in the margin are for an image of (3, 1024, 2048).
"""

import warnings
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmseg_fastscnn.ops.pyramid_pool import PoolingForm, adaptive_avg_pool
from mmseg_fastscnn.registry import MODELS

SMALLEST_INPUT = 32  # pixels: one cell of the deepest feature map


class LearningToDownsample(nn.Module):
    """Section 3.2.1: three strided layers, shared by both branches; output at 1/8."""

    def __init__(
        self,
        in_channels: int,
        dw_channels: Sequence[int],
        out_channels: int,
        padding: int,
        norm_cfg: dict,
        dw_act_cfg: dict | None,
    ):
        super().__init__()
        dw1, dw2 = dw_channels
        self.conv = ConvModule(
            in_channels,
            dw1,
            kernel_size=3,
            stride=2,
            padding=padding,
            norm_cfg=norm_cfg,
        )
        separable = dict(
            kernel_size=3, stride=2, padding=1, norm_cfg=norm_cfg, dw_act_cfg=dw_act_cfg
        )
        self.dsconv1 = DepthwiseSeparableConvModule(dw1, dw2, **separable)
        self.dsconv2 = DepthwiseSeparableConvModule(dw2, out_channels, **separable)

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
        depthwise = dict(kernel_size=3, stride=stride, padding=1, groups=hidden)
        self.conv = nn.Sequential(
            ConvModule(in_channels, hidden, kernel_size=1, norm_cfg=norm_cfg),
            ConvModule(hidden, hidden, norm_cfg=norm_cfg, **depthwise),
            ConvModule(
                hidden, out_channels, kernel_size=1, norm_cfg=norm_cfg, act_cfg=None
            ),
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(x)
        return out.add_(x) if self.use_residual else out


class PyramidPool(nn.Module):
    """Average over a grid of `bins` x `bins` cells.

    Args:
        bins: Cells of the grid along each axis.
        form: How it is computed; see `adaptive_avg_pool` and `use_pooling_form`.
    """

    def __init__(self, bins: int, form: PoolingForm = 'matrix'):
        super().__init__()
        self.bins = bins
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        return adaptive_avg_pool(x, self.bins, self.form)


def use_pooling_form(model: nn.Module, form: PoolingForm) -> None:
    """Have every pyramid of a model pool in one form; see `adaptive_avg_pool`."""
    for part in model.modules():
        if isinstance(part, PyramidPool):
            part.form = form


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
        super().__init__(
            nn.Sequential(
                PyramidPool(scale),
                ConvModule(in_channels, channels, kernel_size=1, norm_cfg=norm_cfg),
            )
            for scale in pool_scales
        )
        self.align_corners = align_corners

    def forward(self, x: Tensor) -> list[Tensor]:
        size = x.shape[2:]
        return [
            F.interpolate(
                level(x), size, mode='bilinear', align_corners=self.align_corners
            )
            for level in self
        ]


class GlobalFeatureExtractor(nn.Module):
    """Section 3.2.2: three stages of bottlenecks, then the pyramid; output at 1/32."""

    def __init__(
        self,
        in_channels: int,
        block_channels: Sequence[int],
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
        block = dict(expand_ratio=expand_ratio, norm_cfg=norm_cfg)
        width1, width2, deepest = block_channels
        stride1, stride2, stride3 = strides
        count1, count2, count3 = num_blocks
        self.bottleneck1 = bottlenecks(in_channels, width1, stride1, count1, **block)
        self.bottleneck2 = bottlenecks(width1, width2, stride2, count2, **block)
        self.bottleneck3 = bottlenecks(width2, deepest, stride3, count3, **block)
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
    in_channels: int, out_channels: int, stride: int, count: int, **block
) -> nn.Sequential:
    """Build a stage of bottlenecks; only the first has the stride."""
    first = InvertedResidual(in_channels, out_channels, stride=stride, **block)
    others = [
        InvertedResidual(out_channels, out_channels, stride=1, **block)
        for _ in range(count - 1)
    ]
    return nn.Sequential(first, *others)


class FeatureFusionModule(nn.Module):
    """Section 3.2.3: bring 1/32 up to 1/8, add the detail of the shallow branch."""

    def __init__(
        self,
        higher_in_channels: int,
        lower_in_channels: int,
        out_channels: int,
        bias: bool,
        norm_cfg: dict,
        align_corners: bool,
    ):
        super().__init__()
        self.align_corners = align_corners
        self.dwconv = ConvModule(
            lower_in_channels,
            out_channels,
            kernel_size=3,
            padding=1,
            groups=out_channels,
            norm_cfg=norm_cfg,
        )
        linear = dict(kernel_size=1, bias=bias, norm_cfg=norm_cfg, act_cfg=None)
        with warnings.catch_warnings():  # a bias before BN is idle, and meant
            warnings.simplefilter('ignore')
            self.conv_lower_res = ConvModule(out_channels, out_channels, **linear)
            self.conv_higher_res = ConvModule(
                higher_in_channels, out_channels, **linear
            )

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
        dw_act_cfg: Activation after the depthwise convolutions of the downsampling;
            the paper's form: `dict(type='ReLU')`.
        pyramid_kernel: Kernel of the convolution after the pyramid; the paper's form:
            1.
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
        super().__init__(
            init_cfg
            or [
                dict(type='Kaiming', layer='Conv2d'),
                dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
            ]
        )
        check_equal(
            higher_in_channels=higher_in_channels, global_in_channels=global_in_channels
        )
        check_equal(
            lower_in_channels=lower_in_channels, global_out_channels=global_out_channels
        )
        check_one_per_stage(
            global_block_channels=global_block_channels,
            global_block_strides=global_block_strides,
            num_blocks=num_blocks,
        )
        norm_cfg = norm_cfg or dict(type='BN')
        self.out_indices = tuple(out_indices)
        self.learning_to_downsample = LearningToDownsample(
            in_channels=in_channels,
            dw_channels=downsample_dw_channels,
            out_channels=global_in_channels,
            padding=downsample_padding,
            norm_cfg=norm_cfg,
            dw_act_cfg=dw_act_cfg,
        )
        self.global_feature_extractor = GlobalFeatureExtractor(
            in_channels=global_in_channels,
            block_channels=global_block_channels,
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
            higher_in_channels=higher_in_channels,
            lower_in_channels=lower_in_channels,
            out_channels=fusion_out_channels,
            bias=fusion_bias,
            norm_cfg=norm_cfg,
            align_corners=align_corners,
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
        if min(x.shape[2:]) < SMALLEST_INPUT:
            raise ValueError(
                f'The image is {x.shape[2]}x{x.shape[3]} (h x w); Fast-SCNN needs at '
                f'least {SMALLEST_INPUT} pixels each way. Resize or pad it.'
            )
        higher = self.learning_to_downsample(x)  # (64, 128, 256)
        lower = self.global_feature_extractor(higher)  # (128, 32, 64)
        fused = self.feature_fusion(higher, lower)  # (128, 128, 256)
        features = (higher, lower, fused)
        return tuple(features[i] for i in self.out_indices)


def check_equal(**channels: int) -> None:
    """Raise ValueError if two settings of one map's channels differ."""
    (name, value), (source, expected) = channels.items()
    if value != expected:
        raise ValueError(
            f'{name}={value} but {source}={expected}: the fusion reads that map, so '
            f'give both the same value.'
        )


def check_one_per_stage(**settings: Sequence[int]) -> None:
    """Raise ValueError if a setting has not one value for each of three stages."""
    for name, values in settings.items():
        if len(values) != 3:
            raise ValueError(
                f'{name}={values} has {len(values)} values; Fast-SCNN has three stages '
                f'of bottlenecks, so give three.'
            )
