"""The steps of `gpu.py` in their order: what they call, with what, for how long."""

import argparse
from itertools import product
from typing import NamedTuple

import gpu_steps


class Step(NamedTuple):
    """One row: what a function returns.

    Attributes:
        function: 'module:name'; it is called with the `Setting` and the options.
        limit: Seconds after which its process is killed.
    """

    name: str
    function: str
    options: dict = {}
    limit: float = 60


def first_steps() -> list[Step]:
    """What must be seen even if the minutes run out: all targets, each part once."""
    ops = ('label_map', 'cross_entropy', 'other_losses')
    network = ('golden', 'sync_bn', 'same_twice', 'resume')
    steps = [
        Step('machine/memory bandwidth', 'gpu_speed:bandwidth'),
        *(Step(f'correct/{name}', f'gpu_kernels:{name}') for name in ops),
        *(Step(f'correct/{name}', f'gpu_correct:{name}') for name in network),
        *(
            Step(f'correct/{d}', 'gpu_correct:precision', dict(dtype=d))
            for d in gpu_steps.LOW
        ),
        Step('setup/data', 'gpu_others:data', limit=120),
        Step('setup/peer', 'gpu_others:install_peer', limit=240),
    ]
    forms = [('eager', 'float32'), ('folded', 'float32'), ('folded', 'float16')]
    steps += [prediction(1, *form) for form in [*forms, ('graph', 'float16')]]
    steps += [peer('predict', 1), kernels('label_map'), kernels('cross_entropy')]
    forms = [('product', 'float32'), ('product', 'float16'), ('graph', 'float16')]
    steps += [training(32, *form) for form in [*forms, ('graph', 'bfloat16')]]
    steps += [peer('train_step', 32), peer('train_step_amp', 32)]
    steps += [
        Step(f'feeding/{kind}', 'gpu_others:feeding', dict(kind=kind), 90)
        for kind in ('png', 'packed')
    ]
    return [*steps, Step('real training/camvid', 'gpu_others:camvid', limit=300)]


def further_steps() -> list[Step]:
    """All other forms, precisions and batches, as long as there is time."""
    forms = ('folded', 'graph', 'compiled', 'eager')
    steps = [prediction(1, f, d) for f, d in product(forms, gpu_steps.PRECISIONS)]
    steps += [Step('distributed/all GPUs', 'gpu_others:distributed', limit=120)]
    steps += [Step('feeding/jpeg', 'gpu_others:feeding', dict(kind='jpeg'))]
    steps += [prediction(16, f, d) for f, d in product(forms, gpu_steps.PRECISIONS)]
    steps += [Step('prediction/ms+flip', 'gpu_speed:ms_flip'), peer('ms_flip', 1)]
    forms = ('product', 'graph', 'compiled')
    for batch, form, dtype in product((32, 8, 4, 64), forms, gpu_steps.PRECISIONS):
        steps.append(training(batch, form, dtype))
    return [*steps, *(peer('train_step', batch) for batch in (8, 4, 64))]


def prediction(batch: int, form: str, dtype: str) -> Step:
    options = dict(batch=batch, form=form, dtype=dtype)
    limit = 150 if form == 'compiled' else 60
    return Step(
        f'prediction/b{batch} {form} {dtype}', 'gpu_speed:predict', options, limit
    )


def training(batch: int, form: str, dtype: str) -> Step:
    options = dict(batch=batch, form=form, dtype=dtype)
    limit = 240 if form == 'compiled' else 60
    return Step(f'training/b{batch} {form} {dtype}', 'gpu_speed:train', options, limit)


def peer(work: str, batch: int) -> Step:
    return Step(
        f'peer/{work} b{batch}', 'gpu_others:peer', dict(work=work, batch=batch), 150
    )


def kernels(kind: str) -> Step:
    return Step(f'kernels/{kind}', 'gpu_speed:kernels', dict(kind=kind))


def in_order(args: argparse.Namespace) -> list[Step]:
    """Return every step once, the most important ones first.

    On a CPU those that need a GPU are left out, and of tiny images, where all batches
    are one size, all training steps but those of batch 32.
    """
    steps = {step.name: step for step in [*first_steps(), *further_steps()]}
    left_out = []
    if args.device == 'cpu':
        left_out += ['compiled', 'float16', 'sync_bn']
    if args.quick:
        left_out += ['training/b8', 'training/b4', 'training/b64', 'peer/']
    return [
        step
        for name, step in steps.items()
        if not any(part in name.replace('bfloat16', 'bf16') for part in left_out)
    ]
