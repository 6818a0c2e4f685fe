"""Time the stages of prediction on a config's test images, one image at a time.

Checkpoints and exported files (see docs/deploy.md) are timed in turn, each in a process
of its own, and stand side by side in one table.

Example: fastscnn benchmark fast_scnn_camvid.py best_mIoU_iter_4000.pth street.onnx
"""

from __future__ import annotations

import shutil
import subprocess
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmseg_fastscnn.commands import options
from mmseg_fastscnn.file_kinds import is_exported
from mmseg_fastscnn.memory import peak_memory

if TYPE_CHECKING:
    import torch
    from mmengine.config import Config

WIDTH = 26  # of a file's three columns


@dataclass
class Timing:
    """What was measured of one file.

    Attributes:
        seconds: For each stage, and for `all`, the seconds of each image.
        size: (h, w) of the images.
        precision: Type in which the network computes.
        peak: See `peak_memory`.
        machine: Facts of the device, one line each.
    """

    seconds: dict[str, list[float]]
    size: tuple[int, int]
    precision: str
    peak: float | None
    machine: list[str]


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    options.add_config(parser)
    parser.add_argument(
        'files',
        nargs='*',
        help='checkpoints and exported files; without one, random weights',
    )
    parser.add_argument(
        '--dtype',
        choices=['float32', 'bfloat16', 'float16'],
        default='float32',
        help='of checkpoints; exported files have their own',
    )
    parser.add_argument(
        '--device', help='e.g. cuda:1 (default: the best there is; of files, cpu)'
    )
    parser.add_argument(
        '--cuda-graph',
        action='store_true',
        help='run checkpoints by CUDA graphs, one for each size of images',
    )
    parser.add_argument('--repeat', type=int, default=50, help='number of timed images')
    options.add_data_root(parser)
    args = parser.parse_args(words)
    if args.repeat < 1:
        parser.error(f'--repeat is {args.repeat}; it must be at least 1.')
    return args


def main(args: Namespace) -> None:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from mmseg_fastscnn.config import load_config, require

    config = load_config(args.config, args.cfg_options, args.data_root)
    require(config, ['test_dataloader'], 'timing its test images')
    paths = image_paths(config) if any(map(is_exported, args.files)) else []
    timings = {}
    names = options.names_of(args.files) or ['random weights']
    for name, file in zip(names, args.files or [None], strict=True):
        with ProcessPoolExecutor(1, get_context('spawn')) as process:
            timing = process.submit(timing_or_mistake, file, args, paths).result()
        if isinstance(timing, str):
            raise ValueError(timing)
        timings[name] = timing
    print(table(timings))
    for line in dict.fromkeys(line for t in timings.values() for line in t.machine):
        print(line)


def image_paths(config: Config) -> list[str]:
    """Return the files of the test images.

    Raises:
        ValueError: The data set does not name files.
    """
    from mmseg_fastscnn.datasets.parts import infos_of, parts_of
    from mmseg_fastscnn.registry import DATASETS

    dataset = DATASETS.build(config.test_dataloader.dataset)
    if not all(hasattr(part, 'get_data_info') for part in parts_of(dataset)):
        raise ValueError(
            'The test data is not made of image files, which exported files are timed '
            'with. Time them with a data set of files (SegDataset).'
        )
    return [info['img_path'] for info in infos_of(dataset)]


def timing_or_mistake(
    file: str | None, args: Namespace, paths: Sequence[str]
) -> Timing | str:
    """Measure one file in a process of its own; return a user's mistake as text."""
    try:
        if file and is_exported(file):
            return time_exported(file, args, paths)
        return time_checkpoint(file, args)
    except Exception as error:
        from mmseg_fastscnn.commands.entrance import mistake

        message = mistake(error)
        if message is None:
            raise
        return message


def time_exported(file: str, args: Namespace, paths: Sequence[str]) -> Timing:
    """Measure an exported file, without importing torch."""
    import cv2

    from mmseg_fastscnn.deploy.backends import Predictor
    from mmseg_fastscnn.deploy.speed import frame_seconds

    predictor = Predictor(file, device=args.device)
    seconds = frame_seconds(predictor, paths, args.repeat)
    size = cv2.imread(paths[0]).shape[:2]
    return Timing(seconds, size, predictor.description.precision, peak_memory(), [])


def time_checkpoint(file: str | None, args: Namespace) -> Timing:
    """Measure a checkpoint, or random weights."""
    import torch

    from mmseg_fastscnn.apis import init_model
    from mmseg_fastscnn.config import load_config
    from mmseg_fastscnn.deploy.torch_speed import stage_seconds
    from mmseg_fastscnn.memory import reuse_large_blocks
    from mmseg_fastscnn.registry import DATASETS

    reuse_large_blocks()  # as commands do
    config = load_config(args.config, args.cfg_options, args.data_root)
    dtype = getattr(torch, args.dtype)
    model = init_model(
        config, file, args.device, dtype=dtype, cuda_graph=args.cuda_graph
    )
    dataset = DATASETS.build(config.test_dataloader.dataset)
    seconds = stage_seconds(model, dataset, args.repeat)
    size = tuple(dataset[0]['inputs'].shape[1:])
    machine = machine_lines(next(model.parameters()).device)
    return Timing(seconds, size, args.dtype, peak_memory(), machine)


def table(timings: dict[str, Timing]) -> str:
    """Return the stages as rows, and the files as columns."""
    import numpy as np

    from mmseg_fastscnn.deploy.speed import STAGES

    def row(name: str, cells: Sequence[str]) -> str:
        return (f'{name:<20}' + ''.join(cells)).rstrip()

    def cell(timing: Timing, stage: str) -> str:
        if stage not in timing.seconds:
            return f'{"-":>9}{"-":>9}{"":>8}'
        p50, p95 = 1e3 * np.percentile(timing.seconds[stage], [50, 95])
        share = p50 / (1e3 * np.median(timing.seconds['all']))
        return f'{p50:>9.2f}{p95:>9.2f}{100 * share:>7.0f}%'

    columns = timings.values()
    rates = [1 / np.median(timing.seconds['all']) for timing in columns]
    peaks = ['-' if t.peak is None else f'{t.peak:,.0f}' for t in columns]
    used = [s for s in STAGES if any(s in timing.seconds for timing in columns)]
    lines = [
        row('', [f'{name[-WIDTH + 2 :]:>{WIDTH}}' for name in timings]),
        row('stage', [f'{"p50 ms":>9}{"p95 ms":>9}{"share":>8}'] * len(timings)),
        *(row(s, [cell(t, s) for t in columns]) for s in [*used, 'all']),
        row('images per second', [f'{rate:>{WIDTH}.1f}' for rate in rates]),
        row('images', [f'{"{}x{}".format(*t.size):>{WIDTH}}' for t in columns]),
        row('precision', [f'{t.precision:>{WIDTH}}' for t in columns]),
        row('peak memory, MiB', [f'{peak:>{WIDTH}}' for peak in peaks]),
    ]
    return '\n'.join(lines)


def machine_lines(device: torch.device) -> list[str]:
    """Describe the device and versions, one line each."""
    import torch

    from mmseg_fastscnn.machine import describe_device

    lines = [describe_device(device)]
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
