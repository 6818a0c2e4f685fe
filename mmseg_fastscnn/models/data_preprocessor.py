"""From a batch of samples as they were read to what the network reads."""

from collections.abc import Mapping, Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmseg_fastscnn.models.checks import (
    TestPadding,
    check_mean_and_std,
    check_test_padding,
    refuse_channels,
    refuse_several_sizes,
    refuse_size,
)
from mmseg_fastscnn.models.photometric import build_photometric, seeds_of
from mmseg_fastscnn.models.views import note_padding
from mmseg_fastscnn.ops import host
from mmseg_fastscnn.ops.image_batch import (
    Normalisation,
    batch_at_once,
    moved,
    with_padded_labels,
)
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import IGNORED, SegDataSample


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
            size. Predictions are cropped back.

    Attributes:
        dtype: Type of the inputs; see `EncoderDecoder.for_inference`.

    Raises:
        ValueError: `mean` and `std` are not a pair, `test_cfg` has other keys than one
            of those two, or `photometric` an option that is not known.
    """

    dtype = torch.float32

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr_to_rgb: bool = False,
        size: Sequence[int] | None = None,
        pad_val: float = 0,
        seg_pad_val: int = IGNORED,
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
        here = torch.empty(0, dtype=torch.uint8)
        self.register_buffer('here', here, persistent=False)

    @property
    def device(self) -> torch.device:
        """Where images go: where the weights are.

        mmengine's models note that only in their own `to` and `cuda`, which are not
        called where the model is a part of another module.
        """
        return self.here.device

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
        pads_labels = training and self.size is not None
        size = tuple(self.size) if pads_labels else self._common_size(images)
        how = self._normalisation(images, size, training)
        if how.colours is not None:
            how = how._replace(seeds=seeds_of(samples))
        if samples is not None:
            samples = self._moved(samples, size if pads_labels else None)
        before = tuple(images[0].shape[1:])
        if not training and before != size:
            samples = note_padding(samples, len(images), before, size)
        if self.device.type == host.HOST:
            inputs = self._batch_by_channel(images, size, how)
        else:
            inputs = batch_at_once(images, size, how, self.device)
        return dict(inputs=inputs, data_samples=samples)

    def _common_size(self, images: Sequence[Tensor]) -> tuple[int, int]:
        """Return the (h, w) of all images, padded as `test_cfg` says."""
        shapes = {tuple(image.shape[1:]) for image in images}
        if len(shapes) > 1:
            refuse_several_sizes(shapes)
        return self.padded_size(*shapes)

    def padded_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (h, w) that test images of (h, w) are padded to."""
        divisor = self.test_cfg.get('size_divisor', 1)
        multiple = tuple(-(-length // divisor) * divisor for length in size)
        return tuple(self.test_cfg.get('size', multiple))

    def _moved(
        self, samples: Sequence[SegDataSample], size: tuple[int, int] | None
    ) -> list[SegDataSample]:
        """Bring samples to the device, and their labels to `size` (h, w) if given."""
        on_host = self.device.type == host.HOST
        if size is not None:
            labels = [s.gt_sem_seg.data for s in samples if 'gt_sem_seg' in s]
            if len(labels) < len(samples):
                return samples  # the model says what is missing
            # on a CPU, labels of that size, the usual ones, are not copied
            if not on_host or any(label.shape[1:] != size for label in labels):
                return with_padded_labels(samples, size, self.seg_pad_val, self.device)
        move = SegDataSample.to if on_host else moved
        return [move(sample, self.device) for sample in samples]

    def _normalisation(
        self, images: Sequence[Tensor], size: tuple[int, int], training: bool
    ) -> Normalisation:
        """Say what is done to images; refuse those that do not fit."""
        channels = len(images[0])
        for image in images:
            if image.shape[1] > size[0] or image.shape[2] > size[1]:
                refuse_size(image, size)
        if self.mean is not None and len(self.mean) not in (1, channels):
            refuse_channels(channels, len(self.mean))
        order = list(range(channels))
        if self.bgr_to_rgb:
            order[:3] = order[2::-1]
        colours = self.photometric if training else None
        settings = (self.mean, self.std, self.pad_val, self.dtype, colours)
        return Normalisation(tuple(order), *settings)

    def _batch_by_channel(
        self, images: Sequence[Tensor], size: tuple[int, int], how: Normalisation
    ) -> Tensor:
        """Do what `batch_at_once` does, one channel at a time, in a CPU's cache."""
        shape = (len(images), len(how.order), *size)
        result = torch.empty(shape, dtype=how.dtype, memory_format=torch.channels_last)
        if any(image.shape[1:] != size for image in images):
            result.fill_(how.pad_val)
        for n, (image, place) in enumerate(zip(images, result, strict=True)):
            channels = [image[k] for k in how.order]
            if how.colours is not None:
                seed = how.seeds and how.seeds[n : n + 1]
                channels = how.colours(torch.stack(channels), seed)
            for k, channel in enumerate(channels):
                channel = channel.to(torch.float32, copy=True)
                if how.mean is not None:
                    at = k % len(how.mean)  # there may be one value for all channels
                    channel.sub_(how.mean[at]).div_(how.std[at])
                place[k, : image.shape[1], : image.shape[2]] = channel
        return result
