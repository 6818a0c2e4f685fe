"""Compare this project with mmsegmentation: the same work, in turn, on one machine.

    make demo                              # once, for weights that have learned
    .venv/bin/python benchmarks/compare_mmseg.py

The peer is onedl-mmsegmentation, the maintained build of mmsegmentation. This script
makes an environment for it, without its dependencies, so that nothing is compiled. All
else, torch above all, it shares with the environment that runs the script. Both sides
read mmsegmentation's own Fast-SCNN config, the same weights and the same images. Every
repetition is a new process: ours, theirs, ours, theirs.

The results go to `results.json` and `table.md`: medians with minima and maxima, their
ratios, and how far the answers agree. The script runs on Linux only, where it can read
the peak memory of processes.
"""

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
PEER = [
    *('onedl-mmsegmentation==1.4.2', 'onedl-mmengine==0.10.12', 'mmcv-lite==2.2.0'),
    *('prettytable', 'wcwidth', 'ftfy', 'regex', 'scipy'),  # which these import
]
THEIRS = 'mmseg/.mim/configs/fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py'
WORK = {
    'train_step': 'training step, 4 x 512x1024, float32',
    'train_step_amp': 'training step, ours in bfloat16',
    'samples_packed': 'training sample on one core, ours from the packed copy',
    'samples_png': 'training sample on one core, PNG files',
    'predict': 'prediction 1024x2048, float32',
    'predict_graph': 'prediction 1024x2048, ours in float16 by a CUDA graph',
    'predict_bf16': 'prediction 1024x2048, ours in bfloat16',
    'ms_flip': 'ms+flip on 1024x2048, float32',
    'evaluate': 'tools/test.py on 40 PNG files of 1024x2048',
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--work', nargs='+', choices=WORK, default=list(WORK))
    parser.add_argument('--rounds', type=int, default=3, help='number of repetitions')
    parser.add_argument(
        '--checkpoint', default='work_dirs/demo/iter_720.pth', help='of 19 classes'
    )
    parser.add_argument('--out', type=Path, default=Path('work_dirs/compare_mmseg'))
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if not Path(args.checkpoint).exists():
        sys.exit(f'{args.checkpoint} does not exist: run `make demo`, or give another.')
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    pythons = dict(ours=sys.executable, mmsegmentation=str(peer_python(out)))
    config = prepare(out, Path(pythons['mmsegmentation']), args.checkpoint)
    results = {}
    for work in args.work:
        runs = {side: [] for side in pythons}
        for _ in range(args.rounds):
            for side, python in pythons.items():
                runs[side].append(run(work, side, python, config, out))
                print(
                    work, side, round(statistics.median(runs[side][-1]['seconds']), 4)
                )
        results[work] = summary(runs)
        report = dict(machine=machine(), results=results)
        (out / 'results.json').write_text(json.dumps(report, indent=2) + '\n')
        (out / 'table.md').write_text(table(report))
    print(table(report))


def peer_python(out: Path) -> Path:
    """Make the peer's environment if it is not there yet; return its Python."""
    folder = out / 'mmsegmentation'
    python = folder / 'bin/python'
    if not (folder / 'ready').exists():
        print(f'Installing {" ".join(PEER)} into {folder} ...')
        # without ensurepip, which some systems lack; this process's pip installs
        venv.create(folder, symlinks=True, clear=True)
        site = next(folder.glob('lib/python*/site-packages'))
        # packages of this process, so the same torch, come after its own
        shared = [path for path in sys.path if path.endswith('-packages')]
        shared += filter(None, os.environ.get('PYTHONPATH', '').split(os.pathsep))
        (site / 'shared.pth').write_text('\n'.join(shared) + '\n')
        install = [sys.executable, '-m', 'pip', '--python', python, 'install']
        install += ['--quiet', '--no-deps', '--retries', '1']
        subprocess.run([*install, '--ignore-installed', *PEER], check=True)
        if subprocess.run(
            [python, '-c', 'import torchvision'], stderr=subprocess.DEVNULL
        ).returncode:
            # a torchvision that does not fit this torch would end the peer's runs, but
            # the peer can do without one
            (site / 'torchvision.py').write_text('raise ModuleNotFoundError\n')
        (folder / 'ready').touch()
    return python


def prepare(out: Path, python: Path, checkpoint: str, num_val: int = 40) -> Path:
    """Write streets of 1024x2048, weights and config for both sides.

    Args:
        out: Folder of the comparison.
        python: The peer's Python.
        checkpoint: Where the weights are from.
        num_val: Number of streets to evaluate on; 8 more are for training.

    Returns:
        The config.
    """
    from mmseg_fastscnn.checkpoint import read_checkpoint
    from mmseg_fastscnn.datasets.cityscapes import CLASSES, LABEL_IDS
    from mmseg_fastscnn.datasets.label_map import LabelMap
    from mmseg_fastscnn.datasets.loading import read_label
    from mmseg_fastscnn.datasets.toy_streets import write_toy_streets

    streets, both = out / 'data/streets', out / 'data/both'
    write_toy_streets(streets, (1024, 2048), num_train=8, num_val=num_val)
    # mmsegmentation reads labels converted to train ids, here beside the labelIds
    label_map = LabelMap(LABEL_IDS, len(CLASSES))
    for path in streets.glob('gtFine/*/*/*_labelIds.png'):
        label = both / path.relative_to(streets)
        train_ids = label.with_name(label.name.replace('labelIds', 'labelTrainIds'))
        if not train_ids.exists():
            label.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, label)
            cv2.imwrite(str(train_ids), read_label(str(path), label_map))
    images = both / 'leftImg8bit'
    if not images.exists():
        images.symlink_to(streets / 'leftImg8bit')
    torch.save(read_checkpoint(checkpoint)['state_dict'], out / 'weights.pth')
    theirs = next(python.parent.parent.glob(f'lib/python*/site-packages/{THEIRS}'))
    config = out / 'config.py'
    config.write_text(
        f'_base_ = {str(theirs)!r}\n'
        f'data_root = {str(both)!r}\n'
        f'train_dataloader = dict(dataset=dict(data_root=data_root))\n'
        f'val_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root))\n'
        f'test_dataloader = val_dataloader\n'
    )
    return config


def run(
    work: str,
    side: str,
    python: str,
    config: Path,
    out: Path,
    clock: str = 'wall',
    more: Sequence = (),
) -> dict:
    """Do one piece of work in a new process of one side; `cpu` with one thread.

    `more` are further arguments of `work.py`.
    """
    threads = len(os.sched_getaffinity(0)) if clock == 'wall' else 1
    env = dict(os.environ, MKL_NUM_THREADS='', OMP_NUM_THREADS=str(threads))
    env = {key: value for key, value in env.items() if value}
    ours = os.pathsep.join([str(ROOT), env.get('PYTHONPATH', '')])
    env['PYTHONPATH'] = ours if side == 'ours' else ''
    if work == 'evaluate':
        return evaluate(side, python, config, out, env)
    result = out / f'{work}.json'
    command = [python, ROOT / 'benchmarks/work.py', side, work, '--config', config]
    command += ['--checkpoint', out / 'weights.pth', '--data', out / 'data/both']
    call([*command, '--out', result, '--clock', clock, *more], env)
    return json.loads(result.read_text())


def evaluate(side: str, python: str, config: Path, out: Path, env: dict) -> dict:
    """Time the side's own command as a whole, with the start of Python."""
    work_dir = out / f'evaluate_{side}'
    tool = ROOT / 'tools/test.py'
    if side != 'ours':
        site = Path(python).parent.parent
        tool = next(site.glob('lib/python*/site-packages/mmseg/.mim/tools/test.py'))
    began = time.perf_counter()
    weights = out / 'weights.pth'
    said = call([python, tool, config, weights, '--work-dir', work_dir], env)
    seconds = time.perf_counter() - began
    found = re.findall(r'mIoU: +([\d.]+)', said)
    return dict(seconds=[seconds], peak=None, answer=dict(mIoU=float(found[-1])))


def call(command: list, env: dict) -> str:
    """Run a command and return what it printed; end the comparison if it fails."""
    done = subprocess.run(
        list(map(str, command)), env=env, cwd=ROOT, text=True, capture_output=True
    )
    if done.returncode:
        sys.exit(f'{" ".join(map(str, command))}\n{done.stdout}\n{done.stderr}')
    return done.stdout + done.stderr


def summary(runs: dict[str, list[dict]]) -> dict:
    """Return medians, extremes, ratios and agreement of the runs of both sides."""
    sides = {}
    for side, several in runs.items():
        seconds = [second for one in several for second in one['seconds']]
        sides[side] = dict(
            median=statistics.median(seconds), min=min(seconds), max=max(seconds)
        )
        peaks = [one['peak'] for one in several if one['peak']]
        if peaks:
            sides[side]['peak_mib'] = statistics.median(peaks)
    ours, theirs = sides['ours'], sides['mmsegmentation']
    result = dict(
        sides,
        faster=theirs['median'] / ours['median'],
        faster_at_least=theirs['min'] / ours['max'],
        faster_at_most=theirs['max'] / ours['min'],
        agreement=agreement(*(several[-1]['answer'] for several in runs.values())),
    )
    if 'peak_mib' in ours:
        result['peak_share'] = ours['peak_mib'] / theirs['peak_mib']
    return result


def agreement(ours: dict, theirs: dict) -> str:
    """Say how far the answers of the two sides agree; end if they do not."""
    if 'labels' in ours:
        same = (np.load(ours['labels']) == np.load(theirs['labels'])).mean()
        check(same > 0.99, f'only {100 * same:.2f} % of the labels agree')
        return f'{100 * same:.4f} % of pixels equal'
    shared = ours.keys() & theirs.keys()
    if not shared:
        return ''
    worst = max(abs(ours[k] / theirs[k] - 1) for k in shared if 'acc' not in k)
    check(worst < 0.01, f'the answers {ours} and {theirs} differ')
    return f'{"mIoU" if "mIoU" in shared else "losses"} within {worst:.1e}'


def check(right: bool, what: str) -> None:
    """End the comparison if a condition does not hold."""
    if not right:
        sys.exit(f'Not the same work: {what}.')


def machine() -> dict:
    """Describe the machine and the versions of both sides."""
    cpu = Path('/proc/cpuinfo').read_text()
    return dict(
        cpu=re.search(r'model name\s*: (.*)', cpu)[1],
        cores=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        torch=torch.__version__,
        opencv=cv2.__version__,
        peer=PEER[:3],
    )


def table(report: dict) -> str:
    """Return the report as a table in Markdown."""
    lines = [
        f'{report["machine"]}',
        '',
        '| work | ours | mmsegmentation | times faster | peak memory | answers |',
        '|---|---|---|---|---|---|',
    ]
    for work, result in report['results'].items():
        cells = [
            f'{s["median"]:.3g} s ({s["min"]:.3g} to {s["max"]:.3g})'
            for s in (result['ours'], result['mmsegmentation'])
        ]
        ratio = '{faster:.1f} ({faster_at_least:.1f} to {faster_at_most:.1f})'
        memory = ''
        if 'peak_share' in result:
            ours, theirs = (result[s]['peak_mib'] for s in ('ours', 'mmsegmentation'))
            memory = f'{ours:,.0f} of {theirs:,.0f} MiB: {result["peak_share"]:.2f}'
        cells += [ratio.format(**result), memory, result['agreement']]
        lines.append(f'| {WORK[work]} | {" | ".join(cells)} |')
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    main()
