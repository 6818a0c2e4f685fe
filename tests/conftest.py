"""A small generated data set, and the command line in processes of its own."""

import gc
import os
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from filelock import FileLock
from forked import run_forked

from mmseg_fastscnn.apis import init_model
from mmseg_fastscnn.datasets.toy_streets import write_toy_streets
from mmseg_fastscnn.deploy.export import export
from mmseg_fastscnn.deploy.torch_runtime import describe

ROOT = Path(__file__).parents[1]
TOY = 'configs/fastscnn/fast_scnn_toy_streets.py'
CPU = {'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'}  # the same everywhere
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
if DEVICE == 'cpu':
    os.environ['TRITON_INTERPRET'] = '1'  # read when a kernel is defined
CAMVID = ROOT.parent / 'shared/data/camvid'  # real frames, where there are any


def pytest_collection_finish() -> None:
    """Leave what is imported out of garbage collections.

    mmengine asks for one per data set, which would walk through all of torch.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # so that what is collected at the end is complete


@pytest.fixture(scope='session')
def streets(tmp_path_factory) -> Path:
    """Root of 6 training and 5 validation scenes of 64x128 in Cityscapes' layout."""
    root = tmp_path_factory.mktemp('toy streets')  # a path with a space
    write_toy_streets(root, (64, 128), num_train=6, num_val=5)
    return root


@pytest.fixture(
    params=[
        'generated',
        pytest.param(
            'real',
            marks=pytest.mark.skipif(
                not CAMVID.exists(), reason='the CamVid frames are not here'
            ),
        ),
    ]
)
def camvid(request, tmp_path) -> tuple[Path, tuple[int, int]]:
    """Root of frames in CamVid's layout, and how many there are in train and val."""
    if request.param == 'real':
        return CAMVID, (367, 101)
    counts = (3, 2)
    random = np.random.default_rng(0)
    for split, count in zip(('train', 'val'), counts, strict=True):
        for k in range(count):
            blocks = random.integers(0, 12, (9, 12), np.uint8)  # 11 is unlabelled
            label = np.kron(blocks, np.ones((40, 40), np.uint8))
            frame = random.integers(0, 256, (360, 480, 3), np.uint8)
            for folder, pixels in ((split, frame), (f'{split}annot', label)):
                (tmp_path / folder).mkdir(exist_ok=True)
                cv2.imwrite(str(tmp_path / folder / f'{k}.png'), pixels)
    return tmp_path, counts


started_before: set[str] = set()


def run(*command: object, ok: bool = True, **env: str) -> str:
    """Run a command of this project in its root; return what it printed.

    The first run of each tool starts Python anew, later ones are forks.

    Args:
        command: Words; a first one that ends in .py runs under this Python.
        ok: Whether it should succeed. If not, it must say why in the manner of a user's
            mistake: with exit status 2 and no traceback.
        env: Further environment variables.
    """
    words = [str(word) for word in command]
    env = {**os.environ, **CPU, 'PYTHON': sys.executable, **env}
    if words[0] in started_before:
        status, printed = run_forked(words, ROOT, env, timeout=300)
    else:
        if words[0].endswith('.py'):
            started_before.add(words[0])
            words.insert(0, sys.executable)
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        done = subprocess.run(words, cwd=ROOT, env=env, timeout=300, **pipes)
        status, printed = done.returncode, done.stdout
    assert status == (0 if ok else 2), printed
    assert ok or 'Traceback' not in printed, printed
    return printed


def free_port() -> str:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return str(listener.getsockname()[1])


def small_run(iterations: int = 4, workers: int = 0) -> list[str]:
    """Options that make a training run of the toy config take seconds."""
    return [
        '--cfg-options',
        f'train_cfg.max_iters={iterations}',
        f'train_cfg.val_interval={iterations}',
        f'default_hooks.checkpoint.interval={iterations // 2}',
        'default_hooks.logger.interval=1',
        'train_dataloader.batch_size=2',
        f'train_dataloader.num_workers={workers}',
        f'val_dataloader.num_workers={workers}',
        f'test_dataloader.num_workers={workers}',
    ]


@pytest.fixture(scope='session')
def shallow(tmp_path_factory) -> Path:
    """A folder with config.py, random.pth and model.onnx, which gives labels.

    The first test process that needs it makes it for all, since that takes 20 s.
    """
    from exported import write_checkpoint, write_config

    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    base = tmp_path_factory.getbasetemp()
    root = base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base
    folder = root / 'shallow network'
    with FileLock(root / 'shallow.lock'):
        if not folder.exists():
            folder.mkdir()
            config = write_config(folder / 'config.py')
            checkpoint = write_checkpoint(folder / 'random.pth', config)
            model = init_model(config, checkpoint, 'cpu')
            described = describe(model, 'labels', 'fp32', checkpoint=checkpoint)
            export(model, folder / 'model.onnx', described)
    return folder


@pytest.fixture(scope='session')
def trained(streets, tmp_path_factory) -> tuple[Path, str]:
    """Work dir of a run of 4 iterations, and what it printed."""
    work_dir = tmp_path_factory.mktemp('work dir')
    printed = run(
        'tools/train.py',
        TOY,
        *['--work-dir', work_dir, '--data-root', streets, '--seed', 1],
        *small_run(),
    )
    return work_dir, printed
