"""Train the published and the improved recipe on Cityscapes, and write README's rows.

    python benchmarks/cityscapes.py --data-root data/cityscapes --gpus 0 1 2 3
    python benchmarks/cityscapes.py --shortened    # on generated streets, in minutes

Each run, of two recipes with three seeds, has one GPU for itself, with all 32 images of
a step on it. The published run had 8 GPUs with 4 images each and SyncBN: the same
statistics. First a short run of the published recipe is timed, from which the expected
hours follow. Then `fastscnn sweep` trains, and each last checkpoint is tested with
ms+flip. The same command goes on where it was stopped. The rows, with mean and standard
deviation over the seeds, are printed and written to `rows.md`.

A GPU needs memory for 32 images: 8 times the 3.3 GB that mmsegmentation took for 4, or
less. Settings of the machine are changed by `--cfg-options`, for instance
`train_dataloader.num_workers=12` or `train_dataloader.dataset.packed=DIR`, a decoded
copy that loads faster. A change after the first start needs another `--out`.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

from mmseg_fastscnn.commands import options
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.engine.resume.work_dir import last_checkpoint
from mmseg_fastscnn.engine.sweep.runs import forwarded_signals
from mmseg_fastscnn.registry import DATASETS
from mmseg_fastscnn.report.comparison import spread_of
from mmseg_fastscnn.report.run_files import json_lines, read_run
from mmseg_fastscnn.report.sweep_table import NUMBERS

ROOT = Path(__file__).resolve().parents[1]
RECIPES = (
    'fast_scnn_lr0.12_8x4_160k_cityscapes',
    'fast_scnn_improved_160k_cityscapes',
)
ON_ONE_GPU = ['train_dataloader.batch_size=32', 'train_dataloader.num_workers=8']
TIMED, VALIDATED = 40, 20  # steps and images of the run that is timed
SHORTENED = [
    *('train_cfg.max_iters=4', 'train_cfg.val_interval=2', 'param_scheduler.0.end=4'),
    *('default_hooks.checkpoint.interval=2', 'train_dataloader.batch_size=2'),
    *('train_dataloader.num_workers=0', 'val_dataloader.num_workers=0'),
    'model.data_preprocessor.size=(64,128)',
    'train_dataloader.dataset.pipeline.2.scale=(256,128)',
    'train_dataloader.dataset.pipeline.3.crop_size=(64,128)',
    'val_dataloader.dataset.pipeline.1.scale=(256,128)',
    'test_dataloader.dataset.pipeline.1.scale=(256,128)',
    'test_dataloader.num_workers=0',
]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data-root', default='data/cityscapes')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/cityscapes'))
    parser.add_argument('--seeds', nargs='+', default=['0', '1', '2'])
    parser.add_argument('--gpus', nargs='+', metavar='K', help='one run on each')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE')
    parser.add_argument(
        '--shortened', action='store_true', help='4 steps on generated streets'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    settings = [*ON_ONE_GPU, *args.cfg_options]
    if args.shortened:
        args.data_root, settings = str(args.out / 'streets'), SHORTENED
        counts = ('--num-train', 8, '--num-val', VALIDATED)
        words = ('make_toy_streets', args.data_root, '--size', 128, 256, *counts)
        fastscnn(args, *words)
    print(expected(args, settings, timed(args, settings)), flush=True)
    facts = sweep(args, settings)
    of_recipe = {name: [f for f in facts if f['recipe'] == name] for name in RECIPES}
    rows = [row(args, *pair) for pair in of_recipe.items()]
    (args.out / 'rows.md').write_text('\n'.join(rows) + '\n')
    print('\n'.join(rows))


def fastscnn(args: argparse.Namespace, *words: object) -> None:
    """Run a verb, on the first of the GPUs; end if it fails."""
    env = dict(os.environ)
    if args.gpus and words[0] != 'sweep':  # which gives one to each run
        env['CUDA_VISIBLE_DEVICES'] = args.gpus[0]
    command = [sys.executable, '-m', 'mmseg_fastscnn', *map(str, words)]
    active = []
    with forwarded_signals(active):
        # a session of its own gets signals once, so that a run saves before it ends
        process = subprocess.Popen(command, env=env, start_new_session=True)
        active.append(SimpleNamespace(process=process))
        status = process.wait()
    if status:
        sys.exit(status)


def timed(args: argparse.Namespace, settings: Sequence[str]) -> Path:
    """Return the folder of a short run, which is made once."""
    folder, steps = args.out / 'timing', 4 if args.shortened else TIMED
    if not validations(folder):
        short = [
            *(f'train_cfg.max_iters={steps}', f'train_cfg.val_interval={steps}'),
            f'default_hooks.checkpoint.interval={steps}',
            f'default_hooks.logger.interval={steps // 4}',
            f'val_dataloader.dataset.indices={list(range(VALIDATED))}'.replace(' ', ''),
        ]
        words = ['train', config_of(RECIPES[0]), '--work-dir', folder, '--overwrite']
        words += ['--data-root', args.data_root, '--cfg-options', *settings, *short]
        fastscnn(args, *words)
    return folder


def validations(folder: Path) -> list[dict]:
    """Return the lines of validations in the log of the last start, if there is one."""
    logs = sorted(folder.glob('*/vis_data/scalars.json'))
    return [line for line in json_lines(logs[-1]) if 'mIoU' in line] if logs else []


def expected(args: argparse.Namespace, settings: Sequence[str], folder: Path) -> str:
    """Say how long the runs take, by the rate of a short one."""
    run, config = read_run(folder), config_of(RECIPES[0])
    plan = load_config(config, settings_of(settings), args.data_root)
    step = statistics.fmean(time for _, time in run.curve('time')[-2:])
    (image,) = (line['time'] for line in validations(folder))
    images = len(DATASETS.build(plan.val_dataloader.dataset))
    steps, between = plan.train_cfg.max_iters, plan.train_cfg.val_interval
    count, at_once = len(RECIPES) * len(args.seeds), len(args.gpus or [None])
    hours = (steps * step + steps // between * images * image) / 3600
    return (
        f'On {run.starts[-1]["device"]}, a step of {run.starts[-1]["images_per_step"]} '
        f'images takes {step:.3f} s and a validation image {image:.3f} s. {count} runs '
        f'of {steps:,} steps, {at_once} at a time, are expected to take '
        f'{hours * math.ceil(count / at_once):.1f} hours, and their tests with ms+flip '
        f'come on top. Ctrl-C stops; the same command goes on.'
    )


def sweep(args: argparse.Namespace, settings: Sequence[str]) -> list[dict]:
    """Train and test all runs; return the facts of each, with its score of ms+flip."""
    fold = args.out / 'settings.txt'
    fold.write_text('\n'.join(settings) + '\n')
    words = ['--seeds', *args.seeds, '--folds', fold, '--out', args.out]
    if args.gpus:
        words += ['--gpus', *args.gpus]
    configs = map(config_of, RECIPES)
    fastscnn(args, 'sweep', *configs, *words, '--', '--data-root', args.data_root)
    facts = json.loads((args.out / NUMBERS).read_bytes())
    for fact in facts:
        folder = args.out / fact['recipe'] / f'settings_seed_{fact["seed"]}'
        scores = folder / 'metrics_ms_flip.json'
        if not scores.exists():
            checkpoint = last_checkpoint(folder)
            fastscnn(args, 'test', checkpoint, '--tta', '--work-dir', folder)
        fact['ms+flip'] = json.loads(scores.read_bytes())['mIoU']
        fact['start'] = read_run(folder).starts[-1]
    return facts


def row(args: argparse.Namespace, recipe: str, facts: Sequence[dict]) -> str:
    """Return a row for the table of results in README."""
    start, iterations = facts[0]['start'], facts[0]['iterations']
    data = 'generated streets, shortened' if args.shortened else 'Cityscapes val'
    seeds = ', '.join(str(fact['seed']) for fact in facts)
    cells = [
        data,
        f'[{recipe}]({config_of(recipe).relative_to(ROOT)})',
        f'{iterations:,} x {start["images_per_step"]}',
        spread_of([fact['miou'] for fact in facts]),
        spread_of([fact['ms+flip'] for fact in facts]),
        f'this project: seeds {seeds}, {start["device"]}',
    ]
    return '| ' + ' | '.join(map(str, cells)) + ' |'


def config_of(recipe: str) -> Path:
    return ROOT / 'configs/fastscnn' / f'{recipe}.py'


def settings_of(words: Sequence[str]) -> dict:
    """Return settings of the command line as a dict."""
    parser = argparse.ArgumentParser()
    options.add_config_options(parser)
    return parser.parse_args(['--cfg-options', *words]).cfg_options


if __name__ == '__main__':
    main()
