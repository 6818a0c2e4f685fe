"""Image in, losses or label map out."""

from collections.abc import Sequence
from typing import TypedDict

import torch
import torch.nn.functional as F
from mmcv.cnn import fuse_conv_bn
from mmengine.model import BaseModel, BaseTTAModel, ModuleList, is_model_wrapper
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmseg_fastscnn.ops.upsample_argmax import upsample_argmax
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import SegDataSample


class TestCfg(TypedDict, total=False):
    """How to predict; sizes are (h, w). The config check reads the keys here."""

    mode: str
    crop_size: tuple[int, int]
    stride: tuple[int, int]


@MODELS.register_module()
class EncoderDecoder(BaseModel):
    """Backbone, decode head and auxiliary heads (used in training only).

    `num_classes`, `norm_cfg` and `align_corners` given here reach the backbone and
    every head that does not set its own, so another data set is
    `model=dict(num_classes=11)`.

    Args:
        backbone: Config of the backbone.
        decode_head: Config of the head that predicts.
        auxiliary_head: Config, or list of configs, of heads that only add losses.
        num_classes: Default of the heads.
        norm_cfg: Default of backbone and heads.
        align_corners: Default of backbone and heads.
        train_cfg: Part of every mmsegmentation config; has no option here.
        test_cfg: `dict(mode='whole')`, or `dict(mode='slide', crop_size=(h, w),
            stride=(h, w))` for windows whose overlapping logits are averaged.
        data_preprocessor: Config of `SegDataPreProcessor`.
        init_cfg: mmengine's weight initialisation.
    """

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        auxiliary_head: dict | Sequence[dict] | None = None,
        num_classes: int | None = None,
        norm_cfg: dict | None = None,
        align_corners: bool | None = None,
        train_cfg: dict | None = None,
        test_cfg: TestCfg | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ):
        if isinstance(data_preprocessor, dict):
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        shared = dict(norm_cfg=norm_cfg, align_corners=align_corners)
        for_heads = dict(shared, num_classes=num_classes)
        self.backbone = build(backbone, shared)
        self.decode_head = build(decode_head, for_heads)
        if isinstance(auxiliary_head, dict):
            self.auxiliary_head = build(auxiliary_head, for_heads)
        else:
            self.auxiliary_head = ModuleList(  # mmengine's: it initialises its items
                build(head, for_heads) for head in auxiliary_head or ()
            )
        self.test_cfg = checked_test_cfg(test_cfg or dict(mode='whole'))
        self.to(memory_format=torch.channels_last)

    @property
    def num_classes(self) -> int:
        return self.decode_head.num_classes

    @property
    def align_corners(self) -> bool:
        return self.decode_head.align_corners

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample] | None = None,
        mode: str = 'tensor',
    ) -> dict[str, Tensor] | list[SegDataSample] | Tensor:
        """Run `loss`, `predict` or, with mode 'tensor', backbone and decode head.

        Args:
            inputs: (N, C, H, W), normalised.
            data_samples: One an image; needed for 'loss'.
            mode: 'loss', 'predict' or 'tensor' (logits at 1/8 resolution).
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.decode_head(self.extract_feat(inputs))
        raise ValueError(f"mode is {mode!r}; it must be 'loss', 'predict' or 'tensor'.")

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the backbone's features; in channels_last, twice as fast on CPUs."""
        dtype = next(self.backbone.parameters()).dtype
        return self.backbone(inputs.to(dtype, memory_format=torch.channels_last))

    def loss(
        self, inputs: Tensor, data_samples: list[SegDataSample]
    ) -> dict[str, Tensor]:
        """Return the losses and accuracies of all heads, `decode.loss_ce` and so on."""
        if not all('gt_sem_seg' in sample for sample in data_samples):
            raise ValueError(
                'There are images without labels in the training data. Set '
                'data_prefix.seg_map_path, and have LoadAnnotations in the pipeline.'
            )
        label = torch.stack([sample.gt_sem_seg.data[0] for sample in data_samples])
        features = self.extract_feat(inputs)
        heads = {'decode': self.decode_head}
        if isinstance(self.auxiliary_head, ModuleList):
            heads |= {f'aux_{k}': head for k, head in enumerate(self.auxiliary_head)}
        else:
            heads['aux'] = self.auxiliary_head
        return {
            f'{prefix}.{name}': value
            for prefix, head in heads.items()
            for name, value in head.loss(features, label).items()
        }

    def predict(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample] | None = None,
        with_logits: bool = False,
    ) -> list[SegDataSample]:
        """Return the samples with `pred_sem_seg`, a label map at `ori_shape`.

        A flipped image's labels are flipped back. Without samples, new ones of the
        input's size are made.

        Args:
            inputs: (N, C, H, W), normalised.
            data_samples: One an image.
            with_logits: Add `seg_logits` at `ori_shape`, which takes longer than all
                else and 4 * num_classes bytes a pixel.
        """
        if data_samples is None:
            size = tuple(inputs.shape[2:])
            data_samples = [
                SegDataSample(metainfo=dict(ori_shape=size)) for _ in inputs
            ]
        coarse = self.coarse_logits(inputs)
        for sample, logits in zip(data_samples, coarse, strict=True):
            logits = flipped_back(logits, sample)[None]
            sizes = [inputs.shape[2:], sample.ori_shape]
            labels = upsample_argmax(logits, sizes, self.align_corners)
            sample.pred_sem_seg = PixelData(data=labels)
            if with_logits:
                for size in sizes:
                    logits = self.upsample(logits, size)
                sample.seg_logits = PixelData(data=logits[0])
        return data_samples

    def inference(self, inputs: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) at the size of the inputs."""
        return self.upsample(self.coarse_logits(inputs), inputs.shape[2:])

    def coarse_logits(self, inputs: Tensor) -> Tensor:
        """Return logits (N, num_classes, h, w) as they come, to be interpolated.

        They are at 1/8 of the inputs' size; with `mode='slide'`, where windows are
        averaged, at all of it.
        """
        if self.test_cfg['mode'] == 'slide':
            return self._slide(inputs)
        return self(inputs, mode='tensor').float()

    def upsample(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """Interpolate logits (N, C, h, w) bilinearly to `size` (h, w)."""
        return F.interpolate(
            logits, tuple(size), mode='bilinear', align_corners=self.align_corners
        )

    def _slide(self, inputs: Tensor) -> Tensor:
        size = inputs.shape[2:]
        shape = (len(inputs), self.num_classes, *size)
        total = torch.zeros(shape, device=inputs.device)
        count = torch.zeros(size, device=inputs.device)
        crop, stride = self.test_cfg['crop_size'], self.test_cfg['stride']
        for rows in windows(size[0], crop[0], stride[0]):
            for columns in windows(size[1], crop[1], stride[1]):
                window = inputs[..., rows, columns]
                logits = self(window, mode='tensor').float()
                total[..., rows, columns] += self.upsample(logits, window.shape[2:])
                count[rows, columns] += 1
        return total / count

    def for_inference(self, dtype: torch.dtype = torch.float32) -> 'EncoderDecoder':
        """Fold batch normalisation into the convolutions, in place; return the model.

        It then predicts the same, faster, but cannot be trained or load checkpoints.

        Args:
            dtype: Of the network's weights and activations, for instance
                `torch.bfloat16`; its logits become float32.
        """
        for part in (self.backbone, self.decode_head):
            folded = fuse_conv_bn(part.eval()).eval()  # it leaves parts in training
            folded.to(dtype, memory_format=torch.channels_last)
        self.data_preprocessor.dtype = dtype
        return self


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the segmentor inside of wrappers for data parallelism and ms+flip."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def flipped_back(logits: Tensor, sample: SegDataSample) -> Tensor:
    """Undo the flip of the image that logits (C, h, w) were predicted from."""
    if not sample.get('flip', False):
        return logits
    return logits.flip(dict(horizontal=2, vertical=1)[sample.flip_direction])


def build(cfg: dict, defaults: dict) -> nn.Module:
    """Build a part of the model; its own settings win over the defaults."""
    given = {key: value for key, value in defaults.items() if value is not None}
    return MODELS.build({**given, **cfg})


def windows(length: int, window: int, stride: int) -> list[slice]:
    """Cover `length` pixels; the last window is moved back to end at the edge."""
    count = max(length - window + stride - 1, 0) // stride + 1
    stops = [min(k * stride + window, length) for k in range(count)]
    return [slice(max(stop - window, 0), stop) for stop in stops]


def checked_test_cfg(test_cfg: TestCfg) -> TestCfg:
    """Return `test_cfg`; raise ValueError if it is not a way to predict."""
    mode = test_cfg.get('mode')
    if mode not in ('whole', 'slide'):
        raise ValueError(f"test_cfg.mode is {mode!r}; it must be 'whole' or 'slide'.")
    if mode == 'slide':
        crop, stride = test_cfg.get('crop_size'), test_cfg.get('stride')
        if not crop or not stride or stride[0] > crop[0] or stride[1] > crop[1]:
            raise ValueError(
                f"test_cfg.mode='slide' needs crop_size (h, w) and a stride (h, w) "
                f'that is not larger; found crop_size={crop}, stride={stride}.'
            )
    return test_cfg
