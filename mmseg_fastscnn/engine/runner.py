"""mmengine's Runner with safe checkpoint loading and a readable terminal."""

import logging
import os
import warnings
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, Runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

from mmseg_fastscnn.checkpoint import leave_out_absent_heads, load_weights
from mmseg_fastscnn.config.text import QuickConfig
from mmseg_fastscnn.datasets.sampler import RunSampler
from mmseg_fastscnn.engine.agreement import AgreementHook, check_config_and_code
from mmseg_fastscnn.engine.bad_steps import MAX_BAD_STEPS, BadStepsHook
from mmseg_fastscnn.engine.class_weight_hook import ClassWeightHook
from mmseg_fastscnn.engine.compiling import compile_networks
from mmseg_fastscnn.engine.data_loaders import (
    end_workers,
    shielded,
    with_workers_that_fit,
)
from mmseg_fastscnn.engine.hooks import (
    DataWaitHook,
    PlainCheckpointHook,
    RuntimeInfoHook,
)
from mmseg_fastscnn.engine.inference_form import InferenceFormHook
from mmseg_fastscnn.engine.log.backends import complete_backends
from mmseg_fastscnn.engine.log.files import (
    is_shown,
    wait_for_another_second,
    write_lines_or_warn,
)
from mmseg_fastscnn.engine.log.header import RunHeaderHook
from mmseg_fastscnn.engine.log.next_steps import NextStepsHook
from mmseg_fastscnn.engine.log.progress import ProgressHook
from mmseg_fastscnn.engine.predictions import ResultCheckHook
from mmseg_fastscnn.engine.processes import (
    check_launcher,
    data_parallel_settings,
    join_on_cpus,
)
from mmseg_fastscnn.engine.record.hook import ValidationRecordHook
from mmseg_fastscnn.engine.resume.run_state import (
    RankState,
    RunStateHook,
    gather_rank_states,
)
from mmseg_fastscnn.engine.resume.starting_point import (
    averages_weights,
    set_starting_point,
    starting_point,
)
from mmseg_fastscnn.engine.resume.work_dir import last_checkpoint
from mmseg_fastscnn.engine.startup import StartupCheckHook
from mmseg_fastscnn.machine import set_aside_broken_torchvision
from mmseg_fastscnn.models.segmentor import EncoderDecoder, unwrapped
from mmseg_fastscnn.registry import RUNNERS
from mmseg_fastscnn.results import CONFIG, is_ours
from mmseg_fastscnn.writing import write_file


@RUNNERS.register_module()
class SegRunner(Runner):
    """Train and test a segmentor on CPUs and GPUs.

    It differs from mmengine's in this: checkpoints are read safely, with a report of
    what was loaded; nothing that a checkpoint names is run or removed; the terminal
    shows what a person needs, the log file everything; SyncBN and data parallel
    training work on CPUs; and the learning rate is scaled by the whole batch, with
    accumulated steps.

    Args:
        model: The segmentor or its config.
        work_dir: Folder for checkpoints and logs.
        train_cfg: Config of the training loop; without one the run only tests.
        val_cfg: Config of the validation loop, if there is validation.
        resume: Whether to go on with the run that wrote the checkpoint.
        kwargs: Other arguments of mmengine's `Runner`.

    Attributes:
        trains: Whether the run trains.
        validates: Whether the run trains and validates.
        resumes: Whether the run goes on with an earlier one.
        weights: Which of a checkpoint's weights to load: 'ema' or 'raw'.
        test_dtype: Type of the network's weights in a run that only tests.
        rank_states: What each process has for itself, for the next checkpoint.
    """

    weights = 'ema'
    test_dtype = torch.float32
    rank_states: list[RankState] | None = None

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
        wait_for_another_second()
        self.trains = train_cfg is not None
        self.validates = self.trains and val_cfg is not None
        self.resumes = resume
        loops = dict(train_cfg=train_cfg, val_cfg=val_cfg)
        super().__init__(model, work_dir, **loops, resume=resume, **kwargs)

    @classmethod
    def from_cfg(cls, cfg: Config) -> 'SegRunner':
        """Build a runner; a run that resumes keeps the seed of the earlier one."""
        text = cfg.text or ' '  # so that the file is not read again
        cfg = QuickConfig(cfg.to_dict(), cfg_text=text, filename=cfg.filename)
        asked = cfg.get('randomness', {}).get('seed')
        if cfg.get('resume'):
            set_starting_point(cfg)
        runner = super().from_cfg(cfg)
        if runner.resumes and asked not in (None, runner.seed):
            runner.logger.warning(
                'The run goes on with its own seed %d, not with %d.', runner.seed, asked
            )
        return runner

    def train(self) -> nn.Module:
        trained = self.model
        with warnings.catch_warnings():
            # torch warns of it when a step is skipped or accumulated on purpose
            warnings.filterwarnings('ignore', 'Detected call of `scheduler.step')
            try:
                model = super().train()
                end_workers(self.train_loop, self.val_loop)
                return model
            except KeyboardInterrupt:
                self.logger.warning(
                    'Stopped at iteration %d. --resume goes on from the last '
                    'checkpoint (%s).',
                    self.iter,
                    last_checkpoint(self.work_dir) or 'none is written yet',
                )
                raise
            finally:
                self.model = trained  # a validation that fails leaves its copy here
                self.end_progress()

    def test(self) -> dict:
        try:
            metrics = super().test()
            end_workers(self.test_loop)
            return metrics
        finally:
            self.end_progress()

    def end_progress(self) -> None:
        """Give the terminal back, which mmengine does not do after an error."""
        for hook in self.hooks:
            if isinstance(hook, ProgressHook):
                hook.after_run(self)

    def dump_config(self) -> None:
        """Write the config of a training run to the work dir, others beside the log.

        Beside the log, too, if the work dir has a file of that name that a user wrote.
        """
        if self.rank != 0:
            return
        name = Path(self.cfg.filename or 'config.py').with_suffix('.py').name
        path = Path(self.work_dir, name)
        if not self.trains or (path.exists() and not is_ours(path)):
            path = Path(self.log_dir, name)
        write_file(path, CONFIG + self.cfg.pretty_text.encode())

    def setup_env(self, env_cfg: dict) -> None:
        check_launcher(self.launcher)
        if self.launcher == 'mpi':  # mmengine reads LOCAL_RANK, and sets it for others
            local_rank = os.environ['OMPI_COMM_WORLD_LOCAL_RANK']
            os.environ.setdefault('LOCAL_RANK', local_rank)
        if self.distributed:
            join_on_cpus(env_cfg.get('dist_cfg', {}).get('timeout'))
        super().setup_env(env_cfg)
        check_config_and_code(self.cfg)

    def set_randomness(
        self,
        seed: int | None,
        diff_rank_seed: bool = False,
        deterministic: bool = False,
    ) -> None:
        if deterministic:  # as cuBLAS is only with a workspace of fixed size
            os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
        super().set_randomness(seed, diff_rank_seed, deterministic)

    def build_logger(self, log_level: int | str = 'INFO', **kwargs) -> MMLogger:
        logger = super().build_logger(log_level, **kwargs)
        terminal = logger.handlers[0]
        terminal.addFilter(is_shown)
        terminal.setFormatter(logging.Formatter('%(asctime)s %(message)s', '%H:%M:%S'))
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                write_lines_or_warn(handler)
        # mmengine imports torchvision right after this, for its environment report
        set_aside_broken_torchvision(logger)
        return logger

    def build_visualizer(self, visualizer: Visualizer | dict | None = None):
        if isinstance(visualizer, dict):
            backends = complete_backends(visualizer.get('vis_backends'))
            visualizer = dict(visualizer, vis_backends=backends)
            # of one name, mmengine would take the one of an earlier run of this process
            if 'name' in visualizer:
                visualizer['name'] += f'_{self.timestamp}'
        return super().build_visualizer(visualizer)

    def register_hooks(self, default_hooks=None, custom_hooks=None) -> None:
        if not self.trains:  # `weights` says which to test; EMAHook would swap them
            custom_hooks = [h for h in custom_hooks or () if not averages_weights(h)]
        super().register_hooks(default_hooks, custom_hooks)
        for kind in (
            *(AgreementHook, StartupCheckHook, RunHeaderHook, NextStepsHook),
            *(ResultCheckHook, RunStateHook, ProgressHook, PlainCheckpointHook),
            *(DataWaitHook, ClassWeightHook),
        ):
            self.register_hook(kind())
        max_bad_steps = self.cfg.get('max_bad_steps', MAX_BAD_STEPS)
        self.register_hook(BadStepsHook(max_bad_steps))
        if self.validates:
            self.register_hook(InferenceFormHook())
            self.register_hook(ValidationRecordHook())
        if self.distributed:  # so that all processes validate with equal statistics
            self.register_hook(dict(type='SyncBuffersHook'))

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        if self.distributed and 'type' not in (model_wrapper_cfg or {}):
            find_unused = self.cfg.get('find_unused_parameters', False)
            default = data_parallel_settings(find_unused)
            if not torch.cuda.is_available():
                model = revert_sync_batchnorm(model)  # torch has no SyncBN on CPUs
            model_wrapper_cfg = {**default, **(model_wrapper_cfg or {})}
        return super().wrap_model(model_wrapper_cfg, model)

    def load_checkpoint(self, filename: str, *args, **kwargs) -> dict:
        """Load a checkpoint, and log what was loaded.

        Where training starts from it, classifiers and first convolution are fitted to
        the task, and other tensors may be missing. Otherwise all must be there.

        mmengine's further arguments are not used: the file is read to the CPU, and
        `module.` before a name is removed.
        """
        checkpoint = starting_point(self, filename)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        model, is_new = unwrapped(self.model), self.trains and not self.resumes
        if not self.trains:
            leave_out_absent_heads(model, checkpoint['state_dict'])
        report = load_weights(model, checkpoint['state_dict'], not is_new, filename)
        self.logger.info('%s: %s.', filename, report)
        if not self.trains:
            model.for_inference(self.test_dtype)
        return checkpoint

    def resume(self, filename: str, *args, **kwargs) -> None:
        super().resume(filename, *args, **kwargs)
        sampler = self.train_dataloader.sampler
        if self.iter > 0 and not isinstance(sampler, RunSampler):
            self.logger.warning(
                '%s cannot start in the middle: the images of earlier iterations are '
                'loaded once more.',
                type(sampler).__name__,
            )

    def _maybe_compile(self, target: str) -> None:
        """Compile the networks if the config says so; mmengine would compile `target`.

        That is the whole step, most of which is Python, and is compiled piece by piece.
        Models of other kinds are left to mmengine.
        """
        options, model = self.cfg.get('compile'), unwrapped(self.model)
        if not isinstance(model, EncoderDecoder):
            super()._maybe_compile(target)
        elif options not in (None, False):
            compile_networks(model, options)
            self.logger.info(
                'Backbone and heads are compiled: the first steps take minutes.'
            )

    def gather_rank_states(self) -> None:
        """Keep what each process has for itself; all must call this together.

        The losses are read before: a checkpoint has them, and processes that left out a
        step tell each other why, while mmengine writes in the first one alone.
        """
        for hook in self.hooks:
            if isinstance(hook, RuntimeInfoHook):
                hook.read_losses(self)
        self.rank_states = gather_rank_states(self)

    def save_checkpoint(self, *args, **kwargs) -> None:
        """Write a checkpoint in the first process.

        All must call this together, or `gather_rank_states` before.
        """
        gathers = self.rank_states is None
        if gathers:
            self.gather_rank_states()
        super().save_checkpoint(*args, **kwargs)
        if gathers:  # else the caller may have to write the same again
            self.rank_states = None

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build our loop, also where the config chooses it by `by_epoch`."""
        if isinstance(loop, dict) and 'by_epoch' in loop:
            by_epoch = loop['by_epoch']
            loop = {key: value for key, value in loop.items() if key != 'by_epoch'}
            loop['type'] = 'EpochBasedTrainLoop' if by_epoch else 'IterBasedTrainLoop'
        return super().build_train_loop(loop)

    def scale_lr(
        self, optim_wrapper: OptimWrapper, auto_scale_lr: dict | None = None
    ) -> None:
        """Multiply the learning rates by the ratio of real to base batch size.

        A resumed run keeps the learning rates of its checkpoint, whatever its batch.
        """
        if not auto_scale_lr or not auto_scale_lr.get('enable', False):
            return
        if self.resumes and self.cfg.get('load_from'):
            return
        real, base = self.images_per_step, auto_scale_lr['base_batch_size']
        if real == base:
            return
        for group in optim_wrapper.param_groups:  # and what the log shows
            group['lr'] *= real / base
        self.logger.info(
            'The learning rate is scaled by %g: %d images per step, the config is for '
            '%d (--no-auto-scale-lr keeps its learning rate).',
            real / base,
            real,
            base,
        )

    @property
    def images_per_step(self) -> int:
        """Number of images in one step of the optimizer, over all processes."""
        accumulated = self.cfg.optim_wrapper.get('accumulative_counts', 1)
        return self.train_dataloader.batch_size * get_world_size() * accumulated

    @staticmethod
    def build_dataloader(dataloader: dict | DataLoader, *args, **kwargs) -> DataLoader:
        """Build a data loader with at most one worker per core."""
        if isinstance(dataloader, dict):
            dataloader = with_workers_that_fit(dataloader)
        return shielded(Runner.build_dataloader(dataloader, *args, **kwargs))
