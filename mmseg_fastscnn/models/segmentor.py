"""Image in, losses or label map out; how logits become labels is in `prediction.py`."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseTTAModel, ModuleList, is_model_wrapper
from torch import Tensor, nn

from mmseg_fastscnn.models.checks import refuse_unlabelled
from mmseg_fastscnn.models.distillation import soft_targets
from mmseg_fastscnn.models.prediction import BaseSegmentor
from mmseg_fastscnn.models.sliding_window import TestCfg, checked_test_cfg
from mmseg_fastscnn.models.width import with_width
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import SegDataSample


@MODELS.register_module()
class EncoderDecoder(BaseSegmentor):
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
        width: Factor of all channels but those of images and classes, see `width.py`.
        train_cfg: Part of every mmsegmentation config; has no option here.
        test_cfg: `dict(mode='whole')`, or `dict(mode='slide', crop_size=(h, w),
            stride=(h, w))` for windows whose overlapping logits are averaged.
        data_preprocessor: Config of `SegDataPreProcessor`.
        init_cfg: mmengine's weight initialisation.

    Raises:
        ValueError: `test_cfg` is no way to predict.
    """

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        auxiliary_head: dict | Sequence[dict] | None = None,
        num_classes: int | None = None,
        norm_cfg: dict | None = None,
        align_corners: bool | None = None,
        width: float = 1,
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
        if width != 1:
            backbone = with_width(backbone, width, fixed='in_channels')
        self.backbone = build(backbone, shared)

        def build_head(head: dict) -> nn.Module:
            if width != 1:
                head = with_width(head, width, fixed='out_channels')
            return build(head, for_heads)

        self.decode_head = build_head(decode_head)
        if isinstance(auxiliary_head, dict):
            self.auxiliary_head = build_head(auxiliary_head)
        else:  # mmengine's list: it initialises its items
            self.auxiliary_head = ModuleList(map(build_head, auxiliary_head or ()))
        self.test_cfg = checked_test_cfg(test_cfg or dict(mode='whole'))
        self.to(memory_format=torch.channels_last)

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
            by_graph = self.graphs is not None and not self.training
            return (self.graphs if by_graph else self.network)(inputs)
        raise ValueError(f"mode is {mode!r}; it must be 'loss', 'predict' or 'tensor'.")

    def network(self, inputs: Tensor) -> Tensor:
        """Return the decode head's logits (N, out_channels, H / 8, W / 8)."""
        return self.decode_head(self.extract_feat(inputs))

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the backbone's features; in channels_last, twice as fast on CPUs."""
        dtype = next(self.backbone.parameters()).dtype
        return self.backbone(inputs.to(dtype, memory_format=torch.channels_last))

    def heads_by_prefix(self) -> dict[str, nn.Module]:
        """Return all heads by what the names of their losses begin with."""
        auxiliary = {'aux': self.auxiliary_head}
        if isinstance(self.auxiliary_head, ModuleList):
            auxiliary = {f'aux_{k}': h for k, h in enumerate(self.auxiliary_head)}
        return {'decode': self.decode_head, **auxiliary}

    def loss(
        self, inputs: Tensor, data_samples: list[SegDataSample]
    ) -> dict[str, Tensor]:
        """Return the losses and accuracies of all heads, `decode.loss_ce` and so on."""
        if not all('gt_sem_seg' in sample for sample in data_samples or [()]):
            refuse_unlabelled()
        label = torch.stack([sample.gt_sem_seg.data[0] for sample in data_samples])
        options = {}
        soft = soft_targets(data_samples, tuple(inputs.shape[2:]), label.device)
        if soft is not None:  # heads of users may not know it
            options['soft'] = soft
        features = self.extract_feat(inputs)
        return {
            f'{prefix}.{name}': value
            for prefix, head in self.heads_by_prefix().items()
            for name, value in head.loss(features, label, **options).items()
        }


def build(cfg: dict, defaults: dict) -> nn.Module:
    """Build a part of the model; its own settings win over the defaults."""
    given = {key: value for key, value in defaults.items() if value is not None}
    return MODELS.build({**given, **cfg})


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the segmentor inside of wrappers for data parallelism and ms+flip."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model
