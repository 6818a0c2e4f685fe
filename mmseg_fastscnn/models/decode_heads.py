"""From features to class logits: the main head and the auxiliary ones.

Both heads are convolutions, dropout and a 1x1 classifier; they differ in the kind of
convolution. Logits stay at the features' resolution; `loss` upsamples them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmseg_fastscnn.registry import MODELS


@MODELS.register_module()
class FCNHead(BaseModule):
    """`num_convs` convolutions, dropout, classifier.

    Args:
        in_channels: Channels of the feature map that is read.
        channels: Channels of the convolutions.
        num_classes: Number of classes; usually given once, on the segmentor.
        num_convs: Number of convolutions, at least 1.
        kernel_size: Their kernel.
        concat_input: Join the input to the convolutions' output with one more.
        in_index: Which of the backbone's feature maps to read.
        dropout_ratio: Share of channels dropped before the classifier.
        norm_cfg: Normalisation layer.
        align_corners: Passed to every bilinear interpolation of this head's logits.
        ignore_index: The label that no loss and no accuracy counts.
        loss_decode: One loss, or a list of losses with different `loss_name`.
        init_cfg: mmengine's weight initialisation.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        num_classes: int | None = None,
        num_convs: int = 2,
        kernel_size: int = 3,
        concat_input: bool = True,
        in_index: int = -1,
        dropout_ratio: float = 0.1,
        norm_cfg: dict | None = None,
        align_corners: bool = False,
        ignore_index: int = 255,
        loss_decode: dict | Sequence[dict] = dict(type='CrossEntropyLoss'),  # noqa: B006
        init_cfg: dict | None = None,
    ):
        override = dict(name='conv_seg')
        super().__init__(init_cfg or dict(type='Normal', std=0.01, override=override))
        if num_classes is None:
            raise ValueError(
                f'{type(self).__name__} has no num_classes. Give it once for all '
                f'heads, model=dict(num_classes=N), or on the head.'
            )
        self.in_index = in_index
        self.num_classes = num_classes
        self.align_corners = align_corners
        self.ignore_index = ignore_index

        layer = dict(
            kernel_size=kernel_size,
            padding=kernel_size // 2,
            norm_cfg=norm_cfg or dict(type='BN'),
        )
        widths = [in_channels] + [channels] * num_convs
        self.convs = nn.Sequential(
            *(
                self.conv_layer(before, after, **layer)
                for before, after in pairwise(widths)
            )
        )
        self.conv_cat = (
            self.conv_layer(in_channels + channels, channels, **layer)
            if concat_input
            else None
        )
        self.dropout = nn.Dropout2d(dropout_ratio)
        self.conv_seg = nn.Conv2d(channels, num_classes, kernel_size=1)
        losses = [loss_decode] if isinstance(loss_decode, dict) else loss_decode
        self.loss_decode = nn.ModuleList(MODELS.build(loss) for loss in losses)

    def conv_layer(self, in_channels: int, out_channels: int, **layer) -> nn.Module:
        """Build one of the head's convolutions, with its normalisation and ReLU."""
        return ConvModule(in_channels, out_channels, **layer)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits (N, num_classes, h, w) at the feature map's resolution."""
        x = features[self.in_index]  # decode head: (128, 128, 256)
        out = self.convs(x)  # (128, 128, 256)
        if self.conv_cat is not None:
            out = self.conv_cat(torch.cat([x, out], dim=1))
        return self.conv_seg(self.dropout(out))  # (num_classes, 128, 256)

    def loss(self, features: Sequence[Tensor], label: Tensor) -> dict[str, Tensor]:
        """Return each loss under its name, and `acc_seg` in percent.

        Args:
            features: The backbone's feature maps.
            label: (N, H, W) train ids.
        """
        logits = self(features)
        result = {}
        for loss in self.loss_decode:
            result[loss.loss_name], correct = upsampled_form(loss)(
                logits, label, self.ignore_index, self.align_corners
            )
        labelled = (label != self.ignore_index).sum().clamp(min=1)
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


def upsampled_form(loss: nn.Module) -> Callable[..., tuple[Tensor, Tensor]]:
    """`loss.of_upsampled`, unless a class derived from its own changes `forward`."""
    for kind in type(loss).__mro__:
        if 'of_upsampled' in vars(kind):
            return loss.of_upsampled
        if 'forward' in vars(kind):
            break
    return partial(plain_loss, loss)


def plain_loss(
    loss: nn.Module,
    logits: Tensor,
    label: Tensor,
    ignore_index: int,
    align_corners: bool,
) -> tuple[Tensor, Tensor]:
    """`of_upsampled` for losses that have none: upsample, then call them."""
    logits = F.interpolate(
        logits.float(), label.shape[1:], mode='bilinear', align_corners=align_corners
    )
    label = label.long()
    correct = (logits.argmax(1) == label) & (label != ignore_index)
    return loss(logits, label, ignore_index), correct.sum()
