"""The exact label map in ONNX's standard operators; see `ops/cell_argmax.py`.

Resizing all logits and taking the best class costs more than the network. Here, too,
only the cells whose corners differ are interpolated. Sizes may be dynamic.
"""

from typing import NamedTuple

from onnxscript import opset20 as op
from onnxscript.onnx_types import TensorType

FLOAT, UINT8, INT = 1, 2, 7  # of onnx.TensorProto


class Axis(NamedTuple):
    """One axis of the output, divided into `size + 1` cells, of which some are empty.

    Attributes:
        cell: (out,) The cell of each output pixel.
        low: (cells,) The input pixel before each cell.
        high: (cells,) The one after it.
        is_used: (cells,) Whether output pixels lie in it.
        pixels: (cells, most) These pixels; the last is repeated to fill up.
        weights: (cells, most, 2) Weights of `low` and `high` at these pixels.
    """

    cell: TensorType
    low: TensorType
    high: TensorType
    is_used: TensorType
    pixels: TensorType
    weights: TensorType


def one(value: int) -> TensorType:
    return op.Constant(value_ints=[value])


def number(value: float) -> TensorType:
    return op.Constant(value_float=value)


def label_map(logits, height, width, align_corners: bool):
    """Build the nodes from logits (N, C, h, w) to labels (N, height, width) uint8."""
    size_y = op.Shape(logits, start=2, end=3)
    size_x = op.Shape(logits, start=3, end=4)
    height, width = op.Reshape(height, one(1)), op.Reshape(width, one(1))
    y = axis_cells(size_y, height, align_corners)
    x = axis_cells(size_x, width, align_corners)
    winner = op.ArgMax(logits, axis=1, keepdims=0)  # (N, h, w)
    winner = op.Cast(winner, to=UINT8)
    first, *others = (
        op.Gather(op.Gather(winner, rows, axis=1), columns, axis=2)
        for rows in (y.low, y.high)
        for columns in (x.low, x.high)
    )
    mixed = op.Not(op.Equal(first, others[0]))
    for corner in others[1:]:
        mixed = op.Or(mixed, op.Not(op.Equal(first, corner)))
    mixed = op.And(mixed, op.And(op.Unsqueeze(y.is_used, one(1)), x.is_used))
    cells = op.NonZero(mixed)  # (3, M): image, row, column
    n, ky, kx = (op.Squeeze(op.Gather(cells, one(k), axis=0), one(0)) for k in range(3))

    # rows are copied whole: along the last axis, runtimes copy value by value
    label = op.Gather(op.Transpose(first, perm=[0, 2, 1]), x.cell, axis=1)
    label = op.Gather(op.Transpose(label, perm=[0, 2, 1]), y.cell, axis=1)

    last = op.Transpose(logits, perm=[0, 2, 3, 1])
    corners = [
        op.GatherND(last, columns_of(n, op.Gather(rows, ky), op.Gather(columns, kx)))
        for rows in (y.low, y.high)
        for columns in (x.low, x.high)
    ]  # (M, C)
    classes = op.Shape(logits, start=1, end=2)
    # no -1 in the shapes: where one class fills the frame, M is 0, which is not divided
    count = op.Shape(n)
    shape = op.Concat(count, one(2), one(2), classes, axis=0)
    corners = op.Reshape(op.Concat(*corners, axis=1), shape)  # (M, 2, 2, C)
    right = op.Unsqueeze(op.Gather(x.weights, kx), one(1))
    across = op.MatMul(right, corners)  # (M, 2, columns, C)
    width_of_cell = op.Mul(op.Shape(across, start=2, end=3), classes)
    across = op.Reshape(across, op.Concat(count, one(2), width_of_cell, axis=0))
    scores = op.MatMul(op.Gather(y.weights, ky), across)  # (M, rows, columns * C)
    rows, columns = op.Gather(y.pixels, ky), op.Gather(x.pixels, kx)
    pixels = op.Mul(op.Shape(rows, start=1), op.Shape(columns, start=1))
    scores = op.Reshape(scores, op.Concat(count, pixels, classes, axis=0))
    best = op.Cast(op.ArgMax(scores, axis=2, keepdims=0), to=UINT8)

    start = op.Unsqueeze(op.Mul(n, height), one(1))
    place = op.Unsqueeze(op.Mul(op.Add(start, rows), width), one(2))
    place = op.Add(place, op.Unsqueeze(columns, one(1)))  # (M, rows, columns)
    flat = op.ScatterElements(
        op.Reshape(label, one(-1)),
        op.Reshape(place, one(-1)),
        op.Reshape(best, one(-1)),
        axis=0,
    )
    return op.Reshape(flat, op.Concat(one(-1), height, width, axis=0))


def columns_of(*indices):
    """Join index vectors (M,) to (M, number of them)."""
    return op.Concat(*[op.Unsqueeze(index, one(1)) for index in indices], axis=1)


def axis_cells(size, out, align_corners: bool) -> Axis:
    """Build the nodes that divide the interpolation from `size` to `out` into cells.

    Args:
        size: (1,) int64, number of input pixels.
        out: (1,) int64, number of output pixels.
        align_corners: As in `torch.nn.functional.interpolate`.
    """
    k = op.Cast(op.Range(0, op.Squeeze(out), 1), to=FLOAT)
    inputs, outputs = op.Cast(size, to=FLOAT), op.Cast(out, to=FLOAT)
    if align_corners:
        unit = number(1.0)
        spaces = op.Max(op.Sub(outputs, unit), unit)
        source = op.Mul(k, op.Div(op.Sub(inputs, unit), spaces))
    else:
        half = number(0.5)
        source = op.Sub(op.Mul(op.Add(k, half), op.Div(inputs, outputs)), half)
    cell = op.Add(op.Cast(op.Floor(source), to=INT), one(1))
    index = op.Range(0, op.Squeeze(op.Add(size, one(1))), 1)
    is_earlier = op.Less(op.Unsqueeze(cell, one(0)), op.Unsqueeze(index, one(1)))
    first = op.ReduceSum(op.Cast(is_earlier, to=INT), one(1), keepdims=0)
    after = op.Concat(op.Slice(first, one(1), op.Add(size, one(1))), out, axis=0)
    count = op.Sub(after, first)
    steps = op.Range(0, op.ReduceMax(count, keepdims=0), 1)
    pixels = op.Add(op.Unsqueeze(first, one(1)), op.Unsqueeze(steps, one(0)))
    pixels = op.Min(pixels, op.Unsqueeze(op.Sub(after, one(1)), one(1)))
    pixels = op.Max(pixels, one(0))
    inside = op.Max(source, number(0.0))
    share = op.Gather(op.Sub(inside, op.Floor(inside)), pixels)
    rest = op.Sub(number(1.0), share)
    weights = op.Concat(op.Unsqueeze(rest, one(2)), op.Unsqueeze(share, one(2)), axis=2)
    low = op.Max(op.Sub(index, one(1)), one(0))
    high = op.Min(index, op.Sub(size, one(1)))
    return Axis(cell, low, high, op.Greater(count, one(0)), pixels, weights)
