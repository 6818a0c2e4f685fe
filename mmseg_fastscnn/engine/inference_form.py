"""Validation during training with the inference form of the network."""

import copy

from mmengine.hooks import Hook
from torch import nn

from mmseg_fastscnn.models import EncoderDecoder
from mmseg_fastscnn.models.segmentor import unwrapped


class InferenceFormHook(Hook):
    """Validate with a copy of the model in its inference form; train the model itself.

    The copy gives the same predictions in less time and memory. It is `runner.model`
    while a validation runs.
    """

    # after EMAHook (NORMAL) has put the averaged weights in, and before CheckpointHook
    # (VERY_LOW) writes the model that is trained
    priority = 'LOW'

    def __init__(self):
        self.trained: nn.Module | None = None

    def before_val_epoch(self, runner) -> None:
        self.trained, runner.model = runner.model, validated_form(runner.model)

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        if self.trained is not None:
            self.trained, runner.model = None, self.trained


def validated_form(model: nn.Module) -> nn.Module:
    """Return what a run validates: of a segmentor a copy in its inference form."""
    inner = unwrapped(model)
    return inference_copy(inner) if isinstance(inner, EncoderDecoder) else model


def inference_copy(model: EncoderDecoder) -> EncoderDecoder:
    """Return a copy of a segmentor in its inference form, without auxiliary heads."""
    # deepcopy takes what its memo has for an object instead of copying the object
    unused = {id(model.auxiliary_head): nn.ModuleList()}
    return copy.deepcopy(model, unused).for_inference()
