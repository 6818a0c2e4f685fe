"""Export a checkpoint for another runtime, and check what was written.

The file takes the camera's frame: (N, H, W, C) uint8, BGR. It holds classes, palette
and preprocessing, so `Predictor` of `mmseg_fastscnn.deploy.backends` needs no config,
and no torch. See docs/deploy.md.
A checkpoint of `train` holds its config, so it may stand alone.

Example: fastscnn export best_mIoU_iter_4000.pth --out street.onnx
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmseg_fastscnn.commands import options
from mmseg_fastscnn.deploy.formats import OUTPUTS, SUFFIXES, check_form

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    options.add_config(parser, may_lack=True)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--format', choices=SUFFIXES, default='onnx')
    parser.add_argument(
        '--output',
        choices=OUTPUTS['onnx'],
        help='what the file gives (default: labels for onnx, else logits, which '
        'Predictor makes labels of, exactly)',
    )
    parser.add_argument('--precision', choices=['fp32', 'bf16', 'fp16'], default='fp32')
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help='for frames of one size (needed by executorch)',
    )
    parser.add_argument('--out', type=Path, metavar='FILE', help='file to write')
    parser.add_argument(
        '--images', type=int, default=20, help='test images to check the file with'
    )
    parser.add_argument(
        '--max-drop', type=float, default=0.3, help='points of mIoU it may lose'
    )
    parser.add_argument('--no-check', action='store_true', help='write it unchecked')
    options.add_data_root(parser)
    args = parser.parse_args(words)
    args.output = args.output or OUTPUTS[args.format][0]
    try:
        check_form(args.format, args.precision, args.output, args.size is not None)
    except ValueError as error:
        parser.error(str(error))
    return args


def main(args: Namespace) -> None:
    from mmseg_fastscnn.apis import config_in, init_model
    from mmseg_fastscnn.config import load_config
    from mmseg_fastscnn.deploy.backends import Predictor
    from mmseg_fastscnn.deploy.check import compare
    from mmseg_fastscnn.deploy.export import (
        CONVERTED,
        check_free,
        check_packages,
        export,
        move_aside,
    )
    from mmseg_fastscnn.deploy.torch_runtime import DTYPES, describe

    suffix = SUFFIXES[args.format]
    beside = f'.{args.format}{suffix}'  # OpenVINO and ncnn both have a .bin
    path = args.out or Path(args.checkpoint).with_suffix(beside)
    if path.suffix != suffix:
        raise ValueError(f'--out {path}: a file of {args.format} is named *{suffix}.')
    check_free(path)
    check_packages(suffix)
    config = args.config or config_in(args.checkpoint)
    config = load_config(config, args.cfg_options, args.data_root)
    pairs = [] if args.no_check else list(test_pairs(config, args.images))
    dtype = DTYPES[args.precision if args.format in CONVERTED else 'fp32']
    model = init_model(config, args.checkpoint, 'cpu', dtype=dtype)
    size = tuple(args.size) if args.size else None
    form = (args.output, args.precision)
    export(model, path, describe(model, *form, size, args.checkpoint))
    print(f'{path}: {path.stat().st_size / 2**20:.1f} MiB, {", ".join(form)}')
    if args.no_check:
        print('Not checked, as --no-check says.')
        return
    before = Predictor(args.checkpoint, config, size, device='cpu')
    found = compare(before, Predictor(path), pairs)
    print('\n'.join(found.lines()))
    failures = found.failures(args.precision, args.max_drop)
    if failures:
        print(f'Not as good as the checkpoint, so it is kept as {move_aside(path)}:')
        print('\n'.join(failures))
        sys.exit(1)


def test_pairs(
    config: Config, count: int
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yield images and labels of the test data, spread evenly over it."""
    import numpy as np

    from mmseg_fastscnn.config import require
    from mmseg_fastscnn.datasets.random_crop import load_pair
    from mmseg_fastscnn.registry import DATASETS

    require(config, ['test_dataloader'], 'checking the file (or give --no-check)')
    dataset = DATASETS.build(config.test_dataloader.dataset)
    for k in np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int):
        results = load_pair(dataset.get_data_info(int(k)))
        yield results['img'], results.get('gt_seg_map')
