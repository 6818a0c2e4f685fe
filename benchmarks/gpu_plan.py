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
        beside: Whether other such steps may run at the same time: it times nothing.
    """

    name: str
    function: str
    options: dict = {}
    limit: float = 60
    beside: bool = False


def first_steps() -> list[Step]:
    """What must be seen even if the minutes run out: all targets, each part once."""
    ops = ('label_map', 'other_losses')
    network = ('golden', 'cuda_graph', 'sync_bn', 'same_twice', 'resume')
    return [
        Step('machine/memory bandwidth', 'gpu_speed:bandwidth'),
        # the longest first, as these run beside each other
        beside('setup/peer', 'gpu_others:install_peer', limit=150),
        # each of its shapes is compiled when it first comes
        beside('correct/cross_entropy', 'gpu_kernels:cross_entropy', limit=150),
        *(beside(f'correct/{name}', f'gpu_kernels:{name}') for name in ops),
        *(
            beside(f'correct/{name}', f'gpu_correct:{name}', limit=90)
            for name in network
        ),
        *(
            beside(f'correct/{d}', 'gpu_correct:precision', dict(dtype=d))
            for d in gpu_steps.LOW
        ),
        roofline('prediction', 1, 'eager', 'float32'),
        roofline('prediction', 1, 'graph', 'float16'),
        roofline('prediction', 16, 'graph', 'float16'),
        roofline('training', 32, 'product', 'float32'),
        roofline('training', 32, 'graph', 'float16'),
        beside('resources/triton', 'gpu_counts:resources'),
        training(32, 'product', 'float32'),
        training(32, 'product', 'float16'),
        training(32, 'graph', 'float16'),
        peer('train_step', 32),
        prediction(1, 'eager', 'float32'),
        prediction(1, 'folded', 'float32'),
        prediction(1, 'folded', 'float16'),
        prediction(1, 'graph', 'float16'),
        prediction(1, 'tuned', 'float16'),
        peer('predict_graph', 1),
        peer('train_step_amp', 32),
        kernels('label_map'),
        kernels('cross_entropy'),
        kernels('binary_cross_entropy'),
        feeding('png', limit=90),
        feeding('packed', limit=90),
        feeding('jpeg'),
        *(training(batch, 'product', 'float16') for batch in (4, 8, 64)),
        training(32, 'product', 'bfloat16'),
        prediction(1, 'graph', 'bfloat16'),
        prediction(16, 'graph', 'float16'),
        Step('prediction/ms+flip', 'gpu_speed:ms_flip'),
        Step('real training/camvid', 'gpu_others:camvid', limit=300),
        # which take minutes to compile
        prediction(1, 'compiled', 'float16'),
        training(32, 'compiled', 'bfloat16'),
    ]


def further_steps() -> list[Step]:
    """All other forms, precisions and batches, as long as there is time."""
    forms = ('folded', 'graph', 'compiled', 'eager')
    steps = [prediction(1, f, d) for f, d in product(forms, gpu_steps.PRECISIONS)]
    steps += [Step('distributed/all GPUs', 'gpu_others:distributed', limit=120)]
    steps += [prediction(16, f, d) for f, d in product(forms, gpu_steps.PRECISIONS)]
    steps += [peer('predict', 1), peer('ms_flip', 1)]
    forms = ('product', 'graph', 'compiled')
    for batch, form, dtype in product((32, 8, 4, 64), forms, gpu_steps.PRECISIONS):
        steps.append(training(batch, form, dtype))
    return [*steps, *(peer('train_step', batch) for batch in (8, 4, 64))]


def beside(name: str, function: str, *options: dict, limit: float = 60) -> Step:
    return Step(name, function, *options, limit=limit, beside=True)


def roofline(work: str, batch: int, form: str, dtype: str) -> Step:
    options = dict(work=work, batch=batch, form=form, dtype=dtype)
    name = f'roofline/{work} b{batch} {form} {dtype}'
    return beside(name, 'gpu_counts:roofline', options)


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


def feeding(kind: str, limit: float = 60) -> Step:
    return Step(f'feeding/{kind}', 'gpu_others:feeding', dict(kind=kind), limit)


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
        if name.startswith('roofline/')
        or not any(part in name.replace('bfloat16', 'bf16') for part in left_out)
    ]
