"""Evaluate a checkpoint: mIoU and a table of classes, at one scale or with ms+flip."""

import argparse
import json
from pathlib import Path

from mmengine.dist import is_main_process

from mmseg_fastscnn.commands import options
from mmseg_fastscnn.commands.entrance import run_command
from mmseg_fastscnn.config import load_config, use_tta
from mmseg_fastscnn.engine.predictions import PredictionHook
from mmseg_fastscnn.engine.runner import SegRunner
from mmseg_fastscnn.machine import leave_process_group, low_precision

# Testing needs nothing of these, so they do not have to be there either.
TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_run(parser, work_dir='for metrics.json and logs')
    parser.add_argument('checkpoint', help='checkpoint file')
    options.add_weights(parser)
    parser.add_argument('--tta', action='store_true', help='multi-scale and flip')
    parser.add_argument(
        '--amp', action='store_true', help='network in bfloat16 (CUDA: float16)'
    )
    parser.add_argument('--out', metavar='DIR', help='for label PNGs in raw ids')
    parser.add_argument(
        '--show-dir', metavar='DIR', help='for pictures: image | truth | prediction'
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
        (metric,) = (m for m in runner.test_evaluator.metrics if hasattr(m, 'report'))
        report = metric.report() | dict(
            num_images=len(runner.test_dataloader.dataset),
            tta=args.tta,
            dtype=str(runner.test_dtype).removeprefix('torch.'),
            config=args.config,
            checkpoint=args.checkpoint,
        )
        path = Path(config.work_dir, 'metrics.json')
        path.write_text(json.dumps(report, indent=2) + '\n')
        print(f'Written: {path}')
    for folder in (args.out, args.show_dir):
        if folder and is_main_process():
            print(f'Written: {folder}')


if __name__ == '__main__':
    run_command(main)
    leave_process_group()
