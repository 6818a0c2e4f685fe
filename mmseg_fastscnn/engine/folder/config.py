"""The whole config of a run on a user's folder, from a shipped recipe."""

import re
from collections import Counter
from pathlib import Path

from mmengine.config import Config

from mmseg_fastscnn.checkpoint.shipped import SHIPPED_WEIGHTS
from mmseg_fastscnn.config.check import TOP_LEVEL
from mmseg_fastscnn.config.read import read_config
from mmseg_fastscnn.config.text import config_text
from mmseg_fastscnn.datasets.image_header import header_of
from mmseg_fastscnn.engine.folder.choices import SMALLEST, Choices
from mmseg_fastscnn.engine.folder.own_data import OwnData, write_text
from mmseg_fastscnn.results import CONFIG

FROM_SCRATCH, FROM_WEIGHTS = 'fast_scnn_camvid.py', 'fast_scnn_finetune_folder.py'
RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # of ms+flip


def sizes_of(data: OwnData) -> Counter:
    """Count the sizes (h, w) of the training images, as they are stored.

    Images that cannot be read are passed over here; the check names them.
    """
    sizes: Counter = Counter()
    for path in data.images('train'):
        try:
            header = header_of(path)
        except (ValueError, OSError):
            continue
        sizes[header.height, header.width] += 1
    return sizes


def folder_config(data: OwnData, choices: Choices, start: str | None = None) -> Config:
    """Return the config of a run.

    Args:
        data: Its data.
        choices: Sizes, batch and schedule.
        start: Weights that it starts from, if any. Those of generated streets have seen
            no photograph, so all layers learn as fast as from scratch.
    """
    gently = start is not None and start not in SHIPPED_WEIGHTS
    config = read_config(FROM_WEIGHTS if gently else FROM_SCRATCH)
    # variables, which only the recipe's own text reads, and names of its classes
    for name in config.keys() - TOP_LEVEL | {'class_aliases'}:
        config.pop(name, None)
    config.test_pipeline = steps = test_pipeline(choices)
    has_test = bool(data.images('test'))
    for loader, split, pipeline in (
        (config.train_dataloader, 'train', train_pipeline(choices)),
        (config.val_dataloader, 'val', steps),
        (config.test_dataloader, 'test' if has_test else 'val', steps),
    ):
        loader.dataset = data.dataset(split, pipeline)
        loader.num_workers = choices.workers
        loader.persistent_workers = choices.workers > 0
    config.train_dataloader.batch_size = choices.batch
    config.tta_pipeline[1].transforms[0] = [resize(choices, ratio) for ratio in RATIOS]
    config.model.num_classes = len(data.found.classes)
    config.model.data_preprocessor.size = choices.crop
    if choices.amp:
        config.optim_wrapper.type = 'AmpOptimWrapper'
    set_schedule(config, choices)
    return config


def set_schedule(config: Config, choices: Choices) -> None:
    """Set length, warm-up and intervals."""
    length, warm_up = choices.iterations, choices.warm_up
    config.train_cfg.max_iters = length
    config.train_cfg.val_interval = choices.interval
    config.default_hooks.checkpoint.interval = choices.interval
    config.default_hooks.logger.interval = max(min(length // 50, 50), 1)
    rise, fall = config.param_scheduler
    fall.begin, fall.end = warm_up, length
    rise.end = warm_up
    config.param_scheduler = [rise, fall] if warm_up > 1 else [fall]
    for hook in config.custom_hooks:
        if hook.type == 'FreezeBackboneHook':
            hook.iterations = warm_up


def resize(choices: Choices, ratio: float = 1.0) -> dict:
    width, height = choices.scale
    scale = round(width * ratio), round(height * ratio)
    return dict(type='Resize', scale=scale, keep_ratio=True)


def train_pipeline(choices: Choices) -> list[dict]:
    return [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(
            type='RandomResize',
            scale=choices.scale,
            ratio_range=(SMALLEST, 2.0),
            keep_ratio=True,
        ),
        dict(type='RandomCrop', crop_size=choices.crop, cat_max_ratio=0.75),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
        dict(type='PackSegInputs'),
    ]


def test_pipeline(choices: Choices) -> list[dict]:
    """Return the steps of an image that is validated; its label keeps its size."""
    return [
        dict(type='LoadImageFromFile'),
        *([resize(choices)] if choices.resizes else []),
        dict(type='LoadAnnotations'),
        dict(type='PackSegInputs'),
    ]


def write_config(config: Config, path: Path) -> None:
    """Write the whole config, never over one that a user wrote or changed."""
    write_text(path, config_text(config), CONFIG.decode())


def config_name(folder: Path) -> str:
    """Return the name of a folder's config, and so of its work dir."""
    name = re.sub(r'\W+', '_', folder.name).strip('_') or 'folder'
    return f'{name}.py'
