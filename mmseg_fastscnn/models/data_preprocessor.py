"""From a batch of samples as they were read to what the network reads."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.structures import PixelData
from torch import Tensor

from mmseg_fastscnn.models.photometric import build_photometric
from mmseg_fastscnn.ops.host import on_host
from mmseg_fastscnn.ops.image_batch import (
    Normalisation,
    batch_at_once,
    batch_by_channel,
    filled,
    padded,
    stacked,
    without_waiting,
)
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import SegDataSample


class TestPadding(TypedDict, total=False):
    """The config check reads the keys of `data_preprocessor.test_cfg` here."""

    size: Sequence[int]
    size_divisor: int


@MODELS.register_module()
class SegDataPreProcessor(BaseDataPreprocessor):
    """Stack, move to the device, bring BGR to RGB, normalise, pad.

    Args:
        mean: One value per channel, after the channel swap, in the images' units
            (0..255); or one for all channels. Without mean and std, values stay as
            they are.
        std: What is divided by, given like `mean`.
        bgr_to_rgb: Swap the first and the third channel.
        size: (h, w) that training images and labels are padded to, right and bottom.
        pad_val: Value of padded pixels after normalisation.
        seg_pad_val: Label of padded pixels.
        photometric: Change the colours of training images here, on the device, as
            `PhotoMetricDistortion` in the pipeline does, with these options of it
            ({}: its defaults). Remove that step from the pipeline.
        test_cfg: How images are padded when there is no training, right and bottom:
            `dict(size_divisor=32)` to the next multiple, `dict(size=(h, w))` to a
            size. Predictions are cut back.

    Attributes:
        dtype: Of the inputs; see `EncoderDecoder.for_inference`.

    Raises:
        ValueError: Only one of mean and std is given; they have different lengths;
            `test_cfg` has other keys than one of those two; or `photometric` has an
            option that `PhotoMetricDistortion` does not have.
    """

    dtype = torch.float32

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr_to_rgb: bool = False,
        size: Sequence[int] | None = None,
        pad_val: float = 0,
        seg_pad_val: int = 255,
        test_cfg: TestPadding | None = None,
        photometric: Mapping | None = None,
    ):
        super().__init__()
        check_mean_and_std(mean, std)
        check_test_padding(test_cfg)
        self.photometric = None
        if photometric is not None:
            self.photometric = build_photometric(photometric, bgr_to_rgb)
        self.bgr_to_rgb = bgr_to_rgb
        self.size = size
        self.pad_val = pad_val
        self.seg_pad_val = seg_pad_val
        self.test_cfg = test_cfg or {}
        for name, values in [('mean', mean), ('std', std)]:
            if values is not None:
                values = torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Return `inputs` (N, C, H, W), channels_last, and the `data_samples`.

        Args:
            data: `inputs`, a list of (C, H, W) uint8, uint16 or float32; and
                `data_samples`, a list, or nothing where there are no labels.
            training: Pad images and labels to `size`; otherwise, images as `test_cfg`
                says, and note it in the samples: `img_shape` before, `pad_shape` after.

        Raises:
            ValueError: The images differ in size, one is larger than what they are
                padded to, or they have not the channels that `mean` is for.
        """
        images, samples = list(data['inputs']), data.get('data_samples')
        pads = training and self.size is not None
        size = tuple(self.size) if pads else self._common_size(images)
        for image in images:
            check_fits(image, size)
        if pads:
            samples = self._with_padded_labels(samples, size)
        elif samples is not None:
            samples = [moved(sample, self.device) for sample in samples]
        if not training:
            samples = noting_padding(samples, images, size)
        how = self._normalisation(images[0], training)
        if on_host(self.device):
            inputs = batch_by_channel(images, size, how)
        else:
            inputs = batch_at_once(images, size, how, self.device)
        return dict(inputs=inputs, data_samples=samples)

    def _common_size(self, images: Sequence[Tensor]) -> tuple[int, int]:
        """Return the (h, w) of all images, padded as `test_cfg` says."""
        shapes = sorted({tuple(image.shape[1:]) for image in images})
        if len(shapes) > 1:
            raise ValueError(
                f'The images of a batch have different sizes (h, w): {shapes}. Use '
                f'batch_size=1, or resize or crop them to one size.'
            )
        divisor = self.test_cfg.get('size_divisor', 1)
        multiple = tuple(-(-length // divisor) * divisor for length in shapes[0])
        return tuple(self.test_cfg.get('size', multiple))

    def _with_padded_labels(
        self, samples: Sequence[SegDataSample], size: tuple[int, int]
    ) -> list[SegDataSample]:
        if samples is None or not all('gt_sem_seg' in sample for sample in samples):
            return samples  # the model says what is missing
        labels = [sample.gt_sem_seg.data for sample in samples]
        if len({label.shape for label in labels}) == 1:
            batch = padded(stacked(labels, self.device), size, self.seg_pad_val)
        else:
            batch = filled(labels, size, self.seg_pad_val, self.device)
        result = []
        for sample, label in zip(samples, batch.unbind(), strict=True):
            sample = sample.new()
            sample.gt_sem_seg = PixelData(data=label)
            result.append(sample)
        return result

    def _normalisation(self, image: Tensor, training: bool) -> Normalisation:
        """Say what is done to images like this one (C, H, W)."""
        channels = len(image)
        if self.mean is not None and len(self.mean) not in (1, channels):
            raise ValueError(
                f'The images have {channels} channels, and mean and std of the data '
                f'preprocessor {len(self.mean)} values. Give one value per channel '
                f'(model.data_preprocessor.mean, .std), and model.backbone.in_channels.'
            )
        colours = self.photometric if training else None
        order = list(range(channels))
        if self.bgr_to_rgb:
            order[:3] = order[2::-1]
        settings = (self.mean, self.std, self.pad_val, self.dtype, colours)
        return Normalisation(tuple(order), *settings)


def moved(sample: SegDataSample, device: torch.device) -> SegDataSample:
    """Return a copy of a sample with its tensors on a device."""
    result = sample.new()
    for name, part in sample.items():
        if isinstance(part, PixelData):
            part = PixelData(
                **{key: without_waiting(value, device) for key, value in part.items()}
            )
        elif hasattr(part, 'to'):
            part = part.to(device)
        result.set_field(part, name)
    return result


def noting_padding(
    samples: list[SegDataSample] | None,
    images: Sequence[Tensor],
    size: tuple[int, int],
) -> list[SegDataSample] | None:
    """Have samples say how their images are padded to `size` (h, w), if they are."""
    before = tuple(images[0].shape[1:])
    if before == size:
        return samples
    if samples is None:
        samples = [SegDataSample(metainfo=dict(ori_shape=before)) for _ in images]
    for sample in samples:
        # the image that Pad has padded before is still the one to cut to
        image = sample.img_shape if 'pad_shape' in sample else before
        sample.set_metainfo(dict(img_shape=image, pad_shape=size))
    return samples


def check_mean_and_std(
    mean: Sequence[float] | None, std: Sequence[float] | None
) -> None:
    """Raise ValueError if they are not both given, or not as many of each."""
    if (mean is None) != (std is None):
        given, missing = ('std', 'mean') if mean is None else ('mean', 'std')
        raise ValueError(
            f'The data preprocessor has {given} but no {missing}. Give both, or '
            f'neither for no normalisation.'
        )
    if mean is not None and len(mean) != len(std):
        raise ValueError(
            f'The data preprocessor has {len(mean)} values of mean and {len(std)} of '
            f'std. Give one of each per channel.'
        )


def check_test_padding(test_cfg: Mapping | None) -> None:
    """Raise ValueError if it is not `size` or `size_divisor` alone."""
    if test_cfg and set(test_cfg) not in ({'size'}, {'size_divisor'}):
        raise ValueError(
            f'data_preprocessor.test_cfg is {dict(test_cfg)}; it must be '
            f'dict(size_divisor=N) or dict(size=(h, w)).'
        )


def check_fits(image: Tensor, size: tuple[int, int]) -> None:
    """Raise ValueError if (C, H, W) is larger than `size` (h, w)."""
    if image.shape[1] > size[0] or image.shape[2] > size[1]:
        raise ValueError(
            f'An image has {tuple(image.shape[1:])} pixels (h, w), more than the size '
            f'{size} that the data preprocessor pads to. Crop to that size, or set '
            f'model.data_preprocessor.size (in training; otherwise test_cfg.size) to '
            f'the size of the images.'
        )
