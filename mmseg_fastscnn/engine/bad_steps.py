"""Leave out steps whose loss is not finite, and stop after several in a row."""

from typing import NamedTuple

import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.hooks import Hook
from torch import Tensor
from torch.nn.utils import get_total_norm

from mmseg_fastscnn.engine.amp import AmpOptimWrapper
from mmseg_fastscnn.models.segmentor import unwrapped
from mmseg_fastscnn.ops import host

MAX_BAD_STEPS = 5  # in a row; a few batches of a bad file do not stop a run


class Step(NamedTuple):
    """What the message about a bad step says.

    Attributes:
        iteration: Its number, from 1 as in the log.
        lr: Learning rate of the first group of parameters.
        losses: The losses, and the largest value of the gradient: scalars on the
            device.
        files: The images of this process's batch.
        is_bad: Whether the step was left out, by all processes alike; on the device.
    """

    iteration: int
    lr: float
    losses: dict[str, Tensor]
    files: list[str]
    is_bad: Tensor


class BadStepsHook(Hook):
    """Leave out each step whose loss or gradient is not finite; stop after several.

    Such a step is a bad one if it is so in any process. It changes neither weights, nor
    statistics of normalisation layers, nor the optimizer's state, but for the number of
    steps that Adam counts on the CPU for a GPU; learning rate and order of images go
    on. With accumulated gradients, one such loss leaves out the whole step. In float16,
    a step that the scaler skips because the scaled gradient overflows does not count,
    until it has halved the scale too often (`AmpOptimWrapper.check_scale`).

    The device itself chooses between the values from before the iteration and those
    after it, so that the CPU does not wait for it. That a step was left out is seen
    when the losses are read (see `RuntimeInfoHook`): on a GPU, up to an interval of the
    log later.

    Args:
        max_bad_steps: After how many bad steps in a row the run stops.
    """

    # Before the losses are read and weights are averaged (`EMAHook`).
    priority = 'HIGHEST'

    def __init__(self, max_bad_steps: int = MAX_BAD_STEPS):
        self.max_bad_steps = max_bad_steps
        self.unread: list[Step] = []
        self.in_a_row: list[str] = []
        self.gradient: Tensor | None = None
        self.accumulated: Tensor | None = None
        self.parameters_with_state: set[Tensor] | None = None

    def before_train(self, runner) -> None:
        model = unwrapped(runner.model)
        tensors = [*model.parameters(), *model.buffers()]
        self.of_model = [in_memory_order(t) for t in tensors if t.is_floating_point()]
        self.optimizer = runner.optim_wrapper.optimizer
        self.optimizer.register_step_pre_hook(self._look_at_gradient)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if self.parameters_with_state != self.optimizer.state.keys():
            self.parameters_with_state = set(self.optimizer.state)
            self.tensors = [*self.of_model, *self._state()]
            self.sizes = [len(tensor) for tensor in self.tensors]
        self.before = torch.cat(self.tensors)

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        losses = {k: v.detach() for k, v in outputs.items() if 'loss' in k}
        if self.gradient is not None:
            losses['gradient'] = self.gradient
            self.gradient = None
        is_bad = self._is_bad(runner, losses)
        has_new_state = len(self.optimizer.state) > len(self.parameters_with_state)
        if has_new_state or is_bad.device.type == host.HOST:
            if is_bad:  # waits for a GPU, but only when the first step was taken
                self._write(self.before)
                for parameter in self.optimizer.state.keys() - (
                    self.parameters_with_state
                ):
                    del self.optimizer.state[parameter]
        else:
            after = torch.cat(self.tensors)
            self._write(torch.where(is_bad, self.before, after))
        lr = next(iter(runner.optim_wrapper.get_lr().values()))[0]
        step = Step(runner.iter + 1, lr, losses, files_of(data_batch), is_bad)
        self.unread.append(step)

    def after_losses_are_read(self, runner) -> None:
        """Log the steps that were left out.

        Raises:
            ValueError: There were `max_bad_steps` in a row, or the scaler of float16
                skips all steps.
        """
        if isinstance(runner.optim_wrapper, AmpOptimWrapper):
            runner.optim_wrapper.check_scale()
        steps, self.unread = self.unread, []
        flags = torch.stack([step.is_bad for step in steps]).tolist() if steps else []
        for step, is_bad in zip(steps, flags, strict=True):
            if not is_bad:
                self.in_a_row.clear()
                continue
            self.in_a_row.append(describe(step))
            # formatted here, since mmengine logs the same format string only once
            runner.logger.warning(f'Left out, not finite: {self.in_a_row[-1]}')
            if len(self.in_a_row) >= self.max_bad_steps:
                shown = '\n  '.join(self.in_a_row)
                raise ValueError(
                    f'Training stops: {self.max_bad_steps} steps in a row had a loss '
                    f'or a gradient that is not finite (--max-bad-steps). They were '
                    f'left out; the weights are those from before.\n  {shown}\n'
                    f'Look at these images and their labels. If they are good, lower '
                    f'the learning rate (optim_wrapper.optimizer.lr), limit the '
                    f'gradient (optim_wrapper.clip_grad.max_norm=1), or leave out '
                    f'--amp.'
                )

    def _state(self) -> list[Tensor]:
        """Return the part of the optimizer's state that is on the device."""
        device = self.of_model[0].device  # Adam's count of steps is on the CPU
        return [
            in_memory_order(value)
            for state in self.optimizer.state.values()
            for value in state.values()
            if isinstance(value, Tensor) and value.is_floating_point()
            if value.device == device
        ]

    def _look_at_gradient(self, optimizer, args: tuple, kwargs: dict) -> None:
        if hasattr(optimizer, 'found_inf'):
            return  # a fused optimizer, which itself skips what the scaler found
        parameters = [p for group in optimizer.param_groups for p in group['params']]
        gradients = [p.grad for p in parameters if p.grad is not None]
        largest = get_total_norm(gradients, norm_type=torch.inf)
        # MuonAdamW's own step is followed by AdamW's, which sees the gradients left
        seen = largest if self.gradient is None else self.gradient
        self.gradient = torch.maximum(seen, largest)  # which keeps nan

    def _is_bad(self, runner, losses: dict[str, Tensor]) -> Tensor:
        """Return whether the step of this iteration, in any process, is a bad one."""
        values = [losses[key] for key in ('loss', 'gradient') if key in losses]
        bad = ~torch.stack(values).isfinite().all()
        if self.accumulated is not None:
            bad = bad | self.accumulated
        in_any = bad.int()
        all_reduce(in_any, 'max')
        bad = in_any > 0
        self.accumulated = None if runner.optim_wrapper.should_update() else bad
        return bad

    def _write(self, values: Tensor) -> None:
        torch._foreach_copy_(self.tensors, values.split(self.sizes))


def in_memory_order(tensor: Tensor) -> Tensor:
    """Return a view (N,) of a tensor, also of one in channels_last.

    Such views are joined and written by a few kernels for all of them together.
    """
    order = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
    return tensor.detach().permute(order).view(-1)


def files_of(batch: dict) -> list[str]:
    """Return the image files of a batch, as its samples name them."""
    samples = batch.get('data_samples') or ()
    return [str(sample.get('img_path') or sample.get('rel_path')) for sample in samples]


def describe(step: Step) -> str:
    """Say which losses of a bad step are not finite, and on which images.

    All processes call this together, since the images may be those of another one.
    """
    mine = {name: value.item() for name, value in step.losses.items()}
    mine = {name: v for name, v in mine.items() if not torch.tensor(v).isfinite()}
    parts = all_gather_object((mine, step.files))
    by_loss = [part for part in parts if part[0].keys() - {'gradient'}]
    parts = by_loss or parts  # the gradient is the mean over all processes
    found = dict.fromkeys(f'{k} {v}' for losses, _ in parts for k, v in losses.items())
    files = [file for _, files in parts for file in files]
    return (
        f'iteration {step.iteration}, learning rate {step.lr:g}: {", ".join(found)}; '
        f'images {", ".join(files)}'
    )
