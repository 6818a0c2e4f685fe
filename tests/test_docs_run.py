"""Commands and Python blocks of README and docs/ are run, in a folder as they assume.

The folder has a few generated images; training takes four steps.
"""

import os
import re
import shlex
import shutil
import subprocess
from importlib.util import find_spec

import cv2
from conftest import CPU, ROOT, small_run
from forked import run_forked
from test_docs import blocks

from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.datasets.toy_streets import draw_scene

# The beginning of a command, and why it is not run here.
NOT_RUN = {
    'make ': 'it makes an environment',
    'pip install ': 'it changes the environment',
    'sudo apt ': 'it changes the system',
    'g++ ': 'test_cpp_example.py does, where there is the library',
    './segment ': 'test_cpp_example.py does',
    'unzip onnxruntime-android': 'it needs the library for Android',
    '$NDK': 'it needs the compiler for Android',
    'adb ': 'it needs a telephone',
    'tools/dist_': 'test_tools.py and test_distributed.py do, with two processes',
    'NNODES=2 ': 'test_distributed.py does, with two addresses of one machine',
    'MAX_RESTARTS=3 ': 'test_distributed.py does',
    'export MASTER_PORT': 'it is for Slurm',
    'srun ': 'it needs Slurm',
    'python benchmarks/int8.py ': 'it takes an hour',
    'python benchmarks/gpu.py ': 'test_gpu_benchmark.py does, in short',
    'python benchmarks/cityscapes.py ': 'it takes days on a GPU',
    'fastscnn check fast_scnn_lr0.12': 'it needs Cityscapes',
    'fastscnn test work_dirs/cityscapes/iter_160000.pth': 'it needs Cityscapes',
    'python benchmarks/camvid_folds.py ': 'it needs CamVid, whose names say the drive',
    'python tools/export.py CONFIG CHECKPOINT --format onnx': 'README has it, too',
    'python tools/export.py CONFIG CHECKPOINT --output': 'test_deploy_operators does',
    'fastscnn export CONFIG CHECKPOINT --precision int8': 'test_int8.py does',
    'fastscnn export CONFIG CHECKPOINT --format openvino': 'test_int8.py does',
    'fastscnn demo ': 'test_demo.py does',
    'fastscnn sweep ': 'test_sweep.py does',
    'fastscnn compare work_dirs/sweep': 'test_sweep.py does',
    'python tools/benchmark.py CONFIG CHECKPOINT street.onnx': 'test_deploy.py does',
}
# What the pages leave to the reader, and what takes long: pattern, replacement.
INSTEAD = {
    r'\bCONFIG\b': 'fast_scnn_camvid.py',
    r'\bCHECKPOINT\b': 'work_dirs/camvid/best_mIoU_iter_4.pth',
    r'\bVIDEO_OR_FOLDER\b': 'drive.mp4',
    r'\bOLD\.py\b': 'fast_scnn_camvid.py',
    r'\bOLD\.pth\b': 'work_dirs/camvid/best_mIoU_iter_4.pth',
    r'--data-root data/cityscapes': '--data-root data/camvid',
    r'best_mIoU_iter_\d+': 'best_mIoU_iter_4',
    r'--minutes \d+': '--iterations 4',
    r'(make_toy_streets \S+)': r'\1 --size 64 128 --num-train 4 --num-val 2',
    r'(train \S+\.py.*)': rf'\1 {" ".join(small_run())}',
}
STREETS = (64, 128)  # (h, w)


def commands() -> list[str]:
    """Return the commands, each once, as the pages have them."""
    text = '\n'.join(block for _, block in blocks('bash')).replace('\\\n', ' ')
    lines = [re.sub(r'(^| +)#.*', '', line) for line in text.splitlines()]
    return list(dict.fromkeys(filter(None, lines)))


def is_run(command: str) -> bool:
    needs_onnx = 'onnx' in command and find_spec('onnxscript') is None
    return not command.startswith(tuple(NOT_RUN)) and not needs_onnx


def make_folder(root) -> None:
    """Make what the pages assume in a user's folder: a checkout, and data."""
    for name in ('configs', 'tools'):
        shutil.copytree(ROOT / name, root / name)
    places = {
        'photos/images/{}.jpg photos/labels/{}.png': 5,
        'data/camvid/train/{}.png data/camvid/trainannot/{}.png': 3,
        'data/camvid/val/{}.png data/camvid/valannot/{}.png': 2,
        'data/my_data/images/train/{}.jpg data/my_data/labels/train/{}.png': 3,
        'data/my_data/images/val/{}.jpg data/my_data/labels/val/{}.png': 2,
    }
    for names, count in places.items():
        for k in range(count):
            image, label = draw_scene(k, STREETS)
            for name, pixels in zip(names.split(), (image, label % 3), strict=True):
                path = root / name.format(k)
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), pixels)
    cv2.imwrite(str(root / 'street.jpg'), draw_scene(0, STREETS)[0])
    kind = cv2.VideoWriter.fourcc(*'mp4v')
    video = cv2.VideoWriter(str(root / 'drive.mp4'), kind, 5, STREETS[::-1])
    for k in range(3):
        video.write(draw_scene(k, STREETS)[0])
    video.release()
    config = root / 'configs/fastscnn/fast_scnn_finetune_folder.py'  # which is copied
    large = config.read_text()
    config.write_text(large.replace('1024', '128').replace('512', '64'))


def in_folder(text: str) -> str:
    """Return a command or a Python block as it is run in the folder."""
    for pattern, replacement in INSTEAD.items():
        text = re.sub(pattern, replacement, text)
    return text


def run_command(command: str, folder) -> None:
    first, *words = shlex.split(in_folder(command))
    if first == 'cp':
        subprocess.run([first, *words], cwd=folder, check=True)
        return
    if first == 'fastscnn':
        words = [str(ROOT / 'mmseg_fastscnn/__main__.py'), *words]
    else:
        assert first == 'python', f'neither run nor listed: {command}'
    status, printed = run_forked(words, folder, {**os.environ, **CPU}, timeout=300)
    assert status == 0, f'{command}\n{printed}'


def test_commands_and_python_blocks_run(tmp_path, monkeypatch):
    for beginning, why in NOT_RUN.items():
        assert any(c.startswith(beginning) for c in commands()), (beginning, why)
    make_folder(tmp_path)
    for command in filter(is_run, commands()):
        run_command(command, tmp_path)
    monkeypatch.chdir(tmp_path)
    found = blocks('python')
    assert len(found) > 3
    for page, block in found:
        if 'street.onnx' in block and not (tmp_path / 'street.onnx').exists():
            continue  # onnxscript is not installed
        if '_base_ = ' in block:
            config = tmp_path / re.match('# (.+)', block)[1]
            config.write_text(block)
            load_config(config)
        exec(compile(in_folder(block), page, 'exec'), {})
    assert (tmp_path / 'shown.png').exists()
