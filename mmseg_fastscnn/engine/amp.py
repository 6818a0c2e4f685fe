"""Mixed precision on any device."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmseg_fastscnn.engine.compiling import is_compiled
from mmseg_fastscnn.machine import low_precision, warn_of_slow_bfloat16
from mmseg_fastscnn.registry import OPTIM_WRAPPERS

# Gradients that overflow with this factor are over 6e7.
LEAST_SCALE = 2.0**-10


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(OptimWrapper):
    """mmengine's `AmpOptimWrapper` for any device, without deprecated calls.

    Args:
        dtype: 'float16' or 'bfloat16'; by default float16 on CUDA, bfloat16 elsewhere.
        loss_scale: 'dynamic', a number, or arguments of `torch.amp.GradScaler`; with
            bfloat16 no scaling is needed and none is done.
        kwargs: Arguments of `OptimWrapper` (`optimizer`, `accumulative_counts`,
            `clip_grad`).

    Raises:
        ValueError: `dtype` is none of these, or is float16 on a CPU.
    """

    def __init__(
        self,
        dtype: str | None = None,
        loss_scale: str | float | Mapping = 'dynamic',
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.device_type = get_device()
        dtype = dtype or str(low_precision()).removeprefix('torch.')
        if dtype not in ('float16', 'bfloat16'):
            raise ValueError(f"dtype is {dtype!r}; use 'float16' or 'bfloat16'.")
        if dtype == 'float16' and self.device_type == 'cpu':
            raise ValueError("float16 does not train on a CPU; use dtype='bfloat16'.")
        self.dtype = getattr(torch, dtype)
        warn_of_slow_bfloat16(self.dtype)
        scaling = dict(growth_interval=2**31 - 1)  # a given number never grows
        if loss_scale == 'dynamic':
            scaling = {}
        elif isinstance(loss_scale, Mapping):
            scaling = dict(loss_scale)
        else:
            scaling['init_scale'] = float(loss_scale)
        self.scaler = torch.amp.GradScaler(
            self.device_type, enabled=self.dtype == torch.float16, **scaling
        )

    @contextmanager
    def optim_context(self, model: nn.Module):
        """Run the forward pass in low precision."""
        # a layer that is patched anew in each step would be compiled anew
        patches = self.device_type == 'cpu' and not is_compiled(model)
        with (
            super().optim_context(model),
            torch.autocast(self.device_type, dtype=self.dtype),
            slow_layers_in_float32(model) if patches else nullcontext(),
        ):
            yield

    def backward(self, loss: Tensor, **kwargs) -> None:
        super().backward(self.scaler.scale(loss), **kwargs)

    def step(self, **kwargs) -> None:
        """Unscale, clip if configured, and step unless a gradient overflowed.

        In float16 this waits for the device: whether a gradient overflowed decides on
        the CPU whether there is a step. Clipping waits too, since its norm is logged.
        """
        if self.clip_grad_kwargs:
            self.scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.scaler.step(self.optimizer, **kwargs)
        self.scaler.update()

    def check_scale(self) -> None:
        """Check that gradients do not overflow in float16 whatever they are scaled by.

        The scaler skips such a step and halves the scale, so that of a run which
        overflows in every step nothing is trained and the scale becomes 0.

        Raises:
            ValueError: The scale is less than any that a trained network needs.
        """
        scale = self.scaler.get_scale()
        if scale < LEAST_SCALE:
            raise ValueError(
                f'Training stops: the gradients overflow in float16 in every step, '
                f'even when scaled by {scale:.2g}. Use bfloat16 '
                f"(optim_wrapper.dtype='bfloat16'), lower the learning rate "
                f'(optim_wrapper.optimizer.lr), or leave out --amp.'
            )

    def state_dict(self) -> dict:
        state = super().state_dict()
        return dict(state, loss_scaler=self.scaler.state_dict())

    def load_state_dict(self, state_dict: dict) -> None:
        state_dict = dict(state_dict)
        scaler = state_dict.pop('loss_scaler', None)
        if scaler and self.scaler.is_enabled():
            self.scaler.load_state_dict(scaler)
        super().load_state_dict(state_dict)


@contextmanager
def slow_layers_in_float32(model: nn.Module) -> Iterator[None]:
    """Compute strided depthwise convolutions in float32 inside this context.

    On CPUs their backward pass takes five times as long in bfloat16 (oneDNN) as in
    float32: a sixth of a training step, for four layers.
    """
    slow = [
        layer
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d) and layer.groups > 1 < max(layer.stride)
    ]
    for layer in slow:
        layer.forward = partial(forward_in_float32, layer)
    try:
        yield
    finally:  # a patched layer would be exported, copied and saved with the model
        for layer in slow:
            del layer.forward


def forward_in_float32(layer: nn.Conv2d, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return type(layer).forward(layer, x.to(layer.weight.dtype)).to(x.dtype)
