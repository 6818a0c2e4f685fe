"""Loss and label map of upsampled logits on CUDA, each pixel in registers.

Two kernels go over the output's pixels and interpolate class after class: one keeps
the best, one the loss and its normaliser. A third goes over the cells between the
logits and adds up, for the four corners of each, the gradients of the pixels in it, so
that a pixel is looked at once. Nothing is added by atomics: the result is the same
every time.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmseg_fastscnn.ops.bilinear import source_position
from mmseg_fastscnn.structures import IGNORED

# Output pixels that a program has side by side. With Triton's four warps
# each thread has one: its logits are read through the cache, neighbours in a row share
# them, and 32 to 40 registers without spills let at least 1,536 of a multiprocessor's
# 2,048 threads wait for memory at a time (benchmarks/triton_kernels.py). There is
# nothing to overlap by stages, and no autotuning: it would time kernels in the first
# steps of each size, and its choice would differ from run to run.
PIXELS = 128
# One kernel is for all of these numbers. Triton would compile anew, for half a second,
# where one of them is 1 or a multiple of 16 for the first time; as each thread has one
# pixel, nothing is gained by that.
NUMBERS = ('count', 'classes', 'h', 'w', 'height', 'width', 'ignored')
compiled_once = triton.jit(do_not_specialize=NUMBERS)


class Grid(NamedTuple):
    """Positions of an interpolation from (h, w) to (H, W), on the device.

    Attributes:
        y, x: (H,), (W,) Position of each output pixel among the input's.
        start_y, start_x: (h + 2,), (w + 2,) First output pixel of each cell, and the
            end. Cell j is between the input's pixels j - 1 and j; the first and the
            last are outside of them.
        most_x: How many output pixels a cell has across at most.
    """

    y: Tensor
    x: Tensor
    start_y: Tensor
    start_x: Tensor
    most_x: int


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
    most_x = int(start_x.diff().max())
    y, x, start_y, start_x = (t.to(device) for t in (y, x, start_y, start_x))
    return Grid(y, x, start_y, start_x, most_x)


def argmax(logits: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """Return the best class of each pixel, (N, H, W) uint8; see `upsample_argmax`."""
    logits = logits.contiguous()
    count, classes, h, w = logits.shape
    height, width = size
    grid = make_grid((h, w), tuple(size), align_corners, logits.device)
    label = torch.empty((count, *size), dtype=torch.uint8, device=logits.device)
    with torch.cuda.device_of(logits):
        argmax_kernel[(count * height, triton.cdiv(width, PIXELS))](
            logits, grid.y, grid.x, label, classes, h, w, height, width, PIXELS
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
        programs = (count * height, triton.cdiv(width, PIXELS))
        sums = torch.empty(programs, device=exact.device)
        hits = torch.empty(programs, dtype=torch.int32, device=exact.device)
        normaliser = torch.empty(label.shape, device=exact.device)
        label = label.contiguous()
        with torch.cuda.device_of(exact):
            loss_kernel[programs](
                *(exact, label, class_weight, grid.y, grid.x, normaliser, sums, hits),
                *(classes, h, w, height, width, IGNORED, use_sigmoid, PIXELS),
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
        cells = (count, classes, h + 1, w + 1)
        corners = exact.new_empty((4, *cells))
        across = triton.next_power_of_2(grid.most_x)
        side = max(PIXELS // across, 1)
        gradient_kernel[(count * (h + 1), triton.cdiv(w + 1, side))](
            *(exact, label, class_weight, grid.y, grid.x, grid.start_y, grid.start_x),
            *(normaliser, corners, count, classes, h, w, *label.shape[1:], IGNORED),
            *(use_sigmoid, side, across),
        )
        # a logit is a corner of four cells
        a, b, c, d = corners
        upper = a[..., 1:, 1:] + b[..., 1:, :-1]
        gradient = upper + c[..., :-1, 1:] + d[..., :-1, :-1]
        return (gradient * factor).to(dtype), None, None, None, None


@triton.jit
def interpolate(plane, y, x, h, w, mask):
    """Value of one class's logits at positions (y, x)."""
    top, left = y.to(tl.int32), x.to(tl.int32)
    bottom, right = tl.minimum(top + 1, h - 1), tl.minimum(left + 1, w - 1)
    down, across = y - top, x - left
    a = tl.load(plane + top * w + left, mask=mask, other=0.0)
    b = tl.load(plane + top * w + right, mask=mask, other=0.0)
    c = tl.load(plane + bottom * w + left, mask=mask, other=0.0)
    d = tl.load(plane + bottom * w + right, mask=mask, other=0.0)
    above, below = a * (1 - across) + b * across, c * (1 - across) + d * across
    return above * (1 - down) + below * down


@triton.jit
def softplus(z):
    return tl.maximum(z, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(z)))


@compiled_once
def argmax_kernel(
    logits, ys, xs, label, classes, h, w, height, width, PIXELS: tl.constexpr
):
    row = tl.program_id(0)  # of all images' rows
    columns = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    inside = columns < width
    y = tl.load(ys + row % height)
    x = tl.load(xs + columns, mask=inside, other=0.0)
    image = logits + (row // height).to(tl.int64) * classes * h * w
    best = interpolate(image, y, x, h, w, inside)
    found = tl.zeros((PIXELS,), dtype=tl.int32)
    for k in range(1, classes):
        z = interpolate(image + k * h * w, y, x, h, w, inside)
        found = tl.where(z > best, k, found)
        best = tl.maximum(best, z)
    place = label + row.to(tl.int64) * width + columns
    tl.store(place, found.to(tl.uint8), mask=inside)


@compiled_once
def loss_kernel(
    logits,
    labels,
    class_weight,
    ys,
    xs,
    normalisers,
    sums,
    hits,
    classes,
    h,
    w,
    height,
    width,
    ignored,
    USE_SIGMOID: tl.constexpr,
    PIXELS: tl.constexpr,
):
    row = tl.program_id(0)
    columns = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    inside = columns < width
    y = tl.load(ys + row % height)
    x = tl.load(xs + columns, mask=inside, other=0.0)
    image = logits + (row // height).to(tl.int64) * classes * h * w
    place = row.to(tl.int64) * width + columns
    label = tl.load(labels + place, mask=inside, other=0).to(tl.int32)
    valid = inside & (label != ignored)
    weight = tl.load(class_weight + label, mask=valid & (label < classes), other=0.0)

    best = tl.full((PIXELS,), float('-inf'), dtype=tl.float32)
    total = tl.zeros((PIXELS,), dtype=tl.float32)
    # it stays NaN where the label is no class, and so the loss is NaN, too
    class_z = tl.full((PIXELS,), float('nan'), dtype=tl.float32)
    for k in range(0, classes):
        z = interpolate(image + k * h * w, y, x, h, w, inside)
        class_z = tl.where(label == k, z, class_z)
        higher = tl.maximum(best, z)
        if USE_SIGMOID:
            total += softplus(z)
        else:
            total = total * tl.exp(best - higher) + tl.exp(z - higher)
        best = higher
    if USE_SIGMOID:
        loss = total - class_z + (weight - 1.0) * softplus(-class_z)
    else:
        normaliser = best + tl.log(total)
        tl.store(normalisers + place, normaliser, mask=inside)
        loss = weight * (normaliser - class_z)
    program = row * tl.num_programs(1) + tl.program_id(1)
    tl.store(sums + program, tl.sum(tl.where(valid, loss, 0.0), axis=0))
    hit = valid & (class_z >= best)
    tl.store(hits + program, tl.sum(hit.to(tl.int32), axis=0))


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
    count,
    classes,
    h,
    w,
    height,
    width,
    ignored,
    USE_SIGMOID: tl.constexpr,
    CELLS: tl.constexpr,
    ACROSS: tl.constexpr,
):
    j = tl.program_id(0) % (h + 1)
    n = (tl.program_id(0) // (h + 1)).to(tl.int64)
    i = tl.program_id(1) * CELLS + tl.arange(0, CELLS)
    inside = i <= w
    start = tl.load(start_xs + i, mask=inside, other=0)
    stop = tl.load(start_xs + i + 1, mask=inside, other=0)
    columns = start[:, None] + tl.arange(0, ACROSS)[None, :]
    reached = columns < stop[:, None]
    x = tl.load(xs + columns, mask=reached, other=0.0)
    across = x - (i[:, None] - 1)
    top, bottom = tl.maximum(j - 1, 0) * w, tl.minimum(j, h - 1) * w
    left, right = tl.maximum(i - 1, 0), tl.minimum(i, w - 1)
    first, end = tl.load(start_ys + j), tl.load(start_ys + j + 1)
    for k in range(0, classes):
        plane = logits + (n * classes + k) * h * w
        a = tl.load(plane + top + left, mask=inside, other=0.0)[:, None]
        b = tl.load(plane + top + right, mask=inside, other=0.0)[:, None]
        c = tl.load(plane + bottom + left, mask=inside, other=0.0)[:, None]
        d = tl.load(plane + bottom + right, mask=inside, other=0.0)[:, None]
        upper = a * (1 - across) + b * across
        lower = c * (1 - across) + d * across
        above = tl.zeros((CELLS, ACROSS), dtype=tl.float32)
        below = tl.zeros((CELLS, ACROSS), dtype=tl.float32)
        for row in range(first, end):
            down = tl.load(ys + row) - (j - 1)
            place = (n * height + row) * width + columns
            label = tl.load(labels + place, mask=reached, other=0).to(tl.int32)
            valid = reached & (label != ignored)
            known = valid & (label < classes)
            weight = tl.load(class_weight + label, mask=known, other=0.0)
            z = upper * (1 - down) + lower * down  # as `interpolate` has it
            if USE_SIGMOID:
                share = 1.0 / (1.0 + tl.exp(-z))
                slope = tl.where(label == k, weight * (share - 1.0), share)
            else:
                normaliser = tl.load(normalisers + place, mask=reached, other=0.0)
                share = tl.exp(z - normaliser)
                slope = weight * tl.where(label == k, share - 1.0, share)
            slope = tl.where(valid, slope, 0.0)
            above += slope * (1 - down)
            below += slope * down
        cell = corners + ((n * classes + k) * (h + 1) + j) * (w + 1) + i
        corner = count.to(tl.int64) * classes * (h + 1) * (w + 1)
        tl.store(cell, tl.sum(above * (1 - across), axis=1), mask=inside)
        tl.store(cell + corner, tl.sum(above * across, axis=1), mask=inside)
        tl.store(cell + 2 * corner, tl.sum(below * (1 - across), axis=1), mask=inside)
        tl.store(cell + 3 * corner, tl.sum(below * across, axis=1), mask=inside)
