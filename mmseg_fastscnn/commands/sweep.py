"""Train recipes over several seeds, and write one table with means and spreads.

A recipe is a config with one combination of the --grid values. Arguments of `train` for
all runs stand after `--`. The same command, given again, goes on where it was stopped.
In a Slurm array each task does the run of its number (--list).

Example: fastscnn sweep base.py ohem.py --seeds 0 1 2 --budget-minutes 25 -- --amp
Example: fastscnn sweep base.py --grid optim_wrapper.optimizer.lr=.001,.002
"""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

# arguments of `train` that a sweep sets itself, for each run, or that train nothing
OURS = ('--work-dir', '--seed', '--minutes', '--resume', '--cfg-options', '--overwrite')
OURS += ('--dry-run',)


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    parser.add_argument('configs', metavar='CONFIG', nargs='+', help='config files')
    parser.add_argument(
        '--seeds', type=int, nargs='+', default=[0, 1, 2], help='(default: 0 1 2)'
    )
    parser.add_argument(
        '--grid',
        metavar='KEY=A,B',
        nargs='+',
        default=[],
        help='values of a setting of the configs, one recipe for each',
    )
    parser.add_argument(
        '--folds',
        metavar='FILE',
        nargs='+',
        default=[],
        help='text files with settings, one KEY=VALUE per line, such as other data to '
        'train and validate on; each recipe is trained with each',
    )
    parser.add_argument(
        '--budget-minutes',
        type=float,
        metavar='M',
        help='train each run for M minutes, so that recipes are compared at equal time',
    )
    parser.add_argument(
        '--out', default='work_dirs/sweep', help='folder of the runs and the table'
    )
    parser.add_argument(
        '--gpus',
        nargs='+',
        metavar='K',
        help='GPUs to use, one run on each at a time (default: one run at a time)',
    )
    parser.add_argument(
        '--list', action='store_true', help='show the runs with their numbers, and stop'
    )
    words = list(sys.argv[1:] if words is None else words)
    cut = words.index('--') if '--' in words else len(words)
    args = parser.parse_args(words[:cut])
    args.train = words[cut + 1 :]
    for word in args.train:
        option = word.split('=')[0]  # perhaps shortened, which argparse allows
        if option.startswith('--') and any(name.startswith(option) for name in OURS):
            parser.error(
                f'{word} stands after --, but a sweep sets it for each run, or it '
                f'trains nothing. Settings of a config go to --grid KEY=VALUE, minutes '
                f'to --budget-minutes; --list shows the runs.'
            )
    if args.budget_minutes is not None and not args.budget_minutes > 0:
        parser.error(f'--budget-minutes is {args.budget_minutes:g}; it must be over 0.')
    return args


def main(args: Namespace) -> None:
    from pathlib import Path

    from mmseg_fastscnn.engine.sweep.lock import locked
    from mmseg_fastscnn.engine.sweep.plan import planned_runs, recipes_of
    from mmseg_fastscnn.engine.sweep.runs import do_runs
    from mmseg_fastscnn.report.sweep_table import NUMBERS, TABLE, write_table
    from mmseg_fastscnn.results import check_may_write

    recipes = recipes_of(args.configs, args.grid)
    runs = planned_runs(
        recipes, args.folds, args.seeds, args.out, args.budget_minutes, args.train
    )
    if args.list:
        for k, run in enumerate(runs):
            print(f'{k:>4}  {run.folder}')
        return
    task = os.environ.get('SLURM_ARRAY_TASK_ID')
    if task is not None and int(task) >= len(runs):
        raise ValueError(
            f'This is task {task} of a Slurm array, and the runs are 0 to '
            f'{len(runs) - 1}: submit it with --array=0-{len(runs) - 1}.'
        )
    for name in (TABLE, NUMBERS):
        check_may_write(Path(args.out, name))
    with locked(args.out, shared=task is not None):
        failed = do_runs(runs if task is None else [runs[int(task)]], args.gpus)
        if failed:
            print('These runs failed; the same command tries them again:')
        for run, status in failed.items():
            print(f'  {run.folder}: exit status {status}')
        for line in write_table(args.out, runs):
            print(line)
    sys.exit(1 if failed else 0)
