"""What one must know of a run to understand and to repeat it."""

import hashlib
import json
import os
import platform
import shlex
import sys
import time
from importlib import metadata
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import get_world_size
from torch.utils.data import DataLoader

from mmseg_fastscnn import __version__
from mmseg_fastscnn.machine import describe_device

# Settings in which runs of one recipe, with several seeds, differ.
OF_THE_RUN = ('randomness', 'work_dir', 'resume', 'launcher')
PACKAGES = ('torch', 'mmengine', 'mmcv-lite', 'numpy', 'opencv-python')


def start_facts(runner) -> dict:
    """Return facts about a start of a run, as JSON can hold them."""
    metainfo = runner.train_dataloader.dataset.metainfo
    data = dict(training=data_facts(runner.train_dataloader))
    if runner.val_loop is not None:
        data['validation'] = data_facts(runner.val_dataloader)
    return dict(
        iter=runner.iter,
        time=time.time(),
        length=runner.max_iters,
        command=command_line(),
        config=runner.cfg.filename,
        config_sha256=hash_of(runner.cfg),
        recipe_sha256=recipe_hash(runner.cfg),
        load_from=runner.cfg.get('load_from'),
        seed=runner.seed,
        versions=versions(),
        device=describe_device(),
        processes=get_world_size(),
        images_per_step=runner.images_per_step,
        images_per_iter=runner.train_dataloader.batch_size * get_world_size(),
        workers=runner.train_dataloader.num_workers,
        classes=list(metainfo['classes']),
        palette=[list(map(int, colour)) for colour in metainfo['palette']],
        data=data,
    )


def hash_of(config: Config) -> str:
    """Return the hash of a config."""
    return sha256(json_of(config.to_dict()))


def recipe_hash(config: Config) -> str:
    """Return the hash of a config without what differs between runs of one recipe."""
    settings = {k: v for k, v in config.to_dict().items() if k not in OF_THE_RUN}
    text = json_of(settings)
    if config.get('work_dir'):  # paths in it, such as that of `skipped_samples.jsonl`
        beginning = json.dumps(os.path.join(Path(config.work_dir), ''))[:-1]
        text = text.replace(beginning, '"')
    return sha256(text)


def json_of(settings: dict) -> str:
    return json.dumps(settings, sort_keys=True, default=str)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def data_facts(loader: DataLoader) -> dict:
    """Return which images a loader reads."""
    dataset = loader.dataset
    prefix = getattr(dataset, 'data_prefix', None) or {}
    return dict(
        type=type(dataset).__name__,
        images=len(dataset),
        folders={key: str(path) for key, path in prefix.items()},
    )


def command_line() -> str:
    """Return the command that started this process, as a shell takes it."""
    words = list(sys.argv)
    if words[0].endswith('.py'):
        words.insert(0, 'python')
    return shlex.join(words)


def versions() -> dict[str, str]:
    """Return the versions of what computes; packages that are missing are left out."""
    found = {'mmseg_fastscnn': __version__, 'python': platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # as of OpenCV, which has several names
            continue
    found['system'] = platform.platform()
    return found
