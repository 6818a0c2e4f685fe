"""What a checkpoint needs besides mmengine's parts, so that a run goes on exactly."""

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import EarlyStoppingHook as EarlyStoppingHookOfMMEngine
from mmengine.hooks import EMAHook, Hook
from torch import Tensor

from mmseg_fastscnn.datasets.sampler import (
    RunSampler,
    derived_seeds,
    seed_generators,
)
from mmseg_fastscnn.engine.loops import TrainLoop
from mmseg_fastscnn.models.segmentor import unwrapped
from mmseg_fastscnn.registry import HOOKS

RankState = dict[str, dict[str, Tensor]]


class RunStateHook(Hook):
    """Keep and restore the place in the data, and what each process has for itself.

    Random numbers of an iteration follow from the seed, the process and the
    iteration. So no states of generators need to be kept, and nothing that draws
    between iterations changes the run.
    """

    priority = 'VERY_HIGH'  # before hooks that draw, and before a best file is written

    def __init__(self):
        self.resumed: list[RankState] = []

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if not runner.resumes:
            return
        self.resumed = checkpoint['ranks']
        loop, meta = runner.train_loop, checkpoint['meta']
        if not isinstance(loop, TrainLoop):
            return
        loop.validated = meta.get('validated', meta['iter'])
        # files of earlier versions count epochs and iterations alone
        loop.images = loop.images_before(meta['epoch'], meta['iter'])
        sampler = loop.dataloader.sampler
        if isinstance(sampler, RunSampler):
            sampler.seed = meta.get('order_seed', sampler.seed)
        before, size = meta.get('dataset_size'), len(loop.dataloader.dataset)
        if before == size:
            loop.images = meta.get('images', loop.images)
        elif before is not None:
            runner.logger.warning(
                'The run before had %d training images, this one has %d: their order '
                'is another one.',
                before,
                size,
            )

    def before_train(self, runner) -> None:
        if self.resumed:
            restore_rank_state(runner, self.resumed)
            self.resumed = []

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        entropy = (runner.seed, get_rank(), runner.iter)
        *seeds, for_device = derived_seeds(entropy, 4)
        seed_generators(*seeds)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed(for_device)

    def after_val_epoch(self, runner, metrics=None) -> None:
        if runner.trains:
            runner.train_loop.validated = runner.iter

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        loop, meta = runner.train_loop, checkpoint['meta']
        if isinstance(loop, TrainLoop):
            meta.update(
                images=loop.images,
                dataset_size=len(loop.dataloader.dataset),
                validated=loop.validated,
            )
            if isinstance(loop.dataloader.sampler, RunSampler):
                meta['order_seed'] = int(loop.dataloader.sampler.seed)
        checkpoint['ranks'] = runner.rank_states


@HOOKS.register_module()
class EarlyStoppingHook(EarlyStoppingHookOfMMEngine):
    """mmengine's EarlyStoppingHook, which goes on counting after a resume."""

    priority = 'LOW'  # before CheckpointHook, whose files have its count

    def before_run(self, runner) -> None:
        if runner.trains:  # a test has no loop that could stop
            super().before_run(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint['meta']['early_stopping'] = dict(
            wait_count=self.wait_count, best_score=float(self.best_score)
        )

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        state = checkpoint['meta'].get('early_stopping')
        if runner.resumes and state is not None:
            self.wait_count = state['wait_count']
            self.best_score = state['best_score']
            is_better = self.rule_map[self.rule]
            threshold = self.stopping_threshold
            runner.train_loop.stop_training = self.wait_count >= self.patience or (
                threshold is not None and is_better(self.best_score, threshold)
            )


def buffers_to_keep(runner) -> dict[str, Tensor]:
    """Return what a module keeps besides parameters: the statistics of normalisation.

    Those of averaged weights are among them, with the prefix `ema.`.
    """
    modules = {'': unwrapped(runner.model)}
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            modules['ema.'] = hook.ema_model.module
    return {
        prefix + name: buffer
        for prefix, module in modules.items()
        for name, buffer in module.named_buffers()
        if name in module.state_dict()
    }


def gather_rank_states(runner) -> list[RankState]:
    """Return what each process has for itself; all of them must call this together.

    These are the statistics of normalisation (those of a single process are in the
    checkpoint already), and gradients that wait for further iterations to be
    accumulated.
    """
    buffers, parameters = {}, unwrapped(runner.model).named_parameters()
    if get_world_size() > 1:
        buffers = {k: v.cpu() for k, v in buffers_to_keep(runner).items()}
    gradients = {k: p.grad.cpu() for k, p in parameters if p.grad is not None}
    return all_gather_object(dict(buffers=buffers, gradients=gradients))


def restore_rank_state(runner, states: list[RankState]) -> None:
    """Give each process its own state; if their number has changed, the mean of all."""
    count = get_world_size()
    if len(states) != count:
        runner.logger.warning(
            'The run before had %d processes, this one has %d: each begins with the '
            'mean of their statistics of normalisation.',
            len(states),
            count,
        )
    state = states[get_rank()] if len(states) == count else mean_state(states)
    buffers = buffers_to_keep(runner)
    parameters = dict(unwrapped(runner.model).named_parameters())
    for name in state['buffers'].keys() & buffers.keys():
        buffers[name].copy_(state['buffers'][name])
    for name, gradient in state['gradients'].items():
        parameters[name].grad = gradient.to(parameters[name].device)


def mean_state(states: list[RankState]) -> RankState:
    """Return the mean over processes of what all of them have."""

    def mean(kind: str, name: str) -> Tensor:
        values = torch.stack([state[kind][name] for state in states])
        return values.double().mean(0).to(values.dtype)

    return {
        kind: {
            name: mean(kind, name)
            for name in set.intersection(*[set(state[kind]) for state in states])
        }
        for kind in ('buffers', 'gradients')
    }
