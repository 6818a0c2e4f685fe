"""Weights that come with the package, known by a name."""

from pathlib import Path

from torch import Tensor

SHIPPED = {'streets': Path(__file__).parent / 'fast_scnn_streets.safetensors'}


def shipped_weights(name: str) -> str:
    """Return the file of weights that the package has by this name, else the name."""
    return str(SHIPPED.get(name, name))


def to_ship(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what a start needs, in half the bytes.

    Auxiliary heads are left out, and kernels are in half precision. Normalisation keeps
    its precision: it is small, and variances need the range.
    """
    return {
        name: value.half() if value.dim() > 1 else value
        for name, value in state.items()
        if not name.startswith('auxiliary_head.')
    }
