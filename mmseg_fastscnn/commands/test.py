"""Evaluate a checkpoint at one scale or with ms+flip: mIoU and a table of classes.

A checkpoint of `train` holds its config, so it may stand alone. An exported file (see
docs/deploy.md) is tested on the images and labels of a config.

Example: fastscnn test best_mIoU_iter_4000.pth --tta
Example: fastscnn test fast_scnn_camvid.py street.onnx
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmseg_fastscnn.commands import options
from mmseg_fastscnn.file_kinds import CONFIG_FILES, is_exported

if TYPE_CHECKING:
    import torch
    from mmengine.config import Config

    from mmseg_fastscnn.engine.runner import SegRunner
    from mmseg_fastscnn.evaluation import IoUMetric

NEEDED = ('test_dataloader', 'test_cfg', 'test_evaluator')
# Removed, so that testing does not need the training data.
TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')
# Removed from a config inside a checkpoint: its author would choose which files they
# write.
WRITERS = ('visualizer', 'vis_backends', 'default_hooks', 'custom_hooks')


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    options.add_run(parser, 'folder for scores and logs', config_may_lack=True)
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
    if Path(args.checkpoint).suffix in CONFIG_FILES:
        parser.error(f'{args.checkpoint} is a config; name a checkpoint after it.')
    if args.out and Path(args.out).suffix in ('.pkl', '.json'):
        parser.error(
            f'--out {args.out}: it is a folder for label PNGs. Scores are in '
            f'metrics.json of the work dir.'
        )
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
    import torch
    from mmengine.dist import is_main_process

    from mmseg_fastscnn.apis import config_in
    from mmseg_fastscnn.config import load_config, require, use_tta
    from mmseg_fastscnn.engine.predictions import PredictionHook
    from mmseg_fastscnn.engine.record.image_scores import count_each_image
    from mmseg_fastscnn.engine.runner import SegRunner
    from mmseg_fastscnn.machine import low_precision, warn_of_slow_bfloat16
    from mmseg_fastscnn.results import check_may_write

    config = args.config or config_in(args.checkpoint)
    work_dir = args.work_dir or (None if args.config else work_dir_of(config, args))
    config = load_config(
        config, args.cfg_options, args.data_root, work_dir, args.launcher
    )
    require(config, NEEDED, 'testing')
    if args.config is None:
        keep_to_work_dir(config, args.checkpoint)
    dtype = low_precision() if args.amp else torch.float32
    path = Path(config.work_dir, metrics_file(args, dtype))
    for written in (path, path.with_suffix('.html')):
        check_may_write(written)
    for key in TRAINING:
        config.pop(key, None)
    if args.tta:
        use_tta(config)
    if is_exported(args.checkpoint):
        runner = runner_of_file(config, args.checkpoint)
    else:
        config.load_from, config.resume = args.checkpoint, False
        runner = SegRunner.from_cfg(config)
        runner.test_dtype = dtype
    runner.weights = args.weights
    if args.amp:
        warn_of_slow_bfloat16(dtype)
    metric = count_each_image(runner.test_evaluator)
    if args.out or args.show_dir:
        runner.register_hook(PredictionHook(args.out, args.show_dir))
    means = runner.test()
    if means and is_main_process():
        write_metrics(path, runner, means, metric, args)
    for folder in (args.out, args.show_dir):
        if folder and is_main_process():
            print(f'Written: {folder}')


def work_dir_of(config: Config, args: Namespace) -> str:
    """Return the work dir for testing a checkpoint without a config.

    It is the folder of its run if the checkpoint lies there. If not, the checkpoint
    names a folder of another machine, or none.
    """
    folder = config.get('work_dir')
    if folder and Path(folder).resolve() == Path(args.checkpoint).resolve().parent:
        return folder
    return f'work_dirs/{Path(args.checkpoint).stem}'


def keep_to_work_dir(config: Config, checkpoint: str) -> None:
    """Leave out of a config inside a checkpoint what writes files of its choice.

    Raises:
        ValueError: It has another metric than `IoUMetric`, which may write some, too.
    """
    from mmseg_fastscnn.config import file_datasets

    for key in WRITERS:
        config.pop(key, None)
    for dataset in file_datasets(config, ['test_dataloader']):
        dataset.pop('packed', None)
    metrics = config.test_evaluator
    for metric in [metrics] if isinstance(metrics, Mapping) else metrics:
        if metric.get('type') != 'IoUMetric':
            raise ValueError(
                f'The config in {checkpoint} has the metric {metric.get("type")!r}, '
                f'which might write files of its choice. Give the config as well, if '
                f'you trust it: fastscnn test CONFIG {checkpoint}.'
            )
        for key in ('output_dir', 'format_only'):
            metric.pop(key, None)


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


def metrics_file(args: Namespace, dtype: torch.dtype) -> str:
    """Return the name of the file of scores, one for each kind of evaluation.

    `metrics.json`; `metrics_raw_ms_flip_bfloat16.json` for raw weights, multiple scales
    and flips, computed in bfloat16; `metrics_street_onnx.json` for street.onnx.
    """
    file = Path(args.checkpoint).name.replace('.', '_')
    kinds = [
        file if is_exported(args.checkpoint) else None,
        'raw' if args.weights == 'raw' else None,
        'ms_flip' if args.tta else None,
        name_of(dtype) if args.amp else None,
    ]
    return '_'.join(['metrics', *filter(None, kinds)]) + '.json'


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix('torch.')


def write_metrics(
    path: Path,
    runner: SegRunner,
    means: dict,
    metric: IoUMetric | None,
    args: Namespace,
) -> None:
    """Write the scores, and how they were measured, as JSON and as a page.

    Args:
        metric: The one that counted the pixels of each image, if there is one.
    """
    from mmseg_fastscnn.engine.record.image_scores import image_scores
    from mmseg_fastscnn.report.page import write_page
    from mmseg_fastscnn.report.scores_page import parts_of_page
    from mmseg_fastscnn.writing import write_file

    metrics = runner.test_evaluator.metrics
    reports = [metric.report() for metric in metrics if hasattr(metric, 'report')]
    # several reports would have the same keys; the means have the metrics' prefixes
    report = reports[0] if len(reports) == 1 else means
    report = report | dict(
        num_images=len(runner.test_dataloader.dataset),
        tta=args.tta,
        dtype=name_of(runner.test_dtype),
        weights=args.weights,
        config=args.config,
        checkpoint=args.checkpoint,
        per_image=image_scores(metric.image_counts) if metric else {},
    )
    if metric is not None:
        report['confusion_matrix'] = metric.confusion.tolist()
    # a user's metric may give tensors or values of NumPy
    text = json.dumps(report, indent=2, default=lambda value: value.tolist())
    write_file(path, (text + '\n').encode())
    print(f'Written: {path}')
    if metric is not None:
        page = path.with_suffix('.html')
        classes = runner.test_dataloader.dataset.metainfo['classes']
        write_page(page, parts_of_page(report, classes))
        print(f'Written: {page}')
