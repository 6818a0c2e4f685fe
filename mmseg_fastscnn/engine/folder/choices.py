"""Choose sizes, batch and schedule from the images and the machine, with reasons."""

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from mmengine.device import get_device

from mmseg_fastscnn.cores import cores_per_process
from mmseg_fastscnn.memory import meminfo
from mmseg_fastscnn.structures import COARSEST

LONGEST_ON_CPU, LONGEST_ON_GPU = 640, 2048  # longer side that images are resized to
SMALLEST = 0.8  # factor of the smallest random size, which still fills the crop
BATCH, EPOCHS, LEAST, MOST = 8, 90, 1000, 20_000
VALIDATIONS, SHORTEST = 10, 10  # in a run; iterations from one to the next
WARM_UP, UNKNOWN_WARM_UP = 100, 30  # the latter if the length is not known yet
BYTES_PER_PIXEL = 700  # of memory that a training step takes


@dataclass
class Choices:
    """Settings that were chosen; sizes are in pixels.

    Attributes:
        scale: (w, h) to which images are resized, times a random factor.
        resizes: Whether images have other sizes than `scale`.
        crop: (h, w) of what is cut out for training.
        batch: Images per step of a process.
        workers: Processes that load images.
        amp: Whether to train in 16 bits.
        iterations: Length of the run.
        warm_up: Iterations during which the learning rate rises.
        interval: Iterations from one validation to the next.
        reasons: Name of a setting -> its value and why.
    """

    scale: tuple[int, int]
    resizes: bool
    crop: tuple[int, int]
    batch: int
    workers: int
    amp: bool
    iterations: int = 0
    warm_up: int = 0
    interval: int = 0
    reasons: dict[str, str] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        for name, text in self.reasons.items():
            yield f'  {name:<11}{text}'


def choose(
    sizes: Mapping[tuple[int, int], int],
    iterations: int | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    processes: int = 1,
) -> Choices:
    """Choose the settings of a run.

    Args:
        sizes: (h, w) -> number of training images of this size.
        iterations, epochs, minutes: How long to train; at most one is given.
        processes: How many processes train together, each with a batch of its own.
    """
    count = sum(sizes.values())
    choices = choose_sizes(sizes)
    choose_batch(choices, count)
    per_epoch = count / (processes * choices.batch)
    if iterations is not None:
        length, why = iterations, '--iterations'
    elif epochs is not None:
        length, why = math.ceil(epochs * per_epoch), f'--epochs {epochs:g}'
    else:
        length = min(max(round(EPOCHS * per_epoch), LEAST), MOST)
        why = f'{EPOCHS} epochs, at least {LEAST}, at most {MOST}'
    if minutes is not None:
        why = f'--minutes {minutes:g}: fitted after the first steps'
    choices.iterations = length = max(length, 2)
    choices.warm_up, warm = min(WARM_UP, length // 10), f'a tenth, at most {WARM_UP}'
    if minutes is not None:
        choices.warm_up, warm = UNKNOWN_WARM_UP, 'few, as the length is not known yet'
    choices.interval = min(max(math.ceil(length / VALIDATIONS), SHORTEST), length)
    reasons = choices.reasons
    at_first = 'at first ' if minutes is not None else ''
    epochs_text = f'{length / per_epoch:.0f} times each image'
    reasons['schedule'] = f'{at_first}{length} iterations ({epochs_text}): {why}'
    reasons['warm-up'] = f'{choices.warm_up} iterations: {warm}'
    reasons['validation'] = (
        f'every {choices.interval} iterations: up to {VALIDATIONS} times'
    )
    return choices


def choose_sizes(sizes: Mapping[tuple[int, int], int]) -> Choices:
    """Choose to what size images are resized, and what is cut out of them."""
    sides = np.array([size for size, n in sizes.items() for _ in range(n)])
    long, short = np.median(sides.max(1)), np.median(sides.min(1))
    limit = LONGEST_ON_GPU if get_device() == 'cuda' else LONGEST_ON_CPU
    factor = min(limit / long, 1)
    scale = round(long * factor), round(short * factor)
    # each image, resized so that it fits into `scale`, at the smallest random size
    factors = np.minimum(scale[0] / sides.max(1), scale[1] / sides.min(1))
    smallest = np.percentile(SMALLEST * factors[:, None] * sides, 10, axis=0)
    crop = tuple(max(int(side) // COARSEST * COARSEST, COARSEST) for side in smallest)
    resizes = len(sizes) > 1 or factor < 1
    (h, w), _ = Counter(sizes).most_common(1)[0]
    choices = Choices(scale, resizes, crop, BATCH, 0, False)
    why = f'most images are {h}x{w} (h x w)'
    if factor < 1:
        why += f', and on a {get_device()} the longer side is at most {limit}'
    choices.reasons['scale'] = f'{scale[0]}x{scale[1]} (w x h): {why}'
    choices.reasons['crop'] = (
        f'{crop[0]}x{crop[1]} (h x w): what fits into {SMALLEST} times that, so that '
        f'little is padded, in steps of {COARSEST}'
    )
    return choices


def choose_batch(choices: Choices, count: int) -> None:
    """Choose batch, workers and precision."""
    height, width = choices.crop
    room = free_memory() / 2 / (BYTES_PER_PIXEL * height * width)
    choices.batch = batch = max(min(BATCH, count, int(room)), 2)
    why = 'what the recipe was tuned for'
    if batch < BATCH:
        why = f'{count} training images' if batch == count else 'as fits into memory'
    cores = cores_per_process()
    choices.workers = min(cores, batch)
    on_gpu = get_device() == 'cuda'
    choices.amp = on_gpu or torch.backends.cpu.get_cpu_capability().startswith('AVX512')
    reasons = choices.reasons
    reasons['batch'] = f'{batch} images per step: {why}'
    reasons['workers'] = f'{choices.workers} processes load images: {cores} cores'
    kind = 'float16' if on_gpu else 'bfloat16' if choices.amp else 'float32'
    device = 'GPU' if on_gpu else 'CPU with AVX-512' if choices.amp else 'CPU'
    reasons['precision'] = f'{kind}: a {device}'


def free_memory() -> int:
    """Return the bytes of memory that a program can have on the device."""
    if get_device() == 'cuda':  # the processes of a launcher have not taken theirs yet
        rank = os.environ.get('LOCAL_RANK') or os.environ.get('SLURM_LOCALID') or 0
        return torch.cuda.mem_get_info(int(rank) % torch.cuda.device_count())[0]
    return 1024 * meminfo().get('MemAvailable', 4 << 20)  # where no system says, 4 GiB
