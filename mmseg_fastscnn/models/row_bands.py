"""Layers applied to an image in bands of rows, whose inner maps fit a CPU's cache."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg_fastscnn.ops import host

BAND_BYTES = 4 << 20  # size of a band's input; the maps inside are several times that
ELEMENTWISE = (nn.Identity, nn.ReLU, nn.ReLU6, nn.PReLU, nn.LeakyReLU)
ELEMENTWISE += (nn.Hardswish, nn.SiLU, nn.GELU)
NEAR_ROWS_ONLY = (nn.Conv2d, _BatchNorm, nn.Dropout, nn.Dropout2d, *ELEMENTWISE)


class RowBands(nn.Module):
    """Layers applied one after the other, in bands of rows where that is faster.

    The whole image is one band where gradients may be asked for; in training; on a
    GPU, which is fastest with large maps; in a graph that is traced, exported or
    compiled, which would be split for one size; and with layers that are not known to
    look at near rows only, such as GroupNorm.

    Args:
        layers: Row i of their result must be made of no more than rows
            (i - margin) * stride to (i + margin) * stride of the input. At the upper
            and lower edge of what they are given they may pad.
        stride: Rows of the input per row of the result.
        margin: See `layers`.
        residual: Add the input to the result.
    """

    def __init__(
        self,
        *layers: nn.Module,
        stride: int = 1,
        margin: int = 1,
        residual: bool = False,
    ):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.stride = stride
        self.margin = margin
        self.residual = residual
        self.near_rows_only = all(
            isinstance(part, NEAR_ROWS_ONLY)
            for part in self.layers.modules()
            if not any(True for _ in part.children())  # it does what its parts do
        )

    def forward(self, x: Tensor) -> Tensor:
        rows = self._rows_per_band(x)
        out = self.layers(x) if rows is None else self._in_bands(x, rows)
        return out.add_(x) if self.residual else out

    def _rows_per_band(self, x: Tensor) -> int | None:
        """Return how many rows of the result are computed at once; None for all."""
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if traced or torch.is_grad_enabled() or x.device.type != host.HOST:
            return None
        if self.training or not self.near_rows_only:
            return None
        bytes_per_row = self.stride * x.element_size() * (x.numel() // x.shape[2])
        rows = max(1, BAND_BYTES // bytes_per_row)
        return rows if rows * self.stride < x.shape[2] else None

    def _in_bands(self, x: Tensor, rows: int) -> Tensor:
        """Return the layers' result, in channels_last."""
        stride, margin, result = self.stride, self.margin, None
        height = -(-x.shape[2] // stride)
        for first in range(0, height, rows):
            above = min(first, margin)
            until = stride * (first + rows + margin - 1) + 1
            band = self.layers(x[:, :, stride * (first - above) : until])
            band = band[:, :, above : above + rows]
            if result is None:
                result = torch.empty(
                    (*band.shape[:2], height, band.shape[3]),
                    dtype=band.dtype,
                    memory_format=torch.channels_last,
                )
            stop = first + band.shape[2]
            result[:, :, first:stop] = band
        return result[:, :, :stop]  # without padding, it may have a row less
