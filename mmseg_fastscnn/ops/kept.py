"""Tensors that depend only on sizes, computed once and kept."""

from collections.abc import Callable
from functools import lru_cache, wraps

import torch
from torch import Tensor, nn


def kept(build: Callable) -> Callable:
    """Keep what `build(*settings, device)` returns for its last 64 arguments.

    The function that results is called `f(*settings, like=tensor)`; `device` is the
    tensor's. All settings must be hashable, and nobody may change what is returned.
    """

    @lru_cache(maxsize=64)  # as many sizes as ms+flip has, several times over
    def keep(*arguments):
        # tensors of inference mode could not be used in training later on
        with torch.inference_mode(False), torch.no_grad():
            return build(*arguments)

    @wraps(build)
    def call(*settings, like: Tensor):
        find = keep if may_be_kept(like) else build
        return find(*settings, like.device)

    return call


def may_be_kept(like: Tensor) -> bool:
    """Whether tensors for the size of `like` are plain numbers of a fixed size.

    They are not in a graph that is traced, exported or compiled: a tensor from before
    would be a constant of the graph, which then fits one size only.
    """
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return not traced and type(like) in (Tensor, nn.Parameter)  # and not fake ones
