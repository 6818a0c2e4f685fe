"""mmengine's runner, where running Fast-SCNN for a person needs it otherwise."""

import gc
import importlib
import inspect
import itertools
import logging
import os
import re
import sys
import warnings
from importlib import metadata
from pathlib import Path

import torch
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_world_size, is_distributed
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper, revert_sync_batchnorm
from mmengine.model.test_time_aug import BaseTTAModel
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, Runner
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from mmseg_fastscnn.checkpoint import load_weights, read_checkpoint, restore_hub
from mmseg_fastscnn.engine.inference_form import InferenceFormHook
from mmseg_fastscnn.finetune import carry_over_classes, inflate_first_convolution
from mmseg_fastscnn.hooks import (
    DataWaitHook,
    PlainCheckpointHook,
    RunHeaderHook,
    usable_cores,
)
from mmseg_fastscnn.memory import reuse_large_blocks
from mmseg_fastscnn.registry import RUNNERS


@RUNNERS.register_module()
class SegRunner(Runner):
    """Train and test, on whatever device there is.

    Different from mmengine's: the terminal shows what a person needs (all else is in
    the log file), a torchvision that does not fit is left aside, SyncBN and data
    parallel training work on CPUs, checkpoints are read safely and reported, and the
    learning rate is scaled by the whole batch, accumulated steps included.

    Attributes:
        weights: Which of a checkpoint's weights to load, 'ema' or 'raw'.
        test_dtype: Of the network in a run that only tests.
    """

    weights = 'ema'
    test_dtype = torch.float32

    def train(self) -> nn.Module:
        # said when a step is skipped or accumulated, which is meant
        warnings.filterwarnings('ignore', 'Detected call of `scheduler.step')
        try:
            return super().train()
        except KeyboardInterrupt:
            pointer = Path(self.work_dir, 'last_checkpoint')
            last = pointer.read_text() if pointer.exists() else 'none is written yet'
            self.logger.warning(
                'Stopped at iteration %d. --resume goes on from the last checkpoint '
                '(%s).',
                self.iter,
                last,
            )
            raise

    def dump_config(self) -> None:
        """Keep the config that trained in the work dir; a test's goes to its log."""
        if self._train_loop is not None:
            super().dump_config()
        elif self.rank == 0:
            name = Path(self.cfg.filename or 'config.py').name
            self.cfg.dump(Path(self.log_dir, name))

    def setup_env(self, env_cfg: dict) -> None:
        reuse_large_blocks()
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
        terminal.addFilter(is_for_people)
        terminal.setFormatter(logging.Formatter('%(asctime)s %(message)s', '%H:%M:%S'))
        return logger

    def _log_env(self, env_cfg: dict) -> None:
        set_aside_broken_torchvision(self.logger)
        super()._log_env(env_cfg)

    def register_hooks(self, default_hooks=None, custom_hooks=None) -> None:
        if self._train_loop is None:  # the weights asked for are loaded, see `weights`
            custom_hooks = [h for h in custom_hooks or () if not averages_weights(h)]
        super().register_hooks(default_hooks, custom_hooks)
        self.register_hook(RunHeaderHook())
        self.register_hook(PlainCheckpointHook())
        self.register_hook(DataWaitHook())
        if self._train_loop is not None and self._val_loop is not None:
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
        if self._resume:
            if 'optimizer' not in checkpoint:
                raise ValueError(
                    f'{filename} holds weights but no state of a run to resume. Start '
                    f'from its weights with --load-from.'
                )
            checkpoint['message_hub'] = restore_hub(checkpoint['message_hub'])
        model = self.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        starts_training = isinstance(self._train_loop, BaseLoop) and not self._resume
        state_dict = checkpoint['state_dict']
        if starts_training:
            state_dict = self._fit_to_task(model, state_dict, checkpoint['meta'])
            checkpoint['state_dict'] = state_dict
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        report = load_weights(model, state_dict, strict=not starts_training)
        self.logger.info('%s: %s.', filename, report)
        if self._train_loop is None:
            model.for_inference(self.test_dtype)
        self._has_loaded = True
        return checkpoint

    def _fit_to_task(
        self, model: nn.Module, state_dict: dict[str, Tensor], meta: dict
    ) -> dict[str, Tensor]:
        """Fit a checkpoint's classifiers and first convolution to the model's task."""
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
        iterator = getattr(loop, 'dataloader_iterator', None)
        loads_to_skip = iterator is not None and not hasattr(iterator, 'skip_iter')
        if loads_to_skip and isinstance(loop.dataloader.sampler, InfiniteSampler):
            loop.dataloader_iterator = SkippingIterator(loop.dataloader, loop.iter)

    def scale_lr(
        self, optim_wrapper: OptimWrapper, auto_scale_lr: dict | None = None
    ) -> None:
        """Multiply the learning rates by the real over the base batch size."""
        if not auto_scale_lr or not auto_scale_lr.get('enable', False):
            return
        per_step = self._train_dataloader['batch_size'] * get_world_size()
        real = per_step * optim_wrapper._accumulative_counts
        base = auto_scale_lr['base_batch_size']
        for group in optim_wrapper.optimizer.param_groups:
            group['lr'] *= real / base
        self.logger.info(
            'The learning rate is scaled by %g: %d images a step, the config is for '
            '%d (--no-auto-scale-lr keeps its learning rate).',
            real / base,
            real,
            base,
        )

    @staticmethod
    def build_dataloader(dataloader: dict | DataLoader, *args, **kwargs) -> DataLoader:
        """mmengine's, with at most one worker a core, and with none if asked for."""
        if isinstance(dataloader, dict):
            processes = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
            cores = max(usable_cores() // processes, 1)
            asked = dataloader.get('num_workers', 0)
            workers = min(asked, cores)
            if workers < asked:
                MMLogger.get_current_instance().info(
                    '%d loading workers instead of the %d of the config: there are no '
                    'more cores a process.',
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
    return kind in ('EMAHook', EMAHook)


def leave_process_group() -> None:
    """End the process that `--launcher` began; the last call of a command.

    Gloo's threads may abort a process while Python ends ("terminate called without an
    active exception"), when all is done and written. So the group is left first, with
    the data parallel model that holds it in cycles, and then the process without more.
    """
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        gc.collect()
        torch.distributed.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


class SkippingIterator:
    """What mmengine's loop reads batches from, after a resume.

    The loop asks for the batches of all iterations before, to throw them away; these
    are skipped in the sampler, and None is given for them.

    Args:
        dataloader: Its sampler must be an `InfiniteSampler`.
        skip: Iterations before.
    """

    def __init__(self, dataloader: DataLoader, skip: int):
        sampler = dataloader.sampler
        # from the start: the loop's workers may have drawn ahead
        indices = sampler._indices_of_rank()
        sampler.indices = itertools.islice(indices, skip * dataloader.batch_size, None)
        self.skip = skip
        self.iterator = iter(dataloader)

    def __next__(self) -> dict | None:
        if self.skip > 0:
            self.skip -= 1
            return None
        return next(self.iterator)


def is_for_people(record: logging.LogRecord) -> bool:
    """Of a run's log, let through what belongs on the terminal.

    That is: warnings, mmengine's progress and results, and lines of this package; not
    what mmengine says of its own coming changes, which a user cannot act on.
    """
    package = os.path.dirname(__file__)
    message = record.getMessage()
    if 'will be deprecated' in message or message.startswith('Advance dataloader'):
        return False
    return (
        record.levelno >= logging.WARNING
        or (record.module == 'logger_hook' and not record.msg.startswith('Exp name'))
        or record.pathname.startswith(package)
    )


def set_aside_broken_torchvision(logger: logging.Logger) -> None:
    """Make a torchvision that cannot be imported look as if it were not installed.

    One built for another torch raises RuntimeError at import, which mmengine's
    environment report does not expect. torchvision is optional here.
    """
    try:
        importlib.import_module('torchvision')
    except ModuleNotFoundError:
        return  # not installed, or set aside before
    except (ImportError, RuntimeError, OSError) as error:
        sys.modules['torchvision'] = None
        requires = metadata.requires('torchvision') or []
        needs = next((r for r in requires if r.startswith('torch')), 'its torch')
        logger.warning(
            'torchvision is left aside: it fails with torch %s (%s). If you need it, '
            'install torchvision==%s with %s, both CPU or both CUDA builds.',
            torch.__version__,
            str(error).splitlines()[0],
            metadata.version('torchvision'),
            re.sub('[() ]', '', needs),
        )
