"""Time the stages of prediction on a config's test images, one image at a time.

Example: fastscnn benchmark fast_scnn_camvid.py best_mIoU_iter_4000.pth
"""

from __future__ import annotations

import resource
import shutil
import subprocess
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmseg_fastscnn.commands import options

if TYPE_CHECKING:
    import torch


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    options.add_config(parser)
    parser.add_argument(
        'checkpoint', nargs='?', help='checkpoint file; without one, random weights'
    )
    parser.add_argument(
        '--dtype', choices=['float32', 'bfloat16', 'float16'], default='float32'
    )
    parser.add_argument('--device', help='e.g. cuda:1 (default: the best there is)')
    parser.add_argument('--repeat', type=int, default=50, help='number of timed images')
    options.add_data_root(parser)
    args = parser.parse_args(words)
    if args.repeat < 1:
        parser.error(f'--repeat is {args.repeat}; it must be at least 1.')
    return args


def main(args: Namespace) -> None:
    import numpy as np
    import torch

    from mmseg_fastscnn.apis import init_model
    from mmseg_fastscnn.config import load_config, require
    from mmseg_fastscnn.deploy.speed import stage_seconds
    from mmseg_fastscnn.registry import DATASETS

    config = load_config(args.config, args.cfg_options, args.data_root)
    require(config, ['test_dataloader'], 'timing its test images')
    dtype = getattr(torch, args.dtype)
    model = init_model(config, args.checkpoint, args.device, dtype=dtype)
    dataset = DATASETS.build(config.test_dataloader.dataset)
    seconds = stage_seconds(model, dataset, args.repeat)
    seconds['all'] = np.sum(list(seconds.values()), axis=0)

    print(f'{"stage":<20}{"p50 ms":>9}{"p95 ms":>9}{"share":>8}')
    whole = np.median(seconds['all'])
    for stage, values in seconds.items():
        p50, p95 = 1e3 * np.percentile(values, [50, 95])
        share = np.median(values) / whole
        print(f'{stage:<20}{p50:>9.2f}{p95:>9.2f}{100 * share:>7.0f}%')
    height, width = dataset[0]['inputs'].shape[1:]
    print(f'{1 / whole:.1f} images per second of {height}x{width}, {args.dtype}')
    for line in machine_lines(next(model.parameters()).device):
        print(line)


def machine_lines(device: torch.device) -> list[str]:
    """Describe memory, device and versions, one line each."""
    import torch

    from mmseg_fastscnn.machine import describe_device

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = [f'peak memory of the process: {peak:,.0f} MiB', describe_device(device)]
    if device.type == 'cuda':
        peak = torch.cuda.max_memory_allocated(device) / 2**20
        lines.append(f'peak memory of tensors on {device}: {peak:,.0f} MiB')
        driver = 'unknown'
        if shutil.which('nvidia-smi'):
            query = [
                'nvidia-smi',
                '--query-gpu=driver_version',
                '--format=csv,noheader',
            ]
            driver = subprocess.check_output(query, text=True).split()[0]
        lines.append(f'driver {driver}, CUDA {torch.version.cuda}')
    return lines
