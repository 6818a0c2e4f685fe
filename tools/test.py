"""Evaluate a checkpoint: mIoU and a table of classes, at one scale or with ms+flip."""

import argparse
import json
import math
from pathlib import Path

from mmengine.config import DictAction
from mmengine.dist import is_main_process

from mmseg_fastscnn.config import load_config, use_tta
from mmseg_fastscnn.engine.predictions import PredictionHook
from mmseg_fastscnn.engine.runner import SegRunner
from mmseg_fastscnn.evaluation import IoUMetric
from mmseg_fastscnn.machine import leave_process_group, low_precision

# What testing needs nothing of; so it does not have to be there either.
TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--weights',
        choices=['ema', 'raw'],
        default='ema',
        help='averaged or trained weights, where the checkpoint has both',
    )
    parser.add_argument('--tta', action='store_true', help='multi-scale and flip')
    parser.add_argument(
        '--amp', action='store_true', help='network in bfloat16 (CUDA: float16)'
    )
    parser.add_argument('--work-dir', help='for metrics.json and logs')
    parser.add_argument('--out', metavar='DIR', help='for label PNGs in raw ids')
    parser.add_argument(
        '--show-dir', metavar='DIR', help='for pictures: image | truth | prediction'
    )
    parser.add_argument('--data-root', help='moves every data set of the config')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change settings of the config, e.g. model.test_cfg.mode=slide',
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    config = load_config(
        args.config, args.cfg_options, args.data_root, args.work_dir, args.launcher
    )
    config.load_from, config.resume = args.checkpoint, False
    for key in TRAINING:
        config.pop(key, None)
    if args.tta:
        use_tta(config)
    runner = SegRunner.from_cfg(config)
    runner.weights = args.weights
    if args.amp:
        runner.test_dtype = low_precision()
    if args.out or args.show_dir:
        runner.register_hook(PredictionHook(args.out, args.show_dir))
    means = runner.test()
    if means and is_main_process():
        path = Path(config.work_dir, 'metrics.json')
        report = dict(
            finite(means),
            per_class=per_class(runner),
            num_images=len(runner.test_dataloader.dataset),
            tta=args.tta,
            dtype=str(runner.test_dtype).removeprefix('torch.'),
            config=args.config,
            checkpoint=args.checkpoint,
        )
        path.write_text(json.dumps(report, indent=2) + '\n')
        print(f'Written: {path}')
    for folder in (args.out, args.show_dir):
        if folder and is_main_process():
            print(f'Written: {folder}')


def per_class(runner: SegRunner) -> dict[str, dict]:
    metric = next(m for m in runner.test_evaluator.metrics if isinstance(m, IoUMetric))
    return {name: finite(row) for name, row in metric.per_class.items()}


def finite(row: dict[str, float]) -> dict[str, float | None]:
    """JSON has no nan: null stands for a class that does not occur."""
    return {name: None if math.isnan(v) else v for name, v in row.items()}


if __name__ == '__main__':
    main()
    leave_process_group()
