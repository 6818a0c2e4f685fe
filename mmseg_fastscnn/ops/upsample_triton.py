"""Loss and label map of upsampled logits on CUDA, each pixel in registers.

A cell is what lies between four logits. Each thread has a column of pixels in one row
of cells, so it interpolates between columns once for all of them. It goes over the
classes: one kernel keeps the best, one the loss and its normaliser, and one adds up,
for the four corners of each cell, the gradients of the pixels in it. Nothing is added
by atomics: the result is the same every time.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmseg_fastscnn.ops.bilinear import source_position
from mmseg_fastscnn.structures import IGNORED

# Pixels that a program has side by side: one for each thread of a warp, the program's
# only one, so that no warp waits for another. Logits are read through the cache.
PIXELS = 32
# Pixels that a thread has one above the other, as a cell of 8 x 8 has: these share
# addresses, loads and the interpolation between columns, two thirds of the work for one
# pixel alone. Their registers leave room for 16 warps at a time or more, to hide the
# loads (benchmarks/triton_kernels.py). There is no autotuning: it would time kernels in
# the first steps of each size, and its choice would differ from run to run.
ROWS = 8
# One kernel is for all of these numbers. Triton would compile anew, for half a second,
# where one of them is 1 or a multiple of 16 for the first time; as a thread has one
# pixel across, nothing is gained by that.
NUMBERS = ('classes', 'h', 'w', 'height', 'width', 'chunks', 'ignored')
compiled_once = triton.jit(do_not_specialize=NUMBERS)


class Grid(NamedTuple):
    """Positions of an interpolation from (h, w) to (H, W), on the device.

    Attributes:
        y, x: (H,), (W,) Position of each output pixel among the input's.
        start_y, start_x: (h + 2,), (w + 2,) First output pixel of each cell, and the
            end. Cell j is between the input's pixels j - 1 and j; the first and the
            last are outside of them.
        most_y, most_x: How many output pixels a cell has down and across at most.
    """

    y: Tensor
    x: Tensor
    start_y: Tensor
    start_x: Tensor
    most_y: int
    most_x: int

    @property
    def rows(self) -> int:
        """How many pixels a thread has one above the other, a power of two."""
        return min(triton.next_power_of_2(self.most_y), ROWS)

    @property
    def chunks(self) -> int:
        """How many threads share the column of a cell."""
        return triton.cdiv(self.most_y, self.rows)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # so that training can use what is kept
def make_grid(
    shape: tuple[int, int],
    size: tuple[int, int],
    align_corners: bool,
    device: torch.device,
) -> Grid:
    """Prepare the interpolation from `shape` to `size`, both (h, w)."""
    axes = []
    for before, after in zip(shape, size, strict=True):
        position = source_position(before, after, align_corners)
        start = torch.searchsorted(position, torch.arange(-1.0, before))
        start[0] = 0
        start = torch.cat([start, torch.tensor([after])])
        axes.append((position.clamp(0, before - 1), start.int()))
    (y, start_y), (x, start_x) = axes
    most = (int(start.diff().max()) for start in (start_y, start_x))
    return Grid(*(t.to(device) for t in (y, x, start_y, start_x)), *most)


def argmax(logits: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """Return the best class of each pixel, (N, H, W) uint8; see `upsample_argmax`."""
    logits = logits.contiguous()
    count, classes, h, w = logits.shape
    height, width = size
    grid = make_grid((h, w), tuple(size), align_corners, logits.device)
    label = torch.empty((count, *size), dtype=torch.uint8, device=logits.device)
    programs = (count * (h + 1) * grid.chunks, triton.cdiv(width, PIXELS))
    with torch.cuda.device_of(logits):
        argmax_kernel[programs](
            *(logits, grid.y, grid.x, grid.start_y, label),
            *(classes, h, w, height, width, grid.chunks, grid.rows, PIXELS),
            num_warps=1,
        )
    return label


class TritonCrossEntropy(torch.autograd.Function):
    """The form of `UpsampleCrossEntropy` for CUDA, with the same arguments."""

    @staticmethod
    def forward(ctx, logits, label, use_sigmoid, class_weight, align_corners):
        exact = logits.detach().float().contiguous()
        count, classes, h, w = exact.shape
        height, width = size = label.shape[1:]
        grid = make_grid((h, w), tuple(size), align_corners, exact.device)
        if class_weight is None:
            class_weight = torch.ones(classes, device=exact.device)
        programs = (count * (h + 1) * grid.chunks, triton.cdiv(width, PIXELS))
        sums = torch.empty(programs, device=exact.device)
        hits = torch.empty(programs, dtype=torch.int32, device=exact.device)
        normaliser = torch.empty(label.shape, device=exact.device)
        label = label.contiguous()
        with torch.cuda.device_of(exact):
            loss_kernel[programs](
                *(exact, label, class_weight, grid.y, grid.x, grid.start_y),
                *(normaliser, sums, hits, classes, h, w, height, width, grid.chunks),
                *(IGNORED, use_sigmoid, grid.rows, PIXELS),
                num_warps=1,
            )
        ctx.save_for_backward(exact, label, class_weight, normaliser)
        ctx.settings = grid, use_sigmoid, logits.dtype
        total, correct = sums.double().sum().float(), hits.sum()
        ctx.mark_non_differentiable(correct)
        return total, correct

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, factor, _):
        exact, label, class_weight, normaliser = ctx.saved_tensors
        grid, use_sigmoid, dtype = ctx.settings
        count, classes, h, w = exact.shape
        corners = exact.new_empty((count, classes, h + 1, grid.chunks, w + 1, 4))
        across = triton.next_power_of_2(grid.most_x)
        side = max(PIXELS // across, 1)
        gradient_kernel[(count * (h + 1) * grid.chunks, triton.cdiv(w + 1, side))](
            *(exact, label, class_weight, grid.y, grid.x, grid.start_y, grid.start_x),
            *(normaliser, corners, classes, h, w, *label.shape[1:], grid.chunks),
            *(IGNORED, use_sigmoid, grid.rows, side, across),
            num_warps=1,
        )
        # a logit is a corner of four cells
        corners = corners.sum(3) if grid.chunks > 1 else corners[:, :, :, 0]
        a, b, c, d = corners.unbind(-1)
        upper = a[..., 1:, 1:] + b[..., 1:, :-1]
        gradient = upper + c[..., :-1, 1:] + d[..., :-1, :-1]
        return (gradient * factor).to(dtype), None, None, None, None


@triton.jit
def rows_of(ys, start_ys, h, chunks, ROWS: tl.constexpr):
    """The rows of pixels that a program has.

    Returns:
        Image, row of cells, rows (ROWS, 1), whether they are in these cells, and how
        far they are from the logits' row above.
    """
    n, j = tl.program_id(0) // chunks // (h + 1), tl.program_id(0) // chunks % (h + 1)
    first = tl.load(start_ys + j) + tl.program_id(0) % chunks * ROWS
    rows = first + tl.arange(0, ROWS)[:, None]
    inside = rows < tl.load(start_ys + j + 1)
    down = tl.load(ys + rows, mask=inside, other=0.0) - (j - 1)
    return n.to(tl.int64), j, rows, inside, down


@triton.jit
def columns_of(xs, width, w, PIXELS: tl.constexpr):
    """The columns of pixels that a program has.

    Returns:
        Columns (1, PIXELS), whether they are in the image, the logits' columns left and
        right of them, and how far they are from the left one.
    """
    columns = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)[None, :]
    inside = columns < width
    x = tl.load(xs + columns, mask=inside, other=0.0)
    left = x.to(tl.int32)
    return columns, inside, left, tl.minimum(left + 1, w - 1), x - left


@triton.jit
def above_and_below(plane, j, left, right, across, h, w, mask):
    """One class's logits above and below row j of cells, interpolated to columns."""
    top, bottom = tl.maximum(j - 1, 0) * w, tl.minimum(j, h - 1) * w
    a = tl.load(plane + top + left, mask=mask, other=0.0)
    b = tl.load(plane + top + right, mask=mask, other=0.0)
    c = tl.load(plane + bottom + left, mask=mask, other=0.0)
    d = tl.load(plane + bottom + right, mask=mask, other=0.0)
    return a * (1 - across) + b * across, c * (1 - across) + d * across


@triton.jit
def exp(z):
    """`tl.exp` without numbers below 1.2e-38, which take three instructions more."""
    return tl.exp2(z * 1.4426950408889634)


@triton.jit
def softplus(z):
    return tl.maximum(z, 0.0) + tl.log(1.0 + exp(-tl.abs(z)))


@compiled_once
def argmax_kernel(
    logits,
    ys,
    xs,
    start_ys,
    label,
    classes,
    h,
    w,
    height,
    width,
    chunks,
    ROWS: tl.constexpr,
    PIXELS: tl.constexpr,
):
    n, j, rows, in_rows, down = rows_of(ys, start_ys, h, chunks, ROWS)
    columns, inside, left, right, across = columns_of(xs, width, w, PIXELS)
    best = tl.full((ROWS, PIXELS), float('-inf'), dtype=tl.float32)
    found = tl.zeros((ROWS, PIXELS), dtype=tl.int32)
    for k in range(0, classes):
        plane = logits + (n * classes + k) * h * w
        above, below = above_and_below(plane, j, left, right, across, h, w, inside)
        z = above * (1 - down) + below * down
        found = tl.where(z > best, k, found)
        best = tl.maximum(best, z)
    place = label + (n * height + rows) * width + columns
    tl.store(place, found.to(tl.uint8), mask=inside & in_rows)


@compiled_once
def loss_kernel(
    logits,
    labels,
    class_weight,
    ys,
    xs,
    start_ys,
    normalisers,
    sums,
    hits,
    classes,
    h,
    w,
    height,
    width,
    chunks,
    ignored,
    USE_SIGMOID: tl.constexpr,
    ROWS: tl.constexpr,
    PIXELS: tl.constexpr,
):
    n, j, rows, in_rows, down = rows_of(ys, start_ys, h, chunks, ROWS)
    columns, inside, left, right, across = columns_of(xs, width, w, PIXELS)
    place = (n * height + rows) * width + columns
    label = tl.load(labels + place, mask=inside & in_rows, other=0).to(tl.int32)

    best = tl.full((ROWS, PIXELS), float('-inf'), dtype=tl.float32)
    total = tl.zeros((ROWS, PIXELS), dtype=tl.float32)
    # it stays NaN where the label is no class, and so the loss is NaN, too
    class_z = tl.full((ROWS, PIXELS), float('nan'), dtype=tl.float32)
    for k in range(0, classes):
        plane = logits + (n * classes + k) * h * w
        above, below = above_and_below(plane, j, left, right, across, h, w, inside)
        z = above * (1 - down) + below * down
        class_z = tl.where(label == k, z, class_z)
        if USE_SIGMOID:
            total += softplus(z)
        else:  # of exp(z - best), one exponential for each class
            smaller = exp(-tl.abs(z - best))
            total = tl.where(z > best, total * smaller + 1.0, total + smaller)
        best = tl.maximum(best, z)
    valid = inside & in_rows & (label != ignored)
    is_class = valid & (label >= 0) & (label < classes)
    weight = tl.load(class_weight + label, mask=is_class, other=0.0)
    if USE_SIGMOID:
        loss = total - class_z + (weight - 1.0) * softplus(-class_z)
    else:
        normaliser = best + tl.log(total)
        tl.store(normalisers + place, normaliser, mask=inside & in_rows)
        loss = weight * (normaliser - class_z)
    program = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    tl.store(sums + program, tl.sum(tl.where(valid, loss, 0.0)))
    hit = valid & (class_z >= best)
    tl.store(hits + program, tl.sum(hit.to(tl.int32)))


@compiled_once
def gradient_kernel(
    logits,
    labels,
    class_weight,
    ys,
    xs,
    start_ys,
    start_xs,
    normalisers,
    corners,
    classes,
    h,
    w,
    height,
    width,
    chunks,
    ignored,
    USE_SIGMOID: tl.constexpr,
    ROWS: tl.constexpr,
    CELLS: tl.constexpr,
    ACROSS: tl.constexpr,
):
    n, j, rows, in_rows, down = rows_of(ys, start_ys, h, chunks, ROWS)
    chunk = tl.program_id(0) % chunks
    # `ACROSS` threads for each of `CELLS` cells. They are one row of a tensor of two
    # axes: Triton 3.6 would spread the rows of three axes over threads, which takes
    # twice the instructions.
    thread = tl.arange(0, CELLS * ACROSS)[None, :]
    i = tl.program_id(1) * CELLS + thread // ACROSS
    inside = i <= w
    columns = tl.load(start_xs + i, mask=inside, other=0) + thread % ACROSS
    reached = columns < tl.load(start_xs + i + 1, mask=inside, other=0)
    across = tl.load(xs + columns, mask=reached, other=0.0) - (i - 1)
    left, right = tl.maximum(i - 1, 0), tl.minimum(i, w - 1)
    place, reached = (n * height + rows) * width + columns, in_rows & reached
    label = tl.load(labels + place, mask=reached, other=0).to(tl.int32)
    valid = reached & (label != ignored)
    is_class = valid & (label >= 0) & (label < classes)
    weight = tl.load(class_weight + label, mask=is_class, other=0.0)
    if not USE_SIGMOID:
        normaliser = tl.load(normalisers + place, mask=reached, other=0.0)
    cells = tl.program_id(1) * CELLS + tl.arange(0, CELLS)[:, None]
    for k in range(0, classes):
        plane = logits + (n * classes + k) * h * w
        above, below = above_and_below(plane, j, left, right, across, h, w, inside)
        z = above * (1 - down) + below * down
        if USE_SIGMOID:
            share = 1.0 / (1.0 + exp(-z))
            slope = tl.where(label == k, weight * (share - 1.0), share)
        else:
            share = exp(z - normaliser)
            slope = weight * tl.where(label == k, share - 1.0, share)
        slope = tl.where(valid, slope, 0.0)
        above, below = tl.sum(slope * (1 - down), axis=0), tl.sum(slope * down, axis=0)
        above, below = above[None, :], below[None, :]
        a = tl.sum(tl.reshape(above * (1 - across), (CELLS, ACROSS)), axis=1)
        b = tl.sum(tl.reshape(above * across, (CELLS, ACROSS)), axis=1)
        c = tl.sum(tl.reshape(below * (1 - across), (CELLS, ACROSS)), axis=1)
        d = tl.sum(tl.reshape(below * across, (CELLS, ACROSS)), axis=1)
        four = tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), (CELLS, 4))
        cell = (((n * classes + k) * (h + 1) + j) * chunks + chunk) * (w + 1) + cells
        tl.store(corners + 4 * cell + tl.arange(0, 4)[None, :], four, mask=cells <= w)
