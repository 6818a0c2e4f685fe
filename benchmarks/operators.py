"""Count the operators that a GPU gets, without one; say what it waits for.

python benchmarks/operators.py             # of a training step and of a prediction
python benchmarks/operators.py --roofline  # their bytes and FLOPs, and times of an H200

The network is put on the `meta` device, whose tensors have no values. So all branches
for a GPU are taken, and what would wait for a GPU's values ends with an error that
names the line.
"""

import argparse
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmseg_fastscnn.config.read import read_config
from mmseg_fastscnn.config.shipped import SHIPPED
from mmseg_fastscnn.engine.bad_steps import BadStepsHook
from mmseg_fastscnn.ops import upsample_triton
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import SegDataSample

CROP, FRAME = (512, 1024), (1024, 2048)  # of training and of prediction, (h, w)
GPU = 'meta'
JOINED = ('relu_', 'add_', 'add', 'sub_', 'div_', 'mul', '_to_copy', 'native_dropout')
JOINED += ('threshold_backward',)
NO_KERNEL = ('empty', 'new_empty', 'lift_fresh', '_unsafe_view', '_reshape_alias')
# NVIDIA's figures for an H200: bytes and dense FLOPs per second
BANDWIDTH, TENSOR_CORES, PLAIN = 4.8e12, 989e12, 67e12
BLOCKS = ('learning_to_downsample', 'bottleneck1', 'bottleneck2', 'bottleneck3')
BLOCKS += ('ppm', 'out', 'feature_fusion', 'decode_head')


class Waits(Exception):
    """An operator asked for a value of a tensor on the device."""


@dataclass
class Work:
    """What the operators of a part do together.

    Attributes:
        operators: Their number.
        traffic: Bytes that they read and write.
        least: The same without those that a compiler joins to the one before.
        flops: Of convolutions and products of matrices.
        seconds: What they take at least on an H200, one after the other: each has to
            move its bytes and to do its FLOPs.
    """

    operators: int = 0
    traffic: int = 0
    least: int = 0
    flops: int = 0
    seconds: float = 0.0

    def __add__(self, other: 'Work') -> 'Work':
        return Work(
            *(a + b for a, b in zip(astuple(self), astuple(other), strict=True))
        )


class Operators(TorchDispatchMode):
    """Counts the operators that start kernels on the device, by parts.

    Views and allocations start none. One operator may be several kernels: the backward
    pass of a convolution is two, one that updates a list of tensors a few.

    Raises:
        Waits: An operator cannot run without values.
    """

    def __init__(self):
        super().__init__()
        self.parts: dict[str, Work] = {}
        self.part = ''

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Count what is called inside of this context for a part."""
        before, self.part = self.part, part
        with self:
            yield
        self.part = before

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        try:
            result = func(*args, **(kwargs or {}))
        except (NotImplementedError, RuntimeError) as error:
            raise Waits(f'{name} asks for values, at {caller()}') from error
        read, written = of_gpu((args, kwargs)), of_gpu(result)
        starts = not func.is_view and not name.startswith(NO_KERNEL)
        if starts and (read or written):
            self.add(read, written, flops_of(name, args, result), name in JOINED)
        return result

    def add(
        self,
        read: Sequence[Tensor],
        written: Sequence[Tensor],
        flops: int = 0,
        joined: bool = False,
    ) -> None:
        """Count an operator for the current part."""
        moved = sum(t.numel() * t.element_size() for t in (*read, *written))
        half = any(t.element_size() == 2 for t in read)
        seconds = max(moved / BANDWIDTH, flops / (TENSOR_CORES if half else PLAIN))
        work = Work(1, moved, 0 if joined else moved, flops, seconds)
        self.parts[self.part] = self.parts.get(self.part, Work()) + work

    @property
    def total(self) -> Work:
        return sum(self.parts.values(), Work())


def of_gpu(values: object) -> list[Tensor]:
    """Return the tensors on the device that are somewhere in arguments or results."""
    return [v for v in tree_leaves(values) if isinstance(v, Tensor) and v.is_meta]


def caller() -> str:
    """Return the file and line of the package that called an operator."""
    for frame in reversed(traceback.extract_stack()):
        if 'mmseg_fastscnn' in frame.filename and frame.filename != __file__:
            return f'{Path(frame.filename).name}:{frame.lineno}: {frame.line}'
    return 'a line outside of this project'


def flops_of(name: str, args: tuple, result: object) -> int:
    """Return the FLOPs of a convolution or of a product of matrices, else 0."""
    if name == 'convolution':
        return 2 * result.numel() * args[1][0].numel()
    if name == 'convolution_backward':  # with respect to the input and to the weight
        wanted = sum(args[-1][:2])
        return 2 * wanted * args[0].numel() * args[2][0].numel()
    if name in ('mm', 'bmm'):
        return 2 * result.numel() * args[0].shape[-1]
    return 0


class Launch:
    """Stands for a Triton kernel: counts its launches."""

    def __init__(self, counted: Operators):
        self.counted = counted

    def __getitem__(self, grid: tuple):
        return lambda *args, **_: self.counted.add(of_gpu(args), ())


@contextmanager
def as_on_cuda(counted: Operators) -> Iterator[None]:
    """Take the branches for CUDA: Triton's kernels, and lists of tensors at once."""
    ops, models = 'mmseg_fastscnn.ops', 'mmseg_fastscnn.models'
    loss = upsample_triton.TritonCrossEntropy
    with ExitStack() as patches:
        lists = 'torch.utils._foreach_utils._get_foreach_kernels_supported_devices'
        patches.enter_context(patch(lists, lambda: [GPU]))
        for kernel in ('argmax_kernel', 'loss_kernel', 'gradient_kernel'):
            name = f'{ops}.upsample_triton.{kernel}'
            patches.enter_context(patch(name, Launch(counted)))
        patches.enter_context(patch(f'{ops}.upsample_loss.UpsampleCrossEntropy', loss))
        patches.enter_context(patch(f'{models}.prediction.upsample_argmax', one_step))
        yield


def one_step(logits: Tensor, sizes: Sequence, align_corners: bool, window) -> Tensor:
    return upsample_triton.argmax(logits.float(), sizes[-1], align_corners)


def build_model(classes: int = 19) -> nn.Module:
    """Build the shipped network on the `meta` device."""
    init_default_scope('mmseg_fastscnn')
    config = read_config(SHIPPED / '_base_/models/fast_scnn.py').model
    model = MODELS.build(dict(config, num_classes=classes))
    return revert_sync_batchnorm(model).to(GPU)


def batch_of(count: int, size: tuple[int, int], labelled: bool = False) -> dict:
    """Return a batch as the loader gives it, but on the device already."""
    images = torch.zeros(count, 3, *size, dtype=torch.uint8, device=GPU)
    samples = [SegDataSample(metainfo=dict(ori_shape=size)) for _ in images]
    for sample in samples if labelled else ():
        label = torch.zeros(1, *size, dtype=torch.uint8, device=GPU)
        sample.gt_sem_seg = PixelData(data=label)
    return dict(inputs=list(images), data_samples=samples)


def training_step(
    count: int = 32,
    size: tuple[int, int] = CROP,
    half: bool = False,
    optimizer: str = 'SGD',
) -> Operators:
    """Count a step: the second one with state in the optimizer.

    Args:
        count, size: The batch.
        half: Weights and activations of 2 bytes. As no tensor is cast in such a step,
            it has fewer operators than one in mixed precision.
        optimizer: Its name in a config.
    """
    model = build_model().train()
    if half:
        model.half().data_preprocessor.dtype = torch.float16
    model.data_preprocessor.size = size
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type=optimizer, lr=0.01)))
    for group in wrapper.optimizer.param_groups:
        group.update(momentum=0.9, weight_decay=4e-5, foreach=True)  # as on CUDA
    batch, hook = batch_of(count, size, labelled=True), BadStepsHook()
    runner = SimpleNamespace(model=model, optim_wrapper=wrapper, iter=0)
    for k in range(3):
        counted = Operators()
        if k == 1:  # in a run, the first step with new state waits
            hook.before_train(runner)
        with as_on_cuda(counted):
            with counted.of('leaving out bad steps'):
                if k > 0:
                    hook.before_train_iter(runner, k)
            with counted.of('preprocessing'):
                data = model.data_preprocessor(batch, training=True)
            with counted.of('forward and losses'):
                loss, logs = model.parse_losses(model(**data, mode='loss'))
            with counted.of('backward'):
                wrapper.backward(wrapper.scale_loss(loss))
            with counted.of('optimizer'):
                wrapper.step()
                wrapper.zero_grad()
            with counted.of('leaving out bad steps'):
                if k > 0:
                    hook.after_train_iter(runner, k, {}, logs)
    return counted


@torch.no_grad()
def prediction(
    dtype: torch.dtype | None = torch.float16,
    count: int = 1,
    size: tuple[int, int] = FRAME,
) -> Operators:
    """Count a prediction, from images on the device to label maps.

    Args:
        dtype: Type of the inference form; None: the network as it is trained.
        count, size: The batch.
    """
    model = build_model().eval()
    if dtype is not None:
        model.for_inference(dtype)
    batch = batch_of(count, size)
    for _ in range(2):  # in the first, what is kept is computed
        counted = Operators()
        with as_on_cuda(counted):
            with counted.of('preprocessing'):
                data = model.data_preprocessor(batch)
            with counted.of('network'), blocks(model, counted):
                logits = model.coarse_logits(data['inputs'])
            with counted.of('label map'):
                for view in model.views(logits, size, data['data_samples']):
                    model.label_map(view)
    return counted


@contextmanager
def blocks(model: nn.Module, counted: Operators) -> Iterator[None]:
    """Count the operators of the network's blocks for each block."""
    hooks = []
    for path, module in model.named_modules():
        name = path.rpartition('.')[2]
        if name in BLOCKS:

            def enter(*_, name: str = name) -> None:
                counted.part = name

            def leave(*_) -> None:
                counted.part = 'network'

            hooks.append(module.register_forward_pre_hook(enter))
            hooks.append(module.register_forward_hook(leave))
    yield
    for hook in hooks:
        hook.remove()


def print_parts(title: str, counted: Operators, in_full: bool) -> None:
    print(f'\n| {title} | operators |' + ' GB | least | GFLOPs | us |' * in_full)
    print('|---' * (6 if in_full else 2) + '|')
    for part, work in (*counted.parts.items(), ('**all**', counted.total)):
        sizes = (work.traffic / 1e9, work.least / 1e9, work.flops / 1e9)
        columns = [f'{size:.3f}' for size in sizes] + [f'{1e6 * work.seconds:.0f}']
        print('|', ' | '.join([part, str(work.operators), *columns * in_full]), '|')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--roofline', action='store_true')
    full = parser.parse_args().roofline
    if not full:
        print_parts('prediction, as trained', prediction(None), full)
    print_parts('prediction, float16, 1 x 1024x2048', prediction(), full)
    step = training_step(half=full)
    print_parts('training step, 32 x 512x1024', step, full)
    if not full:
        step = training_step(optimizer='MuonAdamW')
        print_parts('the same by MuonAdamW', step, full)
    print('\nNothing waits for the device.')


if __name__ == '__main__':
    main()
