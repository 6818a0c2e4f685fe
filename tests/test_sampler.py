"""The order of images and the seed of each, for any number of processes and workers."""

import itertools
import random
from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.dataset import (
    BaseDataset,
    ClassBalancedDataset,
    ConcatDataset,
    RepeatDataset,
)
from mmengine.structures import BaseDataElement
from torch.utils.data import DataLoader, Dataset

from mmseg_fastscnn.datasets.sampler import (
    DefaultSampler,
    InfiniteSampler,
    seed_each_sample,
)


def of_process(sampler, rank: int, processes: int, start: int | None = None):
    """The first 24 images of a process as (k, index)."""
    sampler.rank, sampler.world_size = rank, processes
    if start is not None:
        sampler.start = start
    return [(d.entropy[1], int(d)) for d in itertools.islice(sampler, 24)]


def test_processes_share_one_sequence_from_any_place():
    data = range(7)
    whole = of_process(InfiniteSampler(data, seed=5), 0, 1)
    assert [k for k, _ in whole] == list(range(24))
    epochs = [[index for _, index in whole[n : n + 7]] for n in (0, 7, 14)]
    assert all(sorted(epoch) == list(data) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    for start in (0, 5, 14):
        parts = [
            of_process(InfiniteSampler(data, seed=5), r, 3, start) for r in (0, 1, 2)
        ]
        joined = [one for step in zip(*parts, strict=True) for one in step]
        assert joined[: 24 - start] == whole[start:]
    other = of_process(InfiniteSampler(data, seed=6), 0, 1)
    # with seed + epoch as the seed of an epoch, runs would share their permutations
    assert [index for _, index in other[:7]] not in epochs
    plain = of_process(InfiniteSampler(data, shuffle=False, seed=5), 0, 1)
    assert [index for _, index in plain[:9]] == [*range(7), 0, 1]


@pytest.mark.parametrize('processes', [1, 2, 3])
def test_an_epoch_ends_and_goes_on(processes):
    """Epochs of 7 images, also from the middle; what fills up is of the next one."""
    whole = dict(of_process(InfiniteSampler(range(7), seed=5), 0, 1))
    for round_up, start in itertools.product((True, False), (None, 7, 10, 13, 14)):
        parts = []
        for rank in range(processes):
            sampler = DefaultSampler(range(7), seed=5, round_up=round_up)
            sampler.set_epoch(1)
            parts.append(of_process(sampler, rank, processes, start))
            if start is None:
                assert len(sampler) == len(parts[-1])
        assert not round_up or len({len(part) for part in parts}) == 1
        places = sorted(k for part in parts for k, _ in part)
        begin = 7 if start is None else start
        assert [k for k in places if k < 14] == list(range(begin, 14))
        assert len(places) < 14 - begin + processes
        assert all(whole[k] == index for part in parts for k, index in part)


class Random(Dataset):
    """A user's data set, which draws from all the global generators."""

    metainfo = dict(classes=['a', 'b'])

    def __init__(self, offset: int = 0):
        self.offset = offset

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> dict:
        assert type(index) is int
        draws = random.random(), np.random.random(), torch.rand(1).item()
        return dict(
            inputs=(self.offset + index, *draws), data_samples=BaseDataElement()
        )

    def get_cat_ids(self, index: int) -> list[int]:
        return [int(index == 0)]


class Lazy(BaseDataset):
    METAINFO = dict(classes=['a', 'b'])

    def load_data_list(self) -> list[dict]:
        return [dict(index=k) for k in range(5)]

    def prepare_data(self, index: int) -> dict:
        return Random()[index]

    def get_cat_ids(self, index: int) -> list[int]:
        return [int(index == 0)]


def batches(dataset, workers: int, batch: int, count: int = 12) -> list:
    seed_each_sample(dataset)
    loader = DataLoader(
        dataset,
        batch_size=batch,
        num_workers=workers,
        sampler=InfiniteSampler(dataset, seed=1),
        collate_fn=list,
        generator=torch.Generator(),  # it draws a seed for its workers
    )
    assert loader.dataset is dataset
    samples = itertools.chain.from_iterable(loader)
    return [
        (*sample['inputs'], sample['data_samples'].seed)
        for sample in itertools.islice(samples, count)
    ]


@pytest.mark.parametrize(
    'build',
    [
        Random,
        Lazy,
        lambda: ConcatDataset([Lazy(), Lazy()]),
        lambda: RepeatDataset(Lazy(), times=2),
        lambda: ClassBalancedDataset(Lazy(), oversample_thr=0.9),
    ],
    ids=['own', 'base', 'concat', 'repeat', 'balanced'],
)
def test_a_sample_follows_from_its_place_alone(build):
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    one = batches(build(), workers=0, batch=1)
    after = random.random(), np.random.random(), torch.rand(1).item()
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    # loading leaves the generators of the main process as they were
    assert after == (random.random(), np.random.random(), torch.rand(1).item())
    assert one == batches(build(), workers=2, batch=4)
    numbers = Counter(number for _, *draws in one for number in draws)
    assert set(numbers.values()) == {1}  # none twice, within a sample or in another


def test_the_order_of_a_user_is_left_alone():
    data = Random()
    seed_each_sample(data)
    first = [DataLoader(data, collate_fn=list).dataset[0]['inputs'] for _ in range(2)]
    assert first[0] != first[1]
    for sample in DataLoader(data, collate_fn=list):
        assert 'seed' not in sample[0]['data_samples']
