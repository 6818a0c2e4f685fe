"""Evaluate a checkpoint at one scale or with ms+flip: mIoU and a table of classes.

A checkpoint of `train` holds its config, so it may stand alone. An exported file (see
docs/deploy.md) is tested on the images and labels of a config.

Example: fastscnn test best_mIoU_iter_4000.pth --tta
Example: fastscnn test fast_scnn_camvid.py street.onnx
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmseg_fastscnn.commands import options
from mmseg_fastscnn.deploy.formats import is_exported

if TYPE_CHECKING:
    from mmengine.config import Config

    from mmseg_fastscnn.engine.runner import SegRunner

METRICS_FILE = 'metrics.json'
NEEDED = ('test_dataloader', 'test_cfg', 'test_evaluator')
# Removed, so that testing does not need the training data.
TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    options.add_run(parser, 'folder for metrics.json and logs', config_may_lack=True)
    parser.add_argument('checkpoint', help='checkpoint or exported file')
    options.add_weights(parser)
    parser.add_argument('--tta', action='store_true', help='multiple scales and flips')
    parser.add_argument(
        '--amp', action='store_true', help='run in bfloat16 (on CUDA: float16)'
    )
    parser.add_argument('--out', metavar='DIR', help='folder for label PNGs in raw ids')
    parser.add_argument(
        '--show-dir',
        metavar='DIR',
        help='folder for pictures: image | truth | prediction',
    )
    args = parser.parse_args(words)
    if is_exported(args.checkpoint):
        refuse_options(parser, args)
    return args


def refuse_options(parser: ArgumentParser, args: Namespace) -> None:
    """End with a message if an option does not go with an exported file."""
    given = {
        '--tta': args.tta,
        '--amp': args.amp,
        '--weights raw': args.weights == 'raw',
    }
    for option in filter(given.get, given):
        parser.error(
            f'{option} is for checkpoints; {args.checkpoint} is an exported file, '
            f'which has its weights, precision and scale inside.'
        )
    if args.config is None:
        parser.error(
            f'{args.checkpoint} is an exported file, which holds no test data: give '
            f'CONFIG {args.checkpoint}.'
        )


def main(args: Namespace) -> None:
    from mmengine.dist import is_main_process

    from mmseg_fastscnn.apis import config_in
    from mmseg_fastscnn.config import load_config, require, use_tta
    from mmseg_fastscnn.engine.predictions import PredictionHook
    from mmseg_fastscnn.engine.runner import SegRunner
    from mmseg_fastscnn.machine import low_precision, warn_of_slow_bfloat16
    from mmseg_fastscnn.results import check_may_write

    config = args.config or config_in(args.checkpoint)
    config = load_config(
        config, args.cfg_options, args.data_root, args.work_dir, args.launcher
    )
    require(config, NEEDED, 'testing')
    check_may_write(Path(config.work_dir, METRICS_FILE))
    for key in TRAINING:
        config.pop(key, None)
    if args.tta:
        use_tta(config)
    if is_exported(args.checkpoint):
        runner = runner_of_file(config, args.checkpoint)
    else:
        config.load_from, config.resume = args.checkpoint, False
        runner = SegRunner.from_cfg(config)
    runner.weights = args.weights
    if args.amp:
        runner.test_dtype = low_precision()
        warn_of_slow_bfloat16(runner.test_dtype)
    if args.out or args.show_dir:
        runner.register_hook(PredictionHook(args.out, args.show_dir))
    means = runner.test()
    if means and is_main_process():
        write_metrics(runner, means, args)
    for folder in (args.out, args.show_dir):
        if folder and is_main_process():
            print(f'Written: {folder}')


def runner_of_file(config: Config, file: str) -> SegRunner:
    """Return a runner whose model is an exported file."""
    from mmseg_fastscnn.deploy.backends import Predictor
    from mmseg_fastscnn.deploy.exported_model import (
        ExportedModel,
        differences,
        whole_images,
    )
    from mmseg_fastscnn.engine.runner import SegRunner

    predictor = Predictor(file)
    found = differences(config, predictor.description)
    whole_images(config)
    config.load_from, config.resume = None, False
    runner = SegRunner.from_cfg(config)
    runner.model = ExportedModel(predictor)
    runner.test_dtype = predictor.description.precision
    if found:
        runner.logger.warning('%s is tested as it is: %s.', file, '; '.join(found))
    return runner


def write_metrics(runner: SegRunner, means: dict, args: Namespace) -> None:
    """Write the scores, and how they were measured, to a file."""
    from mmseg_fastscnn.writing import whole_file

    metrics = runner.test_evaluator.metrics
    reports = [metric.report() for metric in metrics if hasattr(metric, 'report')]
    # several reports would have the same keys; the means have the metrics' prefixes
    report = reports[0] if len(reports) == 1 else means
    report = report | dict(
        num_images=len(runner.test_dataloader.dataset),
        tta=args.tta,
        dtype=str(runner.test_dtype).removeprefix('torch.'),
        config=args.config,
        checkpoint=args.checkpoint,
    )
    path = Path(runner.cfg.work_dir, METRICS_FILE)
    with whole_file(path) as file:
        file.write((json.dumps(report, indent=2) + '\n').encode())
    print(f'Written: {path}')
