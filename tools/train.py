"""Train a segmentor from a config file."""

import argparse
import os

from mmseg_fastscnn.checkpoint.classes import read_classes
from mmseg_fastscnn.commands import options
from mmseg_fastscnn.commands.entrance import run_command
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.engine.dry_run import dry_run
from mmseg_fastscnn.engine.resume import check_work_dir, last_checkpoint
from mmseg_fastscnn.engine.runner import SegRunner
from mmseg_fastscnn.machine import leave_process_group


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_run(parser, work_dir='for checkpoints and logs')
    parser.add_argument('--load-from', metavar='CKPT', help='start from its weights')
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
        help='go on where the checkpoint, by default the last of the work dir, stopped',
    )
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision: fp16 on CUDA, bf16 on CPU'
    )
    parser.add_argument(
        '--seed', type=int, help='seed of weights, order and augmentation'
    )
    parser.add_argument(
        '--deterministic', action='store_true', help='only deterministic algorithms'
    )
    parser.add_argument(
        '--no-auto-scale-lr',
        action='store_true',
        help='keep the lr of the config whatever the batch size',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='check config and data, run one step and one validation batch, and stop; '
        'nothing is written',
    )
    args = parser.parse_args()
    if args.load_from and args.resume not in (None, 'auto'):
        parser.error('--load-from and --resume CKPT name two checkpoints; give one.')
    return args


def main() -> None:
    args = parse_args()
    config = load_config(
        args.config, args.cfg_options, args.data_root, args.work_dir, args.launcher
    )
    if args.load_from:
        config.load_from = args.load_from
    if args.classes_from:
        config.checkpoint_classes = read_classes(args.classes_from)
    if args.resume:
        checkpoint = args.resume
        if checkpoint == 'auto':
            checkpoint = last_checkpoint(config.work_dir)
        if checkpoint is None:
            print(f'No checkpoint in {config.work_dir}: starting at iteration 0.')
        else:
            config.resume, config.load_from = True, str(checkpoint)
    if args.amp:
        config.optim_wrapper.type = 'AmpOptimWrapper'
    if args.no_auto_scale_lr and config.get('auto_scale_lr'):
        config.auto_scale_lr.enable = False
    randomness = {'seed': None, **config.get('randomness', {})}
    if args.seed is not None:
        randomness['seed'] = args.seed
    if args.deterministic:
        # cuBLAS asks for it
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
        randomness['deterministic'] = True
    config.randomness = randomness
    if args.dry_run:
        dry_run(config)
        return
    check_work_dir(config)
    SegRunner.from_cfg(config).train()


if __name__ == '__main__':
    run_command(main)
    leave_process_group()
