"""What happens around the loop: the header of a run, and files of predictions."""

import os
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.model.test_time_aug import BaseTTAModel
from torch import nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm
from torch.utils.data import DataLoader

from mmseg_fastscnn.checkpoint import plain_hub
from mmseg_fastscnn.registry import HOOKS
from mmseg_fastscnn.structures import SegDataSample
from mmseg_fastscnn.visualization import result_panel


@HOOKS.register_module()
class RunHeaderHook(Hook):
    """Say in a few lines what is about to run, and where its results go."""

    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        training = check_classes(runner.model, runner.train_dataloader, 'training')
        check_batch(runner.model, runner.train_dataloader)
        lr = runner.optim_wrapper.get_lr()
        lr = next(iter(lr.values()))[0]
        loader = runner.train_dataloader
        lines = {
            'data': describe_data(loader, 'training'),
            'batch': f'{loader.batch_size} images x {get_world_size()} processes, '
            f'{loader.num_workers} workers each',
            'schedule': f'{runner.max_iters} iterations from {runner.iter}, '
            f'lr {lr:g} now, {type(runner.optim_wrapper).__name__}',
        }
        ends = [scheduler.end for scheduler in runner.param_schedulers or ()]
        if ends and max(ends) != runner.max_iters:
            lines['lr'] = (
                f'its schedule is for {max(ends)} iterations (param_scheduler), '
                f'not for {runner.max_iters}'
            )
        if runner.iter >= runner.max_iters:
            lines['note'] = 'there is nothing left to train'
        if runner.val_loop is not None:
            found = check_classes(runner.model, runner.val_dataloader, 'validation')
            if found != training:
                raise ValueError(
                    f'Training has the classes {training}, validation {found}. Give '
                    f'both data sets the same metainfo.'
                )
            lines['validation'] = (
                f'{describe_data(runner.val_dataloader, "validation")}, every '
                f'{runner.val_interval} iterations'
            )
        self._say(runner, lines)

    def before_test(self, runner) -> None:
        check_classes(runner.model, runner.test_dataloader, 'test')
        views = ', ms+flip' if isinstance(runner.model, BaseTTAModel) else ''
        data = describe_data(runner.test_dataloader, 'test')
        self._say(runner, {'data': data + views})

    def _say(self, runner, lines: dict[str, str]) -> None:
        model = getattr(runner.model, 'module', runner.model)
        count = sum(p.numel() for p in model.parameters())
        lines = {
            'config': runner.cfg.filename,
            **lines,
            'device': describe_device(),
            'model': f'{type(model).__name__}, {count / 1e6:.2f} M parameters',
            'results': runner.work_dir,
            'log': runner.logger.log_file,
        }
        text = '\n'.join(f'  {key:<11}{value}' for key, value in lines.items())
        runner.logger.info('\n%s', text)


def check_classes(model: nn.Module, loader: DataLoader, purpose: str) -> list[str]:
    """Return the data's classes; ValueError if the model has another number of them."""
    while hasattr(model, 'module'):  # of data parallel training, of ms+flip
        model = model.module
    classes = loader.dataset.metainfo['classes']
    if model.num_classes != len(classes):
        raise ValueError(
            f'The model has num_classes={model.num_classes}, the {purpose} data '
            f'{len(classes)} classes ({", ".join(classes)}). Set '
            f'model=dict(num_classes={len(classes)}).'
        )
    return list(classes)


def check_batch(model: nn.Module, loader: DataLoader) -> None:
    """Raise ValueError if normalisation would see one value a channel."""
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    alone = any(not isinstance(m, SyncBatchNorm) for m in layers)
    if loader.batch_size == 1 and alone:
        raise ValueError(
            'The batch has one image, and batch normalisation over the coarsest level '
            'of the pyramid needs two. Set train_dataloader.batch_size to 2 or more.'
        )


def usable_cores() -> int:
    """Cores that this process may use, where the system tells, else all of them."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_data(loader: DataLoader, purpose: str) -> str:
    dataset = loader.dataset
    classes = len(dataset.metainfo['classes'])
    kind = type(dataset).__name__
    return f'{len(dataset)} {purpose} images of {kind}, {classes} classes'


def describe_device(device: torch.device | None = None) -> str:
    """Name a device, by default the one that a run uses."""
    on_gpu = torch.cuda.is_available() if device is None else device.type == 'cuda'
    if on_gpu:
        return f'{torch.cuda.get_device_name(device)}, torch {torch.__version__}'
    return f'CPU, {torch.get_num_threads()} threads, torch {torch.__version__}'


@HOOKS.register_module()
class DataWaitHook(Hook):
    """Say, once, when training waits for data more than a tenth of its time.

    Args:
        iterations: How many are timed together. One after a start or a validation,
            when loading begins anew, is not timed.
    """

    priority = 'LOWEST'  # so that writing a checkpoint is no waiting
    WORTH_SAYING = 0.1

    def __init__(self, iterations: int = 100):
        self.iterations = iterations
        self.said = False
        self.ended: float | None = None
        self.waited, self.spent = [], []

    def before_val(self, runner) -> None:
        self.ended = None

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if self.ended is not None:
            self.waited.append(time.perf_counter() - self.ended)

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        now = time.perf_counter()
        if self.ended is not None:
            self.spent.append(now - self.ended)
        self.ended = now
        if len(self.spent) < self.iterations:
            return
        share = sum(self.waited) / sum(self.spent)
        self.waited.clear()
        self.spent.clear()
        if share > self.WORTH_SAYING and not self.said:
            self.said = True
            runner.logger.warning(
                'Training waits for data %.0f %% of its time. %s',
                100 * share,
                advice(runner.train_dataloader),
            )


def advice(loader: DataLoader) -> str:
    """What to do where loading is the slower part."""
    lines = []
    parts = getattr(loader.dataset, 'datasets', [loader.dataset])
    if any(getattr(part, 'packed', 'none to be had') is None for part in parts):
        lines.append('Read from a decoded copy: tools/pack_dataset.py.')
    cores = usable_cores() // int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    if cores > loader.num_workers:
        lines.append(f'Set train_dataloader.num_workers={cores}.')
    return ' '.join(lines or ['Use faster disks, more cores or fewer transforms.'])


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Write checkpoints of tensors and plain values alone; see `plain_hub`."""

    priority = 'LOWEST'

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint['message_hub'] = plain_hub(checkpoint['message_hub'])


@HOOKS.register_module()
class PredictionHook(Hook):
    """Write each tested image's prediction under the image's own relative path.

    Args:
        out_dir: For label PNGs in the data set's raw ids (8-bit, or 16-bit where the
            ids need it).
        show_dir: For pictures: image | truth | prediction, without the truth where
            there are no labels.
        opacity: Of the colours in the pictures, 0 to 1.
    """

    def __init__(
        self,
        out_dir: str | None = None,
        show_dir: str | None = None,
        opacity: float = 0.5,
    ):
        self.out_dir = out_dir
        self.show_dir = show_dir
        self.opacity = opacity
        self.written: set[str] = set()

    def after_test_iter(
        self,
        runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: list[SegDataSample] | None = None,
    ) -> None:
        palette = runner.test_dataloader.dataset.metainfo['palette']
        for sample in outputs:
            pred = sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)
            if sample.rel_path in self.written:
                raise ValueError(
                    f'Two images are named {sample.rel_path}, so one prediction would '
                    f'replace the other. Test the data sets one by one.'
                )
            self.written.add(sample.rel_path)
            if self.out_dir is not None:
                path = Path(self.out_dir, sample.rel_path)
                if path.parent.resolve() == Path(sample.img_path).parent.resolve():
                    raise ValueError(
                        f'--out {self.out_dir} is the folder of the images.'
                    )
                write_png(path, sample.raw_ids[pred])
            if self.show_dir is not None:
                picture = result_panel(sample, palette, self.opacity)
                write_png(Path(self.show_dir, sample.rel_path), picture)


@HOOKS.register_module()
class SegVisualizationHook(Hook):
    """Draw some results of validation and testing, as mmsegmentation's hook does.

    Pictures (image | truth | prediction) go below the log's folder, to
    `vis_data/vis_image`.

    Args:
        draw: Whether to draw at all.
        interval: Draw every so many batches.
    """

    def __init__(self, draw: bool = False, interval: int = 50):
        self.draw = draw
        self.interval = interval

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        palette = runner.val_dataloader.dataset.metainfo['palette']
        self._draw(runner, batch_idx, outputs, palette, f'val_{runner.iter}')

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        palette = runner.test_dataloader.dataset.metainfo['palette']
        self._draw(runner, batch_idx, outputs, palette, 'test')

    def _draw(self, runner, batch_idx, outputs, palette, stage) -> None:
        if self.draw and self.every_n_inner_iters(batch_idx, self.interval):
            opacity = getattr(runner.visualizer, 'alpha', 0.5)
            folder = Path(runner.log_dir, 'vis_data/vis_image', stage)
            for sample in outputs:
                picture = result_panel(sample, palette, opacity)
                write_png(folder / sample.rel_path, picture)


def write_png(path: Path, image: np.ndarray) -> None:
    """Write a PNG, its suffix in place of any other, making folders as needed."""
    path = path.with_suffix('.png')
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image):
        raise OSError(f'{path} could not be written; is the disk full?')
