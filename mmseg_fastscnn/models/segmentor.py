"""Image in, losses or label map out."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel, BaseTTAModel, ModuleList, is_model_wrapper
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmseg_fastscnn.models.inference import into_inference_form
from mmseg_fastscnn.models.sliding_window import (
    TestCfg,
    checked_test_cfg,
    mean_of_windows,
)
from mmseg_fastscnn.models.views import (
    changed_view,
    full_size_logits,
    with_background,
)
from mmseg_fastscnn.ops.bilinear import View
from mmseg_fastscnn.ops.upsample_argmax import upsample_argmax
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import SegDataSample


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

    Attributes:
        for_inference_only: Whether `for_inference` was called.

    Raises:
        ValueError: `test_cfg` is no way to predict.
    """

    for_inference_only = False

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
    def out_channels(self) -> int:
        """Channels of the logits: 1 for two classes told apart by a threshold."""
        return getattr(self.decode_head, 'out_channels', None) or self.num_classes

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
            data_samples: One per image; needed for 'loss'.
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
        if not all('gt_sem_seg' in sample for sample in data_samples or [()]):
            raise ValueError(
                'There are images without labels in the training data. Set '
                'data_prefix.seg_map_path, and have LoadAnnotations in the pipeline.'
            )
        label = torch.stack([sample.gt_sem_seg.data[0] for sample in data_samples])
        features = self.extract_feat(inputs)
        auxiliary = {'aux': self.auxiliary_head}
        if isinstance(self.auxiliary_head, ModuleList):
            auxiliary = {f'aux_{k}': h for k, h in enumerate(self.auxiliary_head)}
        heads = {'decode': self.decode_head, **auxiliary}
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

        Padding is removed, and a flipped image's labels are flipped back. Without
        samples, new ones of the input's size are made.

        Args:
            inputs: (N, C, H, W), normalised.
            data_samples: One per image.
            with_logits: Add `seg_logits` at `ori_shape`, which takes longer than all
                else and 4 * out_channels bytes per pixel.
        """
        size = tuple(inputs.shape[2:])
        if data_samples is None:
            data_samples = [
                SegDataSample(metainfo=dict(ori_shape=size)) for _ in inputs
            ]
        views = self.views(self.coarse_logits(inputs), size, data_samples)
        for sample, view in zip(data_samples, views, strict=True):
            sample.pred_sem_seg = PixelData(data=self.label_map(view))
            if with_logits:
                sample.seg_logits = PixelData(
                    data=full_size_logits(view, self.align_corners)
                )
        return data_samples

    def inference(self, inputs: Tensor) -> Tensor:
        """Return logits (N, out_channels, H, W) at the size of the inputs."""
        return F.interpolate(
            self.coarse_logits(inputs),
            inputs.shape[2:],
            mode='bilinear',
            align_corners=self.align_corners,
        )

    def coarse_logits(self, inputs: Tensor) -> Tensor:
        """Return logits (N, out_channels, h, w) as they come, to be interpolated.

        They are at 1/8 of the inputs' size; with `mode='slide'`, where windows are
        averaged, at all of it.
        """
        if self.test_cfg['mode'] == 'slide':
            return mean_of_windows(self, inputs, self.test_cfg)
        return self(inputs, mode='tensor').float()

    def views(
        self,
        coarse: Tensor,
        size: tuple[int, int],
        data_samples: Sequence[SegDataSample],
    ) -> list[View]:
        """Say how each image's `coarse_logits` become logits at the image's own size.

        Args:
            coarse: (N, out_channels, h, w).
            size: (h, w) of the inputs that they were computed from.
            data_samples: One per image.
        """
        return [
            changed_view(logits, size, sample)
            if 'pad_shape' in sample or sample.get('flip', False)
            else View(logits, [size, tuple(sample.ori_shape)])
            for logits, sample in zip(coarse, data_samples, strict=True)
        ]

    def label_map(self, view: View) -> Tensor:
        """Return the labels (1, H, W) uint8 of an image at its own size."""
        logits, sizes, window = view
        logits = logits[None]
        if self.out_channels == 1:
            logits = with_background(logits, self.decode_head.threshold)
        return upsample_argmax(logits, sizes, self.align_corners, window)

    def for_inference(self, dtype: torch.dtype = torch.float32) -> 'EncoderDecoder':
        """Bring backbone and decode head into their inference form; return the model.

        It then predicts the same, faster, but cannot be trained or load checkpoints.
        See `models/inference.py`. To call it again changes the dtype.

        Args:
            dtype: Type of the network's weights and activations, for instance
                `torch.bfloat16`; its logits become float32.
        """
        return into_inference_form(self, dtype)


def build(cfg: dict, defaults: dict) -> nn.Module:
    """Build a part of the model; its own settings win over the defaults."""
    given = {key: value for key, value in defaults.items() if value is not None}
    return MODELS.build({**given, **cfg})


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the segmentor inside of wrappers for data parallelism and ms+flip."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model
