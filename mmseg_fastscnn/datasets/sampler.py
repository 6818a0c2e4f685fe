"""The order in which a run sees the images, and what their random changes follow from.

A run draws images, counted over all its processes and epochs: k = 0, 1, 2, ... Which
image the k-th one is, and how it is cropped, flipped and coloured, follows from the
run's seed and k alone. So neither the number of processes nor that of loading workers
changes the data, and a run that was interrupted goes on at any k.
"""

import itertools
import random
from collections.abc import Iterator, Sequence, Sized
from functools import partial

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.structures import BaseDataElement
from torch.utils.data import Dataset, Sampler, get_worker_info

from mmseg_fastscnn.registry import DATA_SAMPLERS


class Draw(int):
    """The index of an image in the data set.

    Attributes:
        entropy: What the image's random changes follow from: the run's seed and k.
    """

    entropy: tuple[int, int]


class RunSampler(Sampler):
    """The images of one process: of a run of n, process r takes k = r, r + n, ...

    The run sees one permutation of the data set after another.

    Args:
        dataset: The data set.
        shuffle: Permute the images; otherwise they keep their own order.
        seed: Seed of the run; by default a random one, the same in all processes.

    Attributes:
        start: The k at which the run begins, or goes on.
        end: The k at which this epoch ends; None: it has no end.
        round_up: Whether all processes get equally many images of an epoch.
    """

    round_up = True

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None):
        self.size = len(dataset)
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.rank, self.world_size = get_dist_info()
        self.start, self.end = 0, None
        self.permutation = None, []  # number and content of the last one used

    def __iter__(self) -> Iterator[Draw]:
        for k in itertools.count(self.start + self.rank, self.world_size):
            first = k - self.rank if self.round_up else k  # of this round of all ranks
            if self.end is not None and first >= self.end:
                return
            yield self._draw(k)

    def _draw(self, k: int) -> Draw:
        epoch, place = divmod(k, self.size)
        draw = Draw(self._permuted(epoch)[place] if self.shuffle else place)
        draw.entropy = self.seed, k
        return draw

    def _permuted(self, epoch: int) -> list[int]:
        if self.permutation[0] != epoch:
            (seed,) = derived_seeds((self.seed, epoch), 1)
            generator = torch.Generator().manual_seed(seed)
            order = torch.randperm(self.size, generator=generator).tolist()
            self.permutation = epoch, order
        return self.permutation[1]


@DATA_SAMPLERS.register_module()
class InfiniteSampler(RunSampler):
    """mmengine's `InfiniteSampler`, which can also start in the middle of a run."""

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: the whole run is one epoch."""

    def __len__(self) -> int:
        """Return the size of the data set, as mmengine's sampler does."""
        return self.size


@DATA_SAMPLERS.register_module()
class DefaultSampler(RunSampler):
    """mmengine's `DefaultSampler`, which can also start in the middle of an epoch.

    Args:
        dataset, shuffle, seed: See `RunSampler`.
        round_up: Give all processes equally many images. Those that are missing are
            the first ones of the next epoch.
    """

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        seed: int | None = None,
        round_up: bool = True,
    ):
        super().__init__(dataset, shuffle, seed)
        self.round_up = round_up
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch."""
        self.start, self.end = epoch * self.size, (epoch + 1) * self.size

    def __len__(self) -> int:
        """Return the number of this process's images in a whole epoch."""
        images = self.size if self.round_up else self.size - self.rank
        return -(-images // self.world_size)


def seed_each_sample(dataset: Dataset) -> None:
    """Make a data loader seed the random generators anew for each `Draw`.

    A data loader calls `__getitems__` of a data set that has this, in its workers or
    in the main process. So the data set, of whatever class, stays the same object.
    """
    dataset.__getitems__ = partial(load_draws, dataset)


def load_draws(dataset: Dataset, draws: Sequence[int]) -> list:
    """Load the samples of a batch; see `seed_each_sample`."""
    if get_worker_info() is not None:
        return [load_draw(dataset, draw) for draw in draws]
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        return [load_draw(dataset, draw) for draw in draws]
    finally:  # dropout and the like go on as if nothing had been loaded
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def load_draw(dataset: Dataset, draw: int) -> object:
    """Load a sample; its `seed` is for random changes that the model makes."""
    if not isinstance(draw, Draw):
        return dataset[draw]  # an index from a user's own sampler
    *seeds, for_model = derived_seeds(draw.entropy, 4)
    seed_generators(*seeds)
    sample = dataset[int(draw)]
    packed = sample.get('data_samples') if isinstance(sample, dict) else None
    if isinstance(packed, BaseDataElement):
        packed.set_metainfo(dict(seed=for_model))
    return sample


def derived_seeds(entropy: Sequence[int], count: int) -> list[int]:
    """Return seeds of 32 bits that differ for each `entropy`, and from each other."""
    return np.random.SeedSequence(entropy).generate_state(count).tolist()


def seed_generators(for_python: int, for_numpy: int, for_torch: int) -> None:
    """Seed the global generators of the CPU, which transforms draw from.

    Equal seeds would give numpy and torch equal numbers.
    """
    random.seed(for_python)
    np.random.seed(for_numpy)
    torch.default_generator.manual_seed(for_torch)
