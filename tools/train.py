"""Train a segmentor from a config file."""

import argparse
import os

from mmengine.config import Config

from mmseg_fastscnn.checkpoint.classes import read_classes
from mmseg_fastscnn.commands import options
from mmseg_fastscnn.commands.entrance import run_command
from mmseg_fastscnn.config import load_config, require
from mmseg_fastscnn.engine.dry_run import dry_run
from mmseg_fastscnn.engine.runner import SegRunner
from mmseg_fastscnn.engine.work_dir import (
    RemoveEarlierRun,
    check_work_dir,
    checkpoint_to_resume,
)
from mmseg_fastscnn.machine import leave_process_group

NEEDED = ('train_dataloader', 'train_cfg', 'optim_wrapper')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_run(parser, work_dir='folder for checkpoints and logs')
    parser.add_argument('--load-from', metavar='CKPT', help='start from these weights')
    parser.add_argument(
        '--classes-from',
        metavar='NAMES',
        help='classes of the --load-from checkpoint, where it does not name them: a '
        'data set such as CityscapesDataset, or a text file with one class per line',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='go on from this checkpoint, by default from the last of the work dir',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='begin anew in a work dir with checkpoints, which are removed',
    )
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision: fp16 on CUDA, bf16 on CPU'
    )
    parser.add_argument(
        '--seed', type=int, help='seed of weights, order of images and augmentation'
    )
    parser.add_argument(
        '--deterministic', action='store_true', help='use deterministic algorithms only'
    )
    parser.add_argument(
        '--no-auto-scale-lr',
        action='store_true',
        help='keep the learning rate of the config, whatever the batch size',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='check config and data, run one step and one validation batch, then stop; '
        'nothing is written',
    )
    args = parser.parse_args()
    if args.load_from and args.resume not in (None, 'auto'):
        parser.error('--load-from and --resume CKPT name two checkpoints; give one.')
    if args.overwrite and args.resume:
        parser.error('--overwrite begins anew and --resume goes on; give one.')
    if args.seed is not None and not 0 <= args.seed < 2**32:
        parser.error(f'--seed is {args.seed}; it must be from 0 to 4294967295.')
    return args


def main() -> None:
    args = parse_args()
    config = load_config(
        args.config, args.cfg_options, args.data_root, args.work_dir, args.launcher
    )
    require(config, NEEDED, 'training')
    choose_checkpoint(config, args)
    apply_settings(config, args)
    if args.dry_run:
        dry_run(config, args.overwrite)
        return
    check_work_dir(config, args.overwrite)
    runner = SegRunner.from_cfg(config)
    if args.overwrite:
        runner.register_hook(RemoveEarlierRun())
    runner.train()


def choose_checkpoint(config: Config, args: argparse.Namespace) -> None:
    """Set the checkpoint to start from or to resume."""
    if args.load_from:
        config.load_from = args.load_from
    if args.classes_from:
        config.checkpoint_classes = read_classes(args.classes_from)
    if args.resume:
        checkpoint = args.resume
        if checkpoint == 'auto':
            checkpoint = checkpoint_to_resume(config)
        if checkpoint is None:
            print(f'No checkpoint in {config.work_dir}: starting at iteration 0.')
        else:
            config.resume, config.load_from = True, str(checkpoint)


def apply_settings(config: Config, args: argparse.Namespace) -> None:
    """Set precision, learning rate and randomness of the run."""
    if args.amp:
        config.optim_wrapper.type = 'AmpOptimWrapper'
    if args.no_auto_scale_lr and config.get('auto_scale_lr'):
        config.auto_scale_lr.enable = False
    randomness = {'seed': None, **config.get('randomness', {})}
    if args.seed is not None:
        randomness['seed'] = args.seed
    if args.deterministic:
        # cuBLAS is deterministic only with a workspace of fixed size
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
        randomness['deterministic'] = True
    config.randomness = randomness


if __name__ == '__main__':
    run_command(main)
    leave_process_group()
