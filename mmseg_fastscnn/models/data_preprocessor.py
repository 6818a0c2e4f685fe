"""From a batch of uint8 samples to what the network reads."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from mmengine.structures import PixelData
from torch import Tensor

from mmseg_fastscnn.models.photometric import build_photometric
from mmseg_fastscnn.registry import MODELS


@MODELS.register_module()
class SegDataPreProcessor(BaseDataPreprocessor):
    """Stack, move to the device, bring BGR to RGB, normalise, pad.

    Args:
        mean: One value a channel, after the channel swap, in 0..255.
        std: Likewise.
        bgr_to_rgb: Swap the first three channels.
        size: (h, w) that training images and labels are padded to, right and bottom.
        pad_val: Value of padded pixels after normalisation.
        seg_pad_val: Label of padded pixels.
        photometric: Change the colours of training images here, on the device, as
            `PhotoMetricDistortion` in the pipeline does, with these options of it
            ({}: its defaults). Remove that step from the pipeline.

    Attributes:
        dtype: Of the inputs; see `EncoderDecoder.for_inference`.

    Raises:
        ValueError: `photometric` has an option that `PhotoMetricDistortion` has not.
    """

    dtype = torch.float32

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        bgr_to_rgb: bool = False,
        size: Sequence[int] | None = None,
        pad_val: float = 0,
        seg_pad_val: int = 255,
        photometric: Mapping | None = None,
    ):
        super().__init__()
        self.photometric = None
        if photometric is not None:
            self.photometric = build_photometric(photometric, bgr_to_rgb)
        self.bgr_to_rgb = bgr_to_rgb
        self.size = size
        self.pad_val = pad_val
        self.seg_pad_val = seg_pad_val
        for name, value in [('mean', mean), ('std', std)]:
            value = torch.tensor(value, dtype=torch.float32).view(-1, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Return `inputs` (N, C, H, W), channels_last, and the `data_samples`.

        Args:
            data: `inputs`, a list of (C, H, W) uint8; `data_samples`, a list, or
                nothing where there are no labels.
            training: Pad images and labels to `size`.

        Raises:
            ValueError: The images differ in size, or one is larger than `size`.
        """
        data = self.cast_data(data)
        images, samples = data['inputs'], data.get('data_samples')
        if training and self.size is not None:
            size = tuple(self.size)
            for image, sample in zip(images, samples, strict=True):
                check_fits(image, size)
                if 'gt_sem_seg' in sample:  # otherwise the loss says what is missing
                    label = padded(sample.gt_sem_seg.data, size, self.seg_pad_val)
                    sample.gt_sem_seg = PixelData(data=label)
        else:
            shapes = sorted({tuple(image.shape[1:]) for image in images})
            if len(shapes) > 1:
                raise ValueError(
                    f'The images of a batch have different sizes (h, w): {shapes}. Use '
                    f'batch_size=1, or resize or crop them to one size.'
                )
            size = shapes[0]
        inputs = torch.empty(
            (len(images), len(images[0]), *size),
            dtype=self.dtype,
            device=images[0].device,
            memory_format=torch.channels_last,
        )
        for image, place in zip(images, inputs, strict=True):
            channels = [*image]
            if self.bgr_to_rgb:
                channels[:3] = channels[2::-1]
            if training and self.photometric is not None:
                channels = self.photometric(torch.stack(channels))
            mean, std = (v.expand(len(channels), 1, 1) for v in (self.mean, self.std))
            for k, channel in enumerate(channels):
                channel = channel.float().sub_(mean[k]).div_(std[k])
                place[k].copy_(padded(channel, size, self.pad_val))
        return dict(inputs=inputs, data_samples=samples)


def check_fits(image: Tensor, size: tuple[int, int]) -> None:
    """Raise ValueError if (C, H, W) is larger than `size` (h, w)."""
    if image.shape[1] > size[0] or image.shape[2] > size[1]:
        raise ValueError(
            f'A training image has {tuple(image.shape[1:])} pixels (h, w), more than '
            f"the data preprocessor's size {size}. Crop to that size, or set "
            f'model.data_preprocessor.size to the crop size.'
        )


def padded(image: Tensor, size: tuple[int, int], value: float) -> Tensor:
    """Pad (..., H, W) at the right and the bottom to `size` (h, w)."""
    bottom, right = size[0] - image.shape[-2], size[1] - image.shape[-1]
    if bottom or right:
        image = F.pad(image, (0, right, 0, bottom), value=value)
    return image
