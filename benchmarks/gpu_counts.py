"""Steps of `gpu.py` that count what others measure; they need no GPU.

`gpu_table.py` holds a row `roofline/prediction b1 graph float16` of these against the
row `prediction/b1 graph float16` of those.
"""

import operators
import torch
from gpu_steps import NotSeen, Setting


def roofline(at: Setting, work: str, batch: int, form: str, dtype: str) -> dict:
    """Count operators, GB and GFLOPs of what a step of `gpu_speed.py` times.

    `joined_gb` leaves out what a compiler can join to the operator before: the floor.
    A training step in 16 bits is counted without the casts of mixed precision.
    """
    batch, half = at.batch(batch), dtype != 'float32'
    if work == 'prediction':  # is timed from normalised images on
        kind = None if form == 'eager' else getattr(torch, dtype)
        counted = operators.prediction(kind, batch, at.size)
        left_out = ['preprocessing']
    else:  # is timed without the hooks of a run
        counted = operators.training_step(batch, at.crop, half)
        left_out = ['leaving out bad steps', 'preprocessing'][: 1 + (form == 'graph')]
    parts = [part for name, part in counted.parts.items() if name not in left_out]
    total = sum(parts, operators.Work())
    return dict(
        operators=total.operators,
        gb=total.traffic / 1e9,
        joined_gb=total.least / 1e9,
        gflops=total.flops / 1e9,
    )


def resources(at: Setting) -> dict:
    """Compile Triton's kernels for this GPU, or for an H100; say what they use."""
    try:
        import triton_kernels
    except ImportError as error:
        raise NotSeen(f'there is no Triton: {error}') from error
    major, minor = (9, 0)
    if at.device == 'cuda':
        major, minor = torch.cuda.get_device_capability()
    row = {}
    for name, used in triton_kernels.compiled(10 * major + minor):
        for key in ('registers', 'spilled', 'occupancy'):
            row[f'{name.removesuffix("_kernel")}_{key}'] = used[key]
    return row
