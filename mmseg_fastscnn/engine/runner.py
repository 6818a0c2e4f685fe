"""mmengine's Runner with safe checkpoint loading and a readable terminal."""

import copy
import inspect
import logging
import os
import warnings
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size, is_distributed
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from mmseg_fastscnn.checkpoint import load_weights, read_checkpoint
from mmseg_fastscnn.checkpoint.classes import carry_over_classes
from mmseg_fastscnn.checkpoint.load import inflate_first_convolution
from mmseg_fastscnn.datasets.sampler import InfiniteSampler
from mmseg_fastscnn.engine.class_weights import ClassWeightHook
from mmseg_fastscnn.engine.header import RunHeaderHook
from mmseg_fastscnn.engine.hooks import DataWaitHook, PlainCheckpointHook
from mmseg_fastscnn.engine.inference_form import InferenceFormHook
from mmseg_fastscnn.engine.resume import (
    SkippingIterator,
    checkpoint_folder,
    last_checkpoint,
    resumable,
    seed_of,
)
from mmseg_fastscnn.engine.startup import StartupCheckHook
from mmseg_fastscnn.engine.terminal import is_shown
from mmseg_fastscnn.machine import cores_per_process, set_aside_broken_torchvision
from mmseg_fastscnn.models.segmentor import unwrapped
from mmseg_fastscnn.registry import HOOKS, RUNNERS


@RUNNERS.register_module()
class SegRunner(Runner):
    """Train and test a segmentor on CPUs and GPUs.

    Different from mmengine's: checkpoints are read safely and reported, nothing that a
    checkpoint names is run or removed, the terminal shows what a person needs (the log
    file has everything), SyncBN and data parallel training work on CPUs, and the
    learning rate is scaled by the whole batch, accumulated steps included.

    Args:
        model: The segmentor or its config.
        work_dir: Folder for checkpoints and logs.
        train_cfg: Config of the training loop; without one the run only tests.
        val_cfg: Config of the validation loop, if there is validation.
        resume: Whether to go on with the run of the checkpoint that is loaded.
        kwargs: Other arguments of mmengine's `Runner`.

    Attributes:
        trains: Whether this is a run that trains.
        validates: Whether this is a run that trains and validates.
        resumes: Whether this is a run that goes on with another.
        weights: Which of a checkpoint's weights to load, 'ema' or 'raw'.
        test_dtype: Type of the network's weights in a run that only tests.
    """

    weights = 'ema'
    test_dtype = torch.float32

    def __init__(
        self,
        model: nn.Module | dict,
        work_dir: str,
        *,
        train_cfg: dict | None = None,
        val_cfg: dict | None = None,
        resume: bool = False,
        **kwargs,
    ):
        self.trains = train_cfg is not None
        self.validates = self.trains and val_cfg is not None
        self.resumes = resume
        loops = dict(train_cfg=train_cfg, val_cfg=val_cfg)
        super().__init__(model, work_dir, **loops, resume=resume, **kwargs)

    @classmethod
    def from_cfg(cls, cfg: Config) -> 'SegRunner':
        """Build a runner; one that resumes gets the seed of the run that it resumes.

        The order of images and the seeds of workers are made from the seed, so it has
        to be known before they are built.
        """
        cfg = copy.deepcopy(cfg)
        if cfg.get('resume'):
            last = last_checkpoint(cfg.work_dir)
            # a string, since the config is also written to a file
            cfg.load_from = cfg.get('load_from') or (last and str(last))
            seed = seed_of(cfg.load_from) if cfg.load_from else None
            if seed is not None:
                cfg.randomness = {**cfg.get('randomness', {}), 'seed': seed}
        return super().from_cfg(cfg)

    def train(self) -> nn.Module:
        trained = self.model
        with warnings.catch_warnings():
            # said when a step is skipped or accumulated, which is meant
            warnings.filterwarnings('ignore', 'Detected call of `scheduler.step')
            try:
                return super().train()
            except KeyboardInterrupt:
                self.logger.warning(
                    'Stopped at iteration %d. --resume goes on from the last '
                    'checkpoint (%s).',
                    self.iter,
                    last_checkpoint(self.work_dir) or 'none is written yet',
                )
                raise
            finally:
                self.model = trained  # validation that fails leaves its copy

    def dump_config(self) -> None:
        """Keep the config that trained in the work dir, and a test's beside its log.

        A config that was read from the work dir is not written over.
        """
        given = Path(self.cfg.filename or 'config.py')
        is_there = given.resolve().parent == Path(self.work_dir).resolve()
        if self.trains and not is_there:
            super().dump_config()
        elif self.rank == 0:
            self.cfg.dump(Path(self.log_dir, given.name))

    def setup_env(self, env_cfg: dict) -> None:
        if self.launcher == 'pytorch' and 'RANK' not in os.environ:
            raise ValueError(
                '--launcher pytorch is for processes that torchrun started. Use '
                'tools/dist_train.sh or tools/dist_test.sh, or leave it out.'
            )
        if self.distributed and not torch.cuda.is_available() and not is_distributed():
            # mmengine's own start calls torch.cuda.set_device, which fails on CPUs
            if self.launcher != 'pytorch':
                raise ValueError(
                    f'--launcher {self.launcher} needs CUDA devices; on CPUs start the '
                    f'processes with torchrun (tools/dist_train.sh).'
                )
            torch.distributed.init_process_group('gloo')
        super().setup_env(env_cfg)

    def build_logger(self, log_level: int | str = 'INFO', **kwargs) -> MMLogger:
        logger = super().build_logger(log_level, **kwargs)
        terminal = logger.handlers[0]
        terminal.addFilter(is_shown)
        terminal.setFormatter(logging.Formatter('%(asctime)s %(message)s', '%H:%M:%S'))
        # here, since what mmengine does next is to import torchvision for its report
        set_aside_broken_torchvision(logger)
        return logger

    def register_hooks(self, default_hooks=None, custom_hooks=None) -> None:
        if not self.trains:  # the weights asked for are loaded, see `weights`
            custom_hooks = [h for h in custom_hooks or () if not averages_weights(h)]
        super().register_hooks(default_hooks, custom_hooks)
        self.register_hook(StartupCheckHook())
        self.register_hook(RunHeaderHook())
        self.register_hook(PlainCheckpointHook())
        self.register_hook(DataWaitHook())
        self.register_hook(ClassWeightHook())
        if self.validates:
            self.register_hook(InferenceFormHook())
        if self.distributed:  # so that all processes validate what is saved
            self.register_hook(dict(type='SyncBuffersHook'))

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        if self.distributed and 'type' not in (model_wrapper_cfg or {}):
            # torch 2.13 calls the second name deprecated, earlier ones lack the first
            known = inspect.signature(DistributedDataParallel).parameters
            names = ('forward_sync_buffers', 'broadcast_buffers')
            buffers = next(name for name in names if name in known)
            default = {'type': 'MMDistributedDataParallel', buffers: False}
            default['find_unused_parameters'] = self.cfg.get(
                'find_unused_parameters', False
            )
            if not torch.cuda.is_available():
                model = revert_sync_batchnorm(model)  # there is no SyncBN on CPUs
                default['device_ids'] = None
            model_wrapper_cfg = {**default, **(model_wrapper_cfg or {})}
        return super().wrap_model(model_wrapper_cfg, model)

    def load_checkpoint(self, filename: str, *args, **kwargs) -> dict:
        """Load a file's weights; all of them, unless training starts from them.

        Arguments beyond `filename` are mmengine's and not needed: the file is read to
        the CPU, and a `module.` before names is removed.
        """
        checkpoint = read_checkpoint(filename, self.weights)
        model = unwrapped(self.model)
        if self.resumes:
            schedulers = self.param_schedulers or ()
            folder = checkpoint_folder(self)
            checkpoint = resumable(checkpoint, filename, folder, schedulers)
            before = checkpoint['meta'].get('images_per_step')
            if before not in (None, self.images_per_step):
                self.logger.warning(
                    'The run before had %s images per step, this one has %d; the '
                    'learning rate goes on as it was.',
                    before,
                    self.images_per_step,
                )
        elif self.trains:
            checkpoint['state_dict'] = self._fit_to_task(model, checkpoint)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        starts_training = self.trains and not self.resumes
        report = load_weights(
            model, checkpoint['state_dict'], strict=not starts_training
        )
        self.logger.info('%s: %s.', filename, report)
        if not self.trains:
            model.for_inference(self.test_dtype)
        return checkpoint

    def _fit_to_task(self, model: nn.Module, checkpoint: dict) -> dict[str, Tensor]:
        """Fit a checkpoint's classifiers and first convolution to the model's task."""
        state_dict, meta = checkpoint['state_dict'], checkpoint['meta']
        new = list(self.train_dataloader.dataset.metainfo['classes'])
        old = self.cfg.get('checkpoint_classes') or (
            (meta.get('dataset_meta') or {}).get('classes')
        )
        if old is None:
            self.logger.info(
                'The checkpoint names no classes, so they cannot be carried over by '
                'name; --classes-from says which it has.'
            )
        elif list(old) != new:
            aliases = self.cfg.get('class_aliases') or {}
            state_dict, report = carry_over_classes(
                model, state_dict, new, list(old), aliases
            )
            self.logger.info('%s.', report)
        return inflate_first_convolution(model, state_dict)

    def resume(self, filename: str, *args, **kwargs) -> None:
        """Resume; batches of the iterations before are skipped without loading."""
        super().resume(filename, *args, **kwargs)
        loop = self.train_loop
        loads_to_skip = hasattr(loop, 'dataloader_iterator')
        if loads_to_skip and isinstance(loop.dataloader.sampler, InfiniteSampler):
            loop.dataloader_iterator = SkippingIterator(loop.dataloader, loop.iter)

    def scale_lr(
        self, optim_wrapper: OptimWrapper, auto_scale_lr: dict | None = None
    ) -> None:
        """Multiply the learning rates by the real over the base batch size.

        A resumed run has the learning rates of its checkpoint, whatever its batch.
        """
        if not auto_scale_lr or not auto_scale_lr.get('enable', False):
            return
        if self.resumes and self.cfg.get('load_from'):
            return
        real, base = self.images_per_step, auto_scale_lr['base_batch_size']
        for group in optim_wrapper.optimizer.param_groups:
            group['lr'] *= real / base
        self.logger.info(
            'The learning rate is scaled by %g: %d images a step, the config is for '
            '%d (--no-auto-scale-lr keeps its learning rate).',
            real / base,
            real,
            base,
        )

    @property
    def images_per_step(self) -> int:
        """Images that one step of the optimizer sees, in all processes."""
        accumulated = self.cfg.optim_wrapper.get('accumulative_counts', 1)
        return self.train_dataloader.batch_size * get_world_size() * accumulated

    @staticmethod
    def build_dataloader(dataloader: dict | DataLoader, *args, **kwargs) -> DataLoader:
        """Build a data loader with at most one worker per core."""
        if isinstance(dataloader, dict):
            asked = dataloader.get('num_workers', 0)
            workers = min(asked, cores_per_process())
            if workers < asked:
                MMLogger.get_current_instance().info(
                    '%d loading workers instead of the %d of the config: each process '
                    'has no more cores.',
                    workers,
                    asked,
                )
            persistent = dataloader.get('persistent_workers', False) and workers > 0
            dataloader = dict(
                dataloader, num_workers=workers, persistent_workers=persistent
            )
        return Runner.build_dataloader(dataloader, *args, **kwargs)


def averages_weights(hook: Hook | dict) -> bool:
    kind = hook.get('type') if isinstance(hook, dict) else type(hook)
    kind = HOOKS.get(kind) if isinstance(kind, str) else kind
    return isinstance(kind, type) and issubclass(kind, EMAHook)
