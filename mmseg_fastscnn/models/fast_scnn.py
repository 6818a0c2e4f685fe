"""Fast-SCNN, the backbone: arXiv 1902.04502, section 3, from top to bottom.

By default four details are not the paper's but mmsegmentation's, whose weights then
fit; four options of `FastSCNN` bring the paper's own form back. Shapes in the margin
are for an image of (3, 1024, 2048).
"""

import warnings
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmseg_fastscnn.ops.pyramid_pool import adaptive_avg_pool
from mmseg_fastscnn.ops.row_bands import in_row_bands
from mmseg_fastscnn.registry import MODELS

SMALLEST_INPUT = 32  # pixels: one cell of the deepest feature map


class LearningToDownsample(nn.Module):
    """Section 3.2.1: three strided layers, shared by both branches; output at 1/8."""

    def __init__(
        self, in_channels, dw_channels, out_channels, padding, norm_cfg, dw_act_cfg
    ):
        super().__init__()
        dw1, dw2 = dw_channels
        self.conv = ConvModule(in_channels, dw1, 3, 2, padding, norm_cfg=norm_cfg)
        separable = dict(
            kernel_size=3, stride=2, padding=1, norm_cfg=norm_cfg, dw_act_cfg=dw_act_cfg
        )
        self.dsconv1 = DepthwiseSeparableConvModule(dw1, dw2, **separable)
        self.dsconv2 = DepthwiseSeparableConvModule(dw2, out_channels, **separable)

    def forward(self, x: Tensor) -> Tensor:
        layers = [
            self.conv,  # (32, 512, 1024)
            self.dsconv1,  # (48, 256, 512)
            self.dsconv2,  # (64, 128, 256)
        ]
        return in_row_bands(layers, x, stride=8)


class InvertedResidual(nn.Module):
    """MobileNetV2's bottleneck (table 2): expand, depthwise, project, add."""

    def __init__(self, in_channels, out_channels, stride, expand_ratio, norm_cfg):
        super().__init__()
        hidden = in_channels * expand_ratio
        self.stride = stride
        self.use_residual = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            ConvModule(in_channels, hidden, 1, norm_cfg=norm_cfg),
            ConvModule(
                hidden, hidden, 3, stride, padding=1, groups=hidden, norm_cfg=norm_cfg
            ),
            ConvModule(hidden, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None),
        )

    def forward(self, x: Tensor) -> Tensor:
        out = in_row_bands([self.conv], x, self.stride)
        return out.add_(x) if self.use_residual else out


class PyramidPool(nn.Module):
    """Average over a grid of `bins` x `bins` cells; see `ops/pyramid_pool.py`."""

    def __init__(self, bins: int):
        super().__init__()
        self.bins = bins

    def forward(self, x: Tensor) -> Tensor:
        return adaptive_avg_pool(x, self.bins)


class PPM(nn.ModuleList):
    """Pyramid pooling module: context at `pool_scales` grids, back at x's size."""

    def __init__(self, pool_scales, in_channels, channels, norm_cfg, align_corners):
        super().__init__(
            nn.Sequential(
                PyramidPool(scale),
                ConvModule(in_channels, channels, 1, norm_cfg=norm_cfg),
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
    """Section 3.2.2: nine bottlenecks, then the pyramid; output at 1/32."""

    def __init__(
        self,
        in_channels,
        block_channels,
        out_channels,
        strides,
        pyramid_kernel,
        norm_cfg,
        align_corners,
        num_blocks=(3, 3, 3),
        expand_ratio=6,
        pool_scales=(1, 2, 3, 6),
    ):
        super().__init__()

        def bottlenecks(index: int) -> nn.Sequential:
            widths = (in_channels, *block_channels)
            before, width = widths[index], widths[index + 1]
            return nn.Sequential(
                *(
                    InvertedResidual(
                        width if k else before,
                        width,
                        1 if k else strides[index],
                        expand_ratio,
                        norm_cfg,
                    )
                    for k in range(num_blocks[index])
                )
            )

        self.bottleneck1 = bottlenecks(0)
        self.bottleneck2 = bottlenecks(1)
        self.bottleneck3 = bottlenecks(2)
        deepest = block_channels[2]
        per_level = deepest // len(pool_scales)
        self.ppm = PPM(pool_scales, deepest, per_level, norm_cfg, align_corners)
        self.out = ConvModule(
            deepest + per_level * len(pool_scales),
            out_channels,
            pyramid_kernel,
            padding=pyramid_kernel // 2,
            norm_cfg=norm_cfg,
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.bottleneck1(x)  # (64, 64, 128)
        x = self.bottleneck2(x)  # (96, 32, 64)
        x = self.bottleneck3(x)  # (128, 32, 64)
        x = torch.cat([x, *self.ppm(x)], dim=1)  # (256, 32, 64)
        return self.out(x)  # (128, 32, 64)


class FeatureFusionModule(nn.Module):
    """Section 3.2.3: bring 1/32 up to 1/8, add the detail of the shallow branch."""

    def __init__(
        self,
        higher_in_channels,
        lower_in_channels,
        out_channels,
        bias,
        norm_cfg,
        align_corners,
    ):
        super().__init__()
        self.align_corners = align_corners
        self.dwconv = ConvModule(
            lower_in_channels,
            out_channels,
            3,
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
        )
        lower = in_row_bands([self.dwconv, self.conv_lower_res], lower, stride=1)
        return F.relu_(self.conv_higher_res(higher).add_(lower))


@MODELS.register_module()
class FastSCNN(BaseModule):
    """The whole backbone: learning to downsample, global features, fusion.

    Args:
        in_channels: Channels of the image.
        downsample_dw_channels: Widths of the first two downsampling layers.
        global_in_channels: Width of the 1/8 map that both branches start from.
        global_block_channels: Width of each of the three bottleneck stages.
        global_block_strides: Stride of each stage.
        global_out_channels: Width of the 1/32 map.
        higher_in_channels: Must equal `global_in_channels`.
        lower_in_channels: Must equal `global_out_channels`.
        fusion_out_channels: Width of the fused 1/8 map.
        out_indices: Which of (1/8 map, 1/32 map, fused map) to return, in order.
        downsample_padding: Of the first convolution; the paper's form: 0.
        dw_act_cfg: Activation after the depthwise convolutions of the downsampling;
            the paper's form: `dict(type='ReLU')`.
        pyramid_kernel: Of the convolution after the pyramid; the paper's form: 1.
        fusion_bias: Bias in the two 1x1 convolutions of the fusion; the paper's form,
            as Tramac/Fast-SCNN-pytorch has it: True.
        norm_cfg: Normalisation layer, `dict(type='BN')` or `dict(type='SyncBN')`.
        align_corners: Passed to every bilinear interpolation.
        init_cfg: mmengine's weight initialisation; default Kaiming.
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
        for name, value, source, expected in [
            ('higher', higher_in_channels, 'global_in_channels', global_in_channels),
            ('lower', lower_in_channels, 'global_out_channels', global_out_channels),
        ]:
            if value != expected:
                raise ValueError(
                    f'{name}_in_channels={value} but {source}={expected}: the fusion '
                    f'reads that map, so give both the same value.'
                )
        norm_cfg = norm_cfg or dict(type='BN')
        self.out_indices = tuple(out_indices)
        self.learning_to_downsample = LearningToDownsample(
            in_channels,
            downsample_dw_channels,
            global_in_channels,
            downsample_padding,
            norm_cfg,
            dw_act_cfg,
        )
        self.global_feature_extractor = GlobalFeatureExtractor(
            global_in_channels,
            global_block_channels,
            global_out_channels,
            global_block_strides,
            pyramid_kernel,
            norm_cfg,
            align_corners,
        )
        self.feature_fusion = FeatureFusionModule(
            higher_in_channels,
            lower_in_channels,
            fusion_out_channels,
            fusion_bias,
            norm_cfg,
            align_corners,
        )

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
