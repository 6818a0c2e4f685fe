"""A segmentor that takes the camera's frame: what is exported."""

import copy
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_fastscnn.models.inference import use_pooling_form
from mmseg_fastscnn.models.views import with_background
from mmseg_fastscnn.ops.cell_argmax import cell_argmax
from mmseg_fastscnn.ops.upsample_argmax import upsample_argmax

Output = Literal['labels', 'logits', 'probabilities']


class FrameModel(nn.Module):
    """From frames (N, H, W, C) uint8, BGR, to labels, logits or probabilities.

    The order of channels and the division by `std` are folded into the first
    convolution. The mean is subtracted, since the convolution pads with zeros after
    that.

    Args:
        model: From `init_model`; it is not changed.
        output: 'labels' (N, H, W) uint8, 'logits' (N, C, h, w) as they leave the
            network, of padded frames where the model pads them, or 'probabilities'
            (N, C, H, W).
        pooling: Form of the pyramid's pooling, see `PyramidPool`.

    Raises:
        ValueError: The model is not in its inference form.
    """

    def __init__(
        self,
        model: nn.Module,
        output: Output = 'logits',
        pooling: Literal['matrix', 'operator'] = 'matrix',
    ):
        super().__init__()
        if not model.for_inference_only:
            raise ValueError('Call model.for_inference() before the model is exported.')
        model = copy.deepcopy(model)
        use_pooling_form(model, pooling)
        self.output = output
        self.backbone, self.decode_head = model.backbone, model.decode_head
        self.align_corners = model.align_corners
        self.size_divisor = model.data_preprocessor.test_cfg.get('size_divisor', 1)
        self.threshold = (
            model.decode_head.threshold if model.out_channels == 1 else None
        )
        channels = self.backbone.first_conv.in_channels
        mean = fold_into(self.backbone.first_conv, model.data_preprocessor, channels)
        self.register_buffer('mean', mean)

    def forward(self, frame: Tensor) -> Tensor:
        if self.output == 'labels':  # for onnxruntime, where bytes move faster
            return self.of_planes(frame.permute(0, 3, 1, 2).float())
        return self.of_planes(frame.float().permute(0, 3, 1, 2))  # TensorRT moves none

    def of_planes(self, x: Tensor) -> Tensor:
        """Do the same with frames of (N, C, H, W) float32, 0..255."""
        height, width = x.shape[2:]
        if self.mean is not None:
            x = x - self.mean
        if (divisor := self.size_divisor) > 1:
            # -side % divisor; but pnnx would compute that as C does, and crop
            below, right = ((divisor - s % divisor) % divisor for s in (height, width))
            x = F.pad(x, (0, right, 0, below))
        size = (x.shape[2], x.shape[3])
        x = x.to(self.backbone.first_conv.weight.dtype)
        logits = self.decode_head(self.backbone(x)).float()
        if self.output == 'logits':
            return logits
        if self.output == 'labels':
            if self.threshold is not None:
                logits = with_background(logits, self.threshold)
            labels = label_map(logits, *size, self.align_corners)
            return labels if self.size_divisor == 1 else labels[:, :height, :width]
        options = dict(mode='bilinear', align_corners=self.align_corners)
        logits = F.interpolate(logits, size, **options)
        if self.size_divisor > 1:
            logits = logits[..., :height, :width]
        return logits.sigmoid() if self.threshold is not None else logits.softmax(1)


def fold_into(conv: nn.Conv2d, preprocessor: nn.Module, channels: int) -> Tensor | None:
    """Make a convolution read BGR minus the mean; return this mean, (C, 1, 1)."""
    order = list(range(channels))
    if preprocessor.bgr_to_rgb:
        order[:3] = order[2::-1]
    weight = conv.weight.data
    mean = preprocessor.mean
    if mean is not None:
        std, mean = (
            values.flatten().expand(channels)
            for values in (preprocessor.std, preprocessor.mean)
        )
        weight = weight / std.view(1, -1, 1, 1).to(weight.dtype)
        mean = mean[order].view(-1, 1, 1).clone()
    conv.weight.data = weight[:, order].contiguous(memory_format=torch.channels_last)
    return mean


@torch.library.custom_op('mmseg_fastscnn::label_map', mutates_args=())
def label_map(logits: Tensor, height: int, width: int, align_corners: bool) -> Tensor:
    """Return the best class of each pixel of interpolated logits, (N, H, W) uint8.

    It is one operator, so that each format can have its own form of it.
    """
    size = (height, width)
    if logits.device.type != 'cpu':
        return upsample_argmax(logits, [size], align_corners)
    images = logits.detach().contiguous().numpy()
    labels = [cell_argmax(image, size, align_corners) for image in images]
    return torch.from_numpy(np.stack(labels))


@label_map.register_fake
def label_map_shape(
    logits: Tensor, height: int, width: int, align_corners: bool
) -> Tensor:
    return logits.new_empty((logits.shape[0], height, width), dtype=torch.uint8)
