"""Train a segmentor from a config file."""

import argparse
import os
from pathlib import Path

from mmengine.config import DictAction

from mmseg_fastscnn.checkpoint.classes import read_classes
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.engine.runner import SegRunner
from mmseg_fastscnn.machine import leave_process_group


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, e.g. configs/fastscnn/*.py')
    parser.add_argument('--work-dir', help='for checkpoints and logs')
    parser.add_argument('--data-root', help='moves every data set of the config')
    parser.add_argument('--load-from', metavar='CKPT', help='start from its weights')
    parser.add_argument(
        '--classes-from',
        metavar='NAMES',
        help='classes of the --load-from checkpoint, where it does not name them: a '
        'data set such as CityscapesDataset, or a text file with one a line',
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
    parser.add_argument('--seed', type=int, help='of weights, order and augmentation')
    parser.add_argument(
        '--deterministic', action='store_true', help='only deterministic algorithms'
    )
    parser.add_argument(
        '--no-auto-scale-lr',
        action='store_true',
        help='keep the lr of the config whatever the batch size',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change settings of the config, e.g. train_cfg.max_iters=1000',
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none'
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
        config.resume = args.resume != 'auto'
        checkpoint = args.resume
        if args.resume == 'auto':
            pointer = Path(config.work_dir, 'last_checkpoint')
            checkpoint = pointer.read_text().strip() if pointer.exists() else None
        if checkpoint is None:
            print(f'No checkpoint in {config.work_dir}: starting at iteration 0.')
        else:
            config.resume, config.load_from = True, checkpoint
    if args.amp:
        config.optim_wrapper.type = 'AmpOptimWrapper'
    if args.no_auto_scale_lr and config.get('auto_scale_lr'):
        config.auto_scale_lr.enable = False
    randomness = {'seed': None, **config.get('randomness', {})}
    if args.seed is not None:
        randomness['seed'] = args.seed
    if args.deterministic:
        os.environ.setdefault(
            'CUBLAS_WORKSPACE_CONFIG', ':4096:8'
        )  # cuBLAS asks for it
        randomness['deterministic'] = True
    config.randomness = randomness
    SegRunner.from_cfg(config).train()


if __name__ == '__main__':
    main()
    leave_process_group()
