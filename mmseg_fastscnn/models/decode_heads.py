"""From features to class logits: the main head and the auxiliary ones.

Both kinds of head are convolutions, dropout and a 1x1 classifier; they differ in the
kind of convolution. Logits stay at the features' resolution; `loss` upsamples them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmseg_fastscnn.models.checks import checked_channels, checked_threshold
from mmseg_fastscnn.models.distillation import DistillationLoss, SoftTargets
from mmseg_fastscnn.models.head_losses import check_losses, loss_at_full_size
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import IGNORED, with_ignored


@MODELS.register_module()
class FCNHead(BaseModule):
    """`num_convs` convolutions, dropout, classifier.

    Args:
        in_channels: Channels of the feature map that is read.
        channels: Channels of the convolutions.
        num_classes: Number of classes, at most 255; usually given once, on the
            segmentor.
        out_channels: Channels of the logits; by default `num_classes`. For two classes
            it may be 1: the logit of class 1 against class 0, for a sigmoid loss.
        threshold: Probability over which a single channel means class 1; by default
            0.3, as in mmsegmentation.
        num_convs: Number of convolutions, at least 1.
        kernel_size: Size of their kernels.
        concat_input: Join the input to the convolutions' output with one more.
        in_index: Which of the backbone's feature maps to read.
        dropout_ratio: Share of channels dropped before the classifier.
        norm_cfg: Config of the normalisation layers.
        align_corners: Passed to every bilinear interpolation of this head's logits.
        ignore_index: A label that no loss and no accuracy counts, besides `IGNORED`.
        loss_decode: Config of a loss, or a list of them; losses of one name are added.
        sampler: Config of an `OHEMPixelSampler`, which selects the hard pixels that
            the losses, all of them `CrossEntropyLoss`, are summed over.
        init_cfg: mmengine's weight initialisation.

    Raises:
        ValueError: Classes, channels, losses and sampler do not fit together.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        num_classes: int | None = None,
        out_channels: int | None = None,
        threshold: float | None = None,
        num_convs: int = 2,
        kernel_size: int = 3,
        concat_input: bool = True,
        in_index: int = -1,
        dropout_ratio: float = 0.1,
        norm_cfg: dict | None = None,
        align_corners: bool = False,
        ignore_index: int = IGNORED,
        loss_decode: dict | Sequence[dict] = dict(type='CrossEntropyLoss'),  # noqa: B006
        sampler: dict | None = None,
        init_cfg: dict | None = None,
    ):
        override = dict(name='conv_seg')
        super().__init__(init_cfg or dict(type='Normal', std=0.01, override=override))
        owner = type(self).__name__
        self.in_index = in_index
        self.out_channels = checked_channels(owner, num_classes, out_channels)
        self.num_classes = num_classes
        single = (num_classes, self.out_channels) == (2, 1)
        self.threshold = checked_threshold(threshold, single)
        self.align_corners = align_corners
        self.ignore_index = ignore_index

        layer = dict(kernel_size=kernel_size, padding=kernel_size // 2)
        layer['norm_cfg'] = norm_cfg or dict(type='BN')
        widths = [in_channels] + [channels] * num_convs
        self.convs = nn.Sequential(
            *(self.conv_layer(*pair, **layer) for pair in pairwise(widths))
        )
        self.conv_cat = None
        if concat_input:
            self.conv_cat = self.conv_layer(in_channels + channels, channels, **layer)
        self.dropout = nn.Dropout2d(dropout_ratio)
        self.conv_seg = nn.Conv2d(channels, self.out_channels, kernel_size=1)
        losses = [loss_decode] if isinstance(loss_decode, dict) else loss_decode
        self.loss_decode = nn.ModuleList(MODELS.build(loss) for loss in losses)
        self.sampler = None if sampler is None else MODELS.build(sampler)
        check_losses(self.loss_decode, sampler is not None, single)

    def conv_layer(self, in_channels: int, out_channels: int, **layer) -> nn.Module:
        """Build one of the head's convolutions, with its normalisation and ReLU."""
        return ConvModule(in_channels, out_channels, **layer)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits (N, out_channels, h, w) at the feature map's resolution."""
        x = features[self.in_index]  # decode head: (128, 128, 256)
        out = self.convs(x)  # (128, 128, 256)
        if self.conv_cat is not None:
            out = self.conv_cat(torch.cat([x, out], dim=1))
        return self.conv_seg(self.dropout(out))  # (out_channels, 128, 256)

    def loss(
        self,
        features: Sequence[Tensor],
        label: Tensor,
        soft: SoftTargets | None = None,
    ) -> dict[str, Tensor]:
        """Return each loss under its name, and `acc_seg` in percent.

        Args:
            features: The backbone's feature maps.
            label: (N, H, W) train ids.
            soft: Soft labels, for `DistillationLoss`.
        """
        logits = self(features)
        label = with_ignored(label, self.ignore_index)
        options, result = {}, {}
        if self.sampler is not None:
            options['counted'], correct = self.sampler.sample(
                logits, label, self.loss_decode, self.align_corners
            )
        for loss in self.loss_decode:
            if isinstance(loss, DistillationLoss):
                value = loss(logits, soft, self.align_corners)
            else:
                form = upsampled_form(loss, self.threshold)
                value, hits = form(logits, label, self.align_corners, **options)
            result[loss.loss_name] = result.get(loss.loss_name, 0) + value
        if self.sampler is None:
            correct = hits
        labelled = (label != IGNORED).sum().clamp(min=1)
        result['acc_seg'] = 100 * correct / labelled
        return result


@MODELS.register_module()
class DepthwiseSeparableFCNHead(FCNHead):
    """`FCNHead` with depthwise separable convolutions: the paper's classifier.

    Args:
        dw_act_cfg: Activation after the depthwise convolutions; the paper's form:
            `dict(type='ReLU')`.
        kwargs: See `FCNHead`.
    """

    def __init__(self, *, dw_act_cfg: dict | None = None, **kwargs):
        self.dw_act_cfg = dw_act_cfg
        super().__init__(**kwargs)

    def conv_layer(self, in_channels: int, out_channels: int, **layer) -> nn.Module:
        return DepthwiseSeparableConvModule(
            in_channels, out_channels, dw_act_cfg=self.dw_act_cfg, **layer
        )


def upsampled_form(
    loss: nn.Module, threshold: float | None = None
) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return what computes a loss from logits of any size: (value, correct pixels).

    That is `loss.of_upsampled`; but `loss_at_full_size` where there is none, where a
    derived class has changed `forward`, and for a single channel (`threshold` given).
    """
    for kind in type(loss).__mro__ if threshold is None else ():
        if 'of_upsampled' in vars(kind):
            return loss.of_upsampled
        if 'forward' in vars(kind):
            break
    return partial(loss_at_full_size, loss, threshold)
