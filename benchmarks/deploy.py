"""Compare exported files with PyTorch's prediction, ours and mmsegmentation's.

    make demo                              # once, for weights that have learned
    .venv/bin/python benchmarks/deploy.py

One frame of 1024x2048 in memory becomes a label map: by mmsegmentation, by this project
in PyTorch (both as in compare_mmseg.py), and by `Predictor` with a checkpoint and with
each exported file. Every repetition is a new process, all of them in turn, again and
again. What is compared is the CPU time of one thread, the least of all repetitions,
which holds on a machine that has other work, too; or, with `--clock wall`, the median
of the time by the clock with as many threads as the runtime likes, for quiet machines.

`--files` adds files that were exported before. The results go to `deploy.json` and
`deploy.md`.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
FILES = {  # name: file, output, precision
    'ONNX, labels': ('labels.onnx', 'labels', 'fp32'),
    'ONNX, logits': ('logits.onnx', 'logits', 'fp32'),
    'OpenVINO f32, logits': ('f32.xml', 'logits', 'fp32'),
    'OpenVINO bf16, logits': ('bf16.xml', 'logits', 'bf16'),
    'ncnn, logits': ('ncnn.param', 'logits', 'fp32'),
}
RESIZED = 'ONNX, Resize + ArgMax'  # what others bake into a file
THEIRS, OURS, OURS_BF16 = 'mmsegmentation', 'ours, fp32', 'ours, bf16'
VIDEO_FILES = ('ONNX, labels', 'OpenVINO f32, logits')
VIDEO_FRAMES = 200


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--clock', choices=['cpu', 'wall'], default='cpu')
    parser.add_argument('--rounds', type=int, default=3, help='number of repetitions')
    parser.add_argument(
        '--checkpoint', default='work_dirs/demo/iter_720.pth', help='of 19 classes'
    )
    parser.add_argument(
        '--files', nargs='*', type=Path, default=[], help='further exported files'
    )
    parser.add_argument('--out', type=Path, default=Path('work_dirs/compare_mmseg'))
    parser.add_argument('--one', nargs='+', help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.one:
        print(json.dumps(time_file(args.clock, args.out, *args.one)))
        return
    if not Path(args.checkpoint).exists():
        sys.exit(f'{args.checkpoint} does not exist: run `make demo`, or give another.')
    import compare_mmseg

    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    python = compare_mmseg.peer_python(out)
    config = compare_mmseg.prepare(out, python, args.checkpoint)
    files = exported(config, out) | {str(p): p.resolve() for p in args.files}
    scene = sorted(out.glob('data/both/leftImg8bit/train/*/*.png'))[0]
    np.save(out / 'frame.npy', cv2.imread(str(scene)))

    def by(side: str, work: str) -> dict:
        executable = str(python) if side == 'mmsegmentation' else sys.executable
        return compare_mmseg.run(work, side, executable, config, out, args.clock)

    work = {
        THEIRS: lambda: by('mmsegmentation', 'predict'),
        OURS: lambda: by('ours', 'predict'),
    }
    if has_bf16():
        work[OURS_BF16] = lambda: by('ours', 'predict_bf16')
    else:
        print('This CPU has no bfloat16 instructions, so bf16 is left out.')
        files.pop('OpenVINO bf16, logits', None)
    checkpoint = (out / 'weights.pth', config)
    work['Predictor, checkpoint'] = lambda: apart(args, *checkpoint)
    work |= {name: lambda p=path: apart(args, p) for name, path in files.items()}
    runs = {name: [] for name in work}
    for _ in range(args.rounds):
        for name, do in work.items():
            runs[name].append(do())
            print(name, runs[name][-1]['seconds'], flush=True)
    results = {name: summary(several, args.clock) for name, several in runs.items()}
    label_map = np.load(out / 'predict.ours.npy')
    for name, several in runs.items():
        labels = several[-1]['answer']['labels']
        results[name]['equal'] = float((np.load(labels) == label_map).mean())
        results[name]['kind'] = several[-1].get('kind')
    with_video = [name for name in VIDEO_FILES if name in files]
    video = {name: videos(out, files[name]) for name in with_video}
    report = dict(
        machine=compare_mmseg.machine() | dict(clock=args.clock, bf16=has_bf16()),
        results=results,
        video=video,
    )
    (out / 'deploy.json').write_text(json.dumps(report, indent=2) + '\n')
    (out / 'deploy.md').write_text(table(report))
    print(table(report))


def exported(config: Path, out: Path) -> dict[str, Path]:
    """Export the weights to every format whose packages are installed."""
    from mmseg_fastscnn.apis import init_model
    from mmseg_fastscnn.deploy.export import PACKAGES, export
    from mmseg_fastscnn.deploy.torch_runtime import describe

    model = init_model(config, out / 'weights.pth', 'cpu')
    shutil.rmtree(out / 'files', ignore_errors=True)  # of other weights
    paths = {}
    for name, (file, output, precision) in FILES.items():
        path = out / 'files' / Path(file).stem / file
        lacking = [p for p in PACKAGES[path.suffix] if find_spec(p) is None]
        if lacking:
            print(f'{name} is left out: {", ".join(lacking)} is not installed.')
            continue
        export(model, path, describe(model, output, precision))
        paths[name] = path
    if 'ONNX, logits' in paths:
        paths[RESIZED] = with_resize(paths['ONNX, logits'])
    return paths


def with_resize(source: Path) -> Path:
    """Write an ONNX file of logits with Resize and ArgMax at its end."""
    import onnx
    from onnx import TensorProto, helper

    from mmseg_fastscnn.deploy.description import KEY, Description

    path = source.with_name('resized.onnx')
    proto = onnx.load(source)
    (text,) = (p.value for p in proto.metadata_props if p.key == KEY)
    described = replace(Description.from_json(text, source), output='labels')
    graph, node = proto.graph, helper.make_node
    logits, frame = graph.output[0].name, graph.input[0].name
    options = dict(mode='linear', coordinate_transformation_mode='half_pixel')
    graph.node.extend(
        [
            node('Shape', [logits], ['channels'], start=0, end=2),
            node('Shape', [frame], ['pixels'], start=1, end=3),
            node('Concat', ['channels', 'pixels'], ['whole'], axis=0),
            node('Resize', [logits, '', '', 'whole'], ['scores'], **options),
            node('ArgMax', ['scores'], ['best'], axis=1, keepdims=0),
            node('Cast', ['best'], ['labels'], to=TensorProto.UINT8),
        ]
    )
    del graph.output[:]
    shape = ['batch', 'height', 'width']
    graph.output.append(
        helper.make_tensor_value_info('labels', TensorProto.UINT8, shape)
    )
    del proto.metadata_props[:]
    helper.set_model_props(proto, {KEY: described.to_json()})
    onnx.save(proto, path)
    return path


def apart(args: argparse.Namespace, *words: object) -> dict:
    """Time a file in a new process; see `time_file`."""
    threads = {'OMP_NUM_THREADS': '1'} if args.clock == 'cpu' else {}
    command = [sys.executable, __file__, '--clock', args.clock, '--out', args.out]
    done = subprocess.run(
        [str(word) for word in [*command, '--one', *words]],
        env={**os.environ, **threads},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f'{words[0]}\n{done.stdout}\n{done.stderr}')
    return json.loads(done.stdout.splitlines()[-1])


def time_file(clock: str, out: Path, file: str, config: str | None = None) -> dict:
    """Predict the frame again and again; return seconds and the label map's file."""
    from mmseg_fastscnn.deploy.backends import Predictor

    read = time.process_time if clock == 'cpu' else time.perf_counter
    threads = 1 if clock == 'cpu' else None
    predictor = Predictor(file, config, threads=threads)
    frame = np.load(out / 'frame.npy')
    labels = predictor(frame)
    seconds, network = [], []
    for _ in range(8):
        began = read()
        result = predictor.run(frame)
        network.append(read() - began)
        predictor.labels(result, frame.shape[:2])
        seconds.append(read() - began)
    answer = out / f'{Path(file).name}.npy'
    np.save(answer, labels)
    description = predictor.description
    return dict(
        seconds=seconds,
        network=network,
        answer=dict(labels=str(answer)),
        kind=[Path(file).suffix, description.precision, description.output],
    )


def videos(out: Path, file: Path) -> dict:
    """Time tools/predict.py on a 1280x720 video, and the network alone on its frames.

    Both by the clock, in turn, with as many threads as the runtime likes.
    """
    from mmseg_fastscnn.deploy.backends import Predictor

    video = out / 'video/drive.mp4'  # results may not lie beside their inputs
    video.parent.mkdir(exist_ok=True)
    scenes = sorted(out.glob('data/both/leftImg8bit/train/*/*.png'))
    frames = [cv2.resize(cv2.imread(str(p)), (1280, 720)) for p in scenes]
    if not video.exists():
        code = cv2.VideoWriter.fourcc(*'mp4v')
        writer = cv2.VideoWriter(str(video), code, 25, (1280, 720))
        for k in range(VIDEO_FRAMES):
            writer.write(np.roll(frames[k // 25 % len(frames)], 8 * (k % 25), axis=1))
        writer.release()
    predictor, several = Predictor(file), Predictor(file, throughput=True)
    images = [frames[k % len(frames)] for k in range(VIDEO_FRAMES)]
    rates, networks, networks_at_once = [], [], []
    for number in range(2):
        began = time.perf_counter()
        for image in images:
            predictor.run(image)
        networks.append(VIDEO_FRAMES / (time.perf_counter() - began))
        began = time.perf_counter()
        with ThreadPoolExecutor(several.at_once) as threads:
            list(threads.map(several.run, images))
        networks_at_once.append(VIDEO_FRAMES / (time.perf_counter() - began))
        saved = out / f'video_{number}_{time.time_ns()}'
        command = [sys.executable, ROOT / 'tools/predict.py', file, video]
        began = time.perf_counter()
        subprocess.run(
            [*map(str, command), '--out', str(saved)], check=True, capture_output=True
        )
        rates.append(VIDEO_FRAMES / (time.perf_counter() - began))
    return dict(
        command=max(rates), network=max(networks), at_once=max(networks_at_once)
    )


def summary(runs: list[dict], clock: str) -> dict:
    """Return milliseconds of the whole and of the network: the least, or the median."""
    choose = min if clock == 'cpu' else statistics.median
    result = {}
    for key in ('seconds', 'network'):
        values = [second for run in runs for second in run.get(key, ())]
        if values:
            result[key] = 1e3 * choose(values)
    return result


def has_bf16() -> bool:
    """Return whether the CPU has bfloat16 instructions; without, bf16 is slow."""
    text = Path('/proc/cpuinfo').read_text()
    return 'avx512_bf16' in text or 'amx_bf16' in text


def table(report: dict) -> str:
    """Return the report in Markdown: a row per file, and a row per goal."""
    results = report['results']
    whole = {name: result['seconds'] for name, result in results.items()}
    lines = [f'{report["machine"]}', '']
    lines += ['| frame to labels | ms | network alone | of ours | of theirs | equal |']
    lines += ['|---|---|---|---|---|---|']
    for name, result in results.items():
        alone = f'{result["network"]:.1f}' if 'network' in result else ''
        lines.append(
            f'| {name} | {whole[name]:.1f} | {alone} | {whole[name] / whole[OURS]:.2f} '
            f'| {whole[name] / whole[THEIRS]:.3f} | {100 * result["equal"]:.3f} % |'
        )
    lines += ['', '| work | goal | found |', '|---|---|---|']
    lines += [f'| {" | ".join(row)} |' for row in goals(results, whole)]
    for name, rates in report['video'].items():
        share = rates['command'] / rates['network']
        lines.append(
            f'| predict.py on a 1280x720 video, {name}: frames per second of the whole '
            f'command against the network alone | >= 0.8 | {share:.2f} '
            f'({rates["command"]:.1f} : {rates["network"]:.1f}; with several frames at '
            f'once {rates["at_once"]:.1f}) |'
        )
    return '\n'.join(lines) + '\n'


def goals(results: dict, whole: dict[str, float]) -> list[tuple[str, str, str]]:
    """Return work, goal and what was found, where it could be measured."""
    network = {name: r['network'] for name, r in results.items() if 'network' in r}
    not_files = (THEIRS, OURS, OURS_BF16)
    files = [n for n in whole if n not in not_files and 'checkpoint' not in n]
    best = min(files, key=whole.get)
    rows = [
        (
            f"best file ({best}) against mmsegmentation's prediction",
            '12 times faster',
            f'{whole[THEIRS] / whole[best]:.1f}',
        )
    ]

    def ratio(what: str, goal: str, one: float, other: float) -> None:
        rows.append((what, goal, f'{one / other:.2f} ({one:.1f} : {other:.1f} ms)'))

    bf16 = whole.get('OpenVINO bf16, logits')
    if bf16:
        ratio('OpenVINO bf16 against our fp32', '<= 0.5', bf16, whole[OURS])
        ratio('OpenVINO bf16 against our bf16', '<= 0.8', bf16, whole[OURS_BF16])
    if RESIZED in whole:
        plain = network['ONNX, logits']
        ratio(
            'labels inside the ONNX, cost against Resize + ArgMax',
            '<= 0.25',
            whole['ONNX, labels'] - plain,
            whole[RESIZED] - plain,
        )
    for name in files:
        suffix, precision, output = results[name]['kind']
        if suffix == '.onnx' and precision == 'int8':
            other = network[f'ONNX, {output}']
            what = f'{name} against fp32 ({output}), network'
            ratio(what, '<= 0.55', network[name], other)
    return rows


if __name__ == '__main__':
    main()
