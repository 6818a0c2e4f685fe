"""Train a segmentor from a config file, or on a folder of annotated images.

For a folder, crop, batch and schedule are chosen from the images and the machine, and
each choice is said with its reason. What can be read: see `fastscnn check`.

Example: fastscnn train photos --minutes 20
Example: fastscnn train fast_scnn_camvid.py --data-root data/camvid --amp
"""

from __future__ import annotations

import math
import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmseg_fastscnn.commands import options

if TYPE_CHECKING:
    from mmengine.config import Config

NEEDED = ('train_dataloader', 'train_cfg', 'optim_wrapper')


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    options.add_run(parser, 'folder for checkpoints and logs', or_folder=True)
    add_length(parser)
    add_checkpoints(parser)
    add_settings(parser)
    args = parser.parse_args(words)
    check_args(parser, args)
    return args


def add_length(parser: ArgumentParser) -> None:
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        '--minutes',
        type=float,
        metavar='M',
        help='fit the schedule so that the run ends after so many minutes',
    )
    length.add_argument(
        '--iterations', type=int, metavar='N', help='of a folder: length of the run'
    )
    length.add_argument(
        '--epochs', type=float, metavar='E', help='of a folder: length of the run'
    )
    parser.add_argument(
        '--patience',
        type=int,
        metavar='N',
        help='stop after N validations in a row without a better mIoU',
    )


def add_checkpoints(parser: ArgumentParser) -> None:
    parser.add_argument(
        *('--load-from', '--from'),
        dest='load_from',
        metavar='CKPT',
        help='start from these weights: a file, or streets, which come with the '
        'package (./streets is a file)',
    )
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
        '--save-every',
        type=float,
        metavar='MINUTES',
        help='write a checkpoint at least every so many minutes, also between those of '
        'the config',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='begin anew in a work dir with checkpoints, which are removed',
    )


def add_settings(parser: ArgumentParser) -> None:
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision: fp16 on CUDA, bf16 on CPU'
    )
    parser.add_argument(
        '--compile',
        action='store_true',
        help='compile the network (torch.compile), for long runs on a GPU',
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
        '--max-bad-steps',
        type=int,
        metavar='N',
        help='stop after N steps in a row whose loss is not finite, by default 5; none '
        'of them is taken',
    )
    parser.add_argument(
        '--skip-bad',
        type=int,
        default=0,
        metavar='N',
        help='go on without up to N training images that cannot be read, or whose '
        'label cannot; they are listed in the work dir',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='check config and data, run one step and one validation batch, then stop; '
        'nothing is written',
    )


def check_args(parser: ArgumentParser, args: Namespace) -> None:
    """End with a message if an option is out of range or contradicts another."""
    if args.load_from and args.resume not in (None, 'auto'):
        parser.error('--load-from and --resume CKPT name two checkpoints; give one.')
    if args.overwrite and args.resume:
        parser.error('--overwrite begins anew and --resume goes on; give one.')
    if args.seed is not None and not 0 <= args.seed < 2**32:
        parser.error(f'--seed is {args.seed}; it must be from 0 to 4294967295.')
    if args.max_bad_steps is not None and args.max_bad_steps < 1:
        parser.error(f'--max-bad-steps is {args.max_bad_steps}; it must be 1 or more.')
    if args.skip_bad < 0:
        parser.error(f'--skip-bad is {args.skip_bad}; it must be 0 or more.')
    if args.save_every is not None and not args.save_every > 0:
        parser.error(f'--save-every is {args.save_every:g}; it must be over 0 minutes.')
    for name in ('minutes', 'iterations', 'epochs', 'patience'):
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            parser.error(f'--{name} is {value:g}; it must be over 0 and finite.')
    if not Path(args.config).is_dir() and (args.iterations or args.epochs):
        parser.error(
            '--iterations and --epochs are for folders; of a config, set train_cfg and '
            'param_scheduler by --cfg-options, or give --minutes.'
        )
    if Path(args.config).is_dir() and args.data_root:
        parser.error('--data-root needs a config, not a folder.')


def main(args: Namespace) -> None:
    from mmseg_fastscnn.config import load_config, require
    from mmseg_fastscnn.engine.dry_run import dry_run
    from mmseg_fastscnn.engine.interruption import stop_on_signals
    from mmseg_fastscnn.engine.resume.work_dir import (
        RemoveEarlierRun,
        alone_in,
        check_work_dir,
    )
    from mmseg_fastscnn.engine.runner import SegRunner
    from mmseg_fastscnn.engine.skipped_samples import skip_bad_samples
    from mmseg_fastscnn.report.live import ReportHook

    is_folder = Path(args.config).is_dir()
    source = config_of_folder(args) if is_folder else args.config
    config = load_config(
        source, args.cfg_options, args.data_root, args.work_dir, args.launcher
    )
    require(config, NEEDED, 'training')
    choose_checkpoint(config, args)
    apply_settings(config, args)
    if args.dry_run:
        dry_run(config, args.overwrite)
        return
    with alone_in(config):
        check_work_dir(config, args.overwrite)
        if args.skip_bad:
            skip_bad_samples(config, args.skip_bad)
        runner = SegRunner.from_cfg(config)
        if args.overwrite:
            runner.register_hook(RemoveEarlierRun())
        if runner.validates:
            runner.register_hook(ReportHook())
        with stop_on_signals(runner, args.save_every):
            runner.train()


def config_of_folder(args: Namespace) -> Config | Path:
    """Return the config of a run on a folder; a run that goes on keeps its own.

    Raises:
        ValueError: Some files cannot be used; all of them are named.
    """
    from mmengine.config import Config

    from mmseg_fastscnn.config.text import config_text
    from mmseg_fastscnn.engine.folder.choices import choose
    from mmseg_fastscnn.engine.folder.config import (
        config_name,
        folder_config,
        sizes_of,
    )
    from mmseg_fastscnn.engine.folder.own_data import is_unchanged, read_own_data
    from mmseg_fastscnn.engine.processes import process_count
    from mmseg_fastscnn.report.page import printable

    name = config_name(Path(args.config).resolve())
    work_dir = Path(args.work_dir or f'work_dirs/{Path(name).stem}')
    if args.resume and (work_dir / name).is_file():
        return work_dir / name
    data = read_own_data(args.config)
    by_check = data.out / name
    if by_check.is_file() and not is_unchanged(by_check):
        raise ValueError(
            f'{by_check} was changed since `fastscnn check` wrote it. To train as it '
            f'says: fastscnn train {shlex.quote(str(by_check))}. To have all settings '
            f'chosen anew, remove it.'
        )
    sizes = sizes_of(data)
    if data.found.problems or not data.can_train or not sizes:
        raise ValueError(
            '\n'.join(data.found.problems or [f'{args.config}: no images to train on.'])
            + f'\nfastscnn check {args.config} says more.'
        )
    processes = process_count(args.launcher)
    choices = choose(sizes, args.iterations, args.epochs, args.minutes, processes)
    choices.reasons['start'] = args.load_from or (
        'random weights; pictures of streets learn faster by --from streets'
    )
    left_out = [f'  left out: {text}' for text in data.found.left_out]
    for line in (*data.lines(), *left_out, *choices.lines()):
        print(printable(line))
    config = folder_config(data, choices, args.load_from)
    # the text stands for a file, which the run writes into its work dir
    return Config(config.to_dict(), cfg_text=config_text(config), filename=name)


def choose_checkpoint(config: Config, args: Namespace) -> None:
    """Set the checkpoint to start from or to resume.

    What torchrun starts again goes on from the run's last checkpoint, if it wrote one.
    """
    from mmseg_fastscnn.checkpoint.classes import read_classes
    from mmseg_fastscnn.engine.processes import is_first, restarts
    from mmseg_fastscnn.engine.resume.work_dir import checkpoint_to_resume

    if args.load_from:
        config.load_from = args.load_from
    if args.classes_from:
        config.checkpoint_classes = read_classes(args.classes_from)
    checkpoint = args.resume
    if restarts() or checkpoint == 'auto':
        given = None if checkpoint == 'auto' else checkpoint
        checkpoint = checkpoint_to_resume(config) or given
        if checkpoint is None and is_first(config.launcher):
            print(f'No checkpoint in {config.work_dir}: starting at iteration 0.')
    if restarts() and is_first(config.launcher):
        print(
            f'Restart {restarts()}, from {checkpoint or "the beginning"}.', flush=True
        )
    if checkpoint is not None:
        config.resume, config.load_from = True, str(checkpoint)


def apply_settings(config: Config, args: Namespace) -> None:
    """Set precision, learning rate and randomness of the run."""
    if args.amp:
        config.optim_wrapper.type = 'AmpOptimWrapper'
    if args.compile and not config.get('compile'):
        config.compile = True
    if args.no_auto_scale_lr and config.get('auto_scale_lr'):
        config.auto_scale_lr.enable = False
    if args.max_bad_steps is not None:
        config.max_bad_steps = args.max_bad_steps
    hooks = list(config.get('custom_hooks') or ())
    if args.minutes is not None:
        hooks = [hook for hook in hooks if hook['type'] != 'TimeLimitHook']
        hooks.append(dict(type='TimeLimitHook', minutes=args.minutes))
    if args.patience is not None:
        hooks = [hook for hook in hooks if hook['type'] != 'EarlyStoppingHook']
        hooks.append(
            dict(type='EarlyStoppingHook', monitor='mIoU', patience=args.patience)
        )
    config.custom_hooks = hooks
    randomness = {'seed': None, **config.get('randomness', {})}
    if args.seed is not None:
        randomness['seed'] = args.seed
    if args.deterministic:
        randomness['deterministic'] = True
    config.randomness = randomness
