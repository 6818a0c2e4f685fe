"""`torch.compile` for training: `fastscnn train --compile`, or a config's `compile`."""

from collections.abc import Mapping

import torch
from torch import nn


def compile_networks(model: nn.Module, options: Mapping | bool) -> None:
    """Compile a segmentor's backbone and each of its heads, in place.

    Nothing else of a step is compiled: the losses have kernels of their own, and what
    is round them is Python. A module that is compiled in place keeps the names in its
    state dict; its copies, with which a run validates and averages weights, are not
    compiled, so that they cost no second compilation.

    Args:
        model: An `EncoderDecoder`.
        options: Arguments of `torch.compile`, such as
            `dict(mode='reduce-overhead')`, with which each part is a CUDA graph; True
            for none.

    Raises:
        ValueError: The compiler does not work on this machine, or with these options.
    """
    options = {} if options is True else options
    if not isinstance(options, Mapping):
        raise ValueError(
            f'compile is {options!r}; it must be True, False or a dict of arguments '
            f'of torch.compile.'
        )
    check_compiler(next(model.parameters()).device, options)
    model.backbone.compile(**options)
    for head in model.heads_by_prefix().values():
        head.compile(**options)


def check_compiler(device: torch.device, options: Mapping) -> None:
    """Compile one addition; raise ValueError if that fails.

    The network takes minutes to compile, and fails with pages of text.
    """
    one = torch.ones(8, device=device)
    try:
        torch.compile(torch.add, **options)(one, one)
    except Exception as error:  # whatever compiler, driver or import say
        text = str(getattr(error, 'inner_exception', error)).strip() or repr(error)
        raise ValueError(
            f'torch.compile does not work here ({text.splitlines()[0]}). '
            f'On a CPU it needs a C++ compiler such as g++, on a GPU Triton and a C '
            f'compiler. Install them, or leave out --compile (compile in the config).'
        ) from error


def is_compiled(model: nn.Module) -> bool:
    """Return whether a part of a model is compiled."""
    return any(part._compiled_call_impl is not None for part in model.modules())
