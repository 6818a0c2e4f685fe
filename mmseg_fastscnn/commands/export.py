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
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mmseg_fastscnn.commands import options
from mmseg_fastscnn.deploy.formats import OUTPUTS, check_form
from mmseg_fastscnn.file_kinds import SUFFIXES

if TYPE_CHECKING:
    from mmengine.config import Config

    from mmseg_fastscnn.deploy.labelled_images import LabelledImages

CALIBRATE = 100  # images


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
    precisions = ['fp32', 'bf16', 'fp16', 'int8']
    parser.add_argument('--precision', choices=precisions, default='fp32')
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
        '--calibrate',
        type=int,
        metavar='N',
        help=f'training images for --precision int8 (default: {CALIBRATE})',
    )
    parser.add_argument(
        '--max-drop',
        type=float,
        default=0.3,
        help='points of mIoU it may lose; in int8, layers go back to float until it is '
        'so on the training images (default: %(default)s)',
    )
    parser.add_argument('--no-check', action='store_true', help='write it unchecked')
    options.add_data_root(parser)
    args = parser.parse_args(words)
    args.output = args.output or OUTPUTS[args.format][0]
    try:
        check_form(args.format, args.precision, args.output, args.size is not None)
    except ValueError as error:
        parser.error(str(error))
    if args.size and min(args.size) < 33:  # the least that the network takes
        parser.error(
            f'--size is {args.size[0]} {args.size[1]}; it must be at least 33.'
        )
    if args.images < 1:
        parser.error(f'--images is {args.images}; it must be at least 1.')
    if not args.max_drop >= 0:
        parser.error(f'--max-drop is {args.max_drop}; it must be 0 or more.')
    if args.calibrate is not None and (args.precision != 'int8' or args.calibrate < 1):
        parser.error('--calibrate takes a number of images, for --precision int8.')
    return args


def main(args: Namespace) -> None:
    from mmseg_fastscnn.apis import config_in, init_model
    from mmseg_fastscnn.config import file_datasets, load_config
    from mmseg_fastscnn.deploy.export import CONVERTED, export
    from mmseg_fastscnn.deploy.labelled_images import LabelledImages
    from mmseg_fastscnn.deploy.torch_runtime import DTYPES, describe

    path = path_to_write(args)
    config = args.config or config_in(args.checkpoint)
    config = load_config(config, args.cfg_options, args.data_root)
    if args.config is None:  # its author would choose where a copy is written
        for dataset in file_datasets(config):
            dataset.pop('packed', None)
    write, images = None, None
    if args.precision == 'int8':
        from mmseg_fastscnn.deploy.int8 import write_int8

        number = args.calibrate or CALIBRATE
        calibration = LabelledImages(config, 'train_dataloader', number, 'INT8')
        write = partial(write_int8, images=calibration, max_drop=args.max_drop)
    if not args.no_check:
        purpose = 'checking the file (or give --no-check)'
        images = LabelledImages(config, 'test_dataloader', args.images, purpose)
    is_converted = args.format in CONVERTED and args.precision != 'int8'
    dtype = DTYPES[args.precision if is_converted else 'fp32']
    model = init_model(config, args.checkpoint, 'cpu', dtype=dtype)
    size = tuple(args.size) if args.size else None
    form = (args.output, args.precision)
    export(model, path, describe(model, *form, size, args.checkpoint), write)
    print(f'{path}: {path.stat().st_size / 2**20:.1f} MiB, {", ".join(form)}')
    if images is None:
        print('Not checked, as --no-check says.')
    else:
        check(args, config, size, path, images)


def path_to_write(args: Namespace) -> Path:
    """Return the file to write, after a check that it can be written.

    Raises:
        FileExistsError, ImportError: See `check_free` and `check_packages`.
        ValueError: Its name is not of the format.
    """
    from mmseg_fastscnn.deploy.export import check_free, check_packages

    suffix = SUFFIXES[args.format]
    beside = f'.{args.format}{suffix}'  # OpenVINO and ncnn both have a .bin
    path = args.out or Path(args.checkpoint).with_suffix(beside)
    if path.suffix != suffix:
        raise ValueError(f'--out {path}: a file of {args.format} is named *{suffix}.')
    check_free(path)
    check_packages(suffix, args.precision)
    return path


def check(
    args: Namespace,
    config: Config,
    size: tuple[int, int] | None,
    path: Path,
    images: LabelledImages,
) -> None:
    """Compare a file with its checkpoint; end with status 1 if it is worse."""
    from mmseg_fastscnn.deploy.backends import Predictor
    from mmseg_fastscnn.deploy.check import compare
    from mmseg_fastscnn.deploy.export import move_aside

    before = Predictor(args.checkpoint, config, size, device='cpu')
    found = compare(before, Predictor(path), images)
    print('\n'.join(found.lines()))
    failures = found.failures(args.precision, args.max_drop)
    if failures:
        print(f'Not as good as the checkpoint, so it is kept as {move_aside(path)}:')
        print('\n'.join(failures))
        sys.exit(1)
