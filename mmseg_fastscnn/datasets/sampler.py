"""The order in which training sees the images."""

import itertools
from collections.abc import Iterator, Sized

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mmseg_fastscnn.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class InfiniteSampler(Sampler):
    """mmengine's `InfiniteSampler`, which can also start in the middle of a run.

    A run sees one permutation of the data set after another. The processes share this
    sequence: process r of n takes images r, r + n, r + 2n, ...

    Args:
        dataset: The data set.
        shuffle: Permute the images; otherwise they keep their own order.
        seed: Seed of the permutations; by default a random one, the same in all
            processes.

    Attributes:
        start: Number of this process's images to skip at the beginning.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None):
        self.size = len(dataset)
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.rank, self.world_size = get_dist_info()
        self.start = 0

    def __iter__(self) -> Iterator[int]:
        first = self.rank + self.start * self.world_size
        return itertools.islice(self._order(), first, None, self.world_size)

    def _order(self) -> Iterator[int]:
        generator = torch.Generator()
        generator.manual_seed(self.seed)
        while True:
            if self.shuffle:
                yield from torch.randperm(self.size, generator=generator).tolist()
            else:
                yield from range(self.size)

    def __len__(self) -> int:
        """Return the size of the data set, as mmengine's sampler does."""
        return self.size
