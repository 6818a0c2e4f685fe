"""Steps of `gpu.py` that measure: kernels, prediction and the training step.

Latency is the time of one call, waited for; images per second are those of calls one
after the other, waited for at the end. Without a GPU the same code runs, which says
only that it does.
"""

import time
from collections.abc import Callable
from functools import partial

import torch
from formulas import labelled_samples
from gpu_correct import ROOT
from gpu_steps import Setting
from gpu_timing import finish, latencies, peak, watched
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from mmseg_fastscnn.apis import init_model
from mmseg_fastscnn.apis.loading import load_model
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.engine.compiling import compile_networks
from mmseg_fastscnn.ops.cuda_graphs import Captured, captured
from mmseg_fastscnn.ops.upsample_argmax import upsample_argmax
from mmseg_fastscnn.ops.upsample_loss import upsample_cross_entropy
from mmseg_fastscnn.registry import MODELS, OPTIM_WRAPPERS, TRANSFORMS

CITYSCAPES = ROOT / 'configs/fastscnn/fast_scnn_lr0.12_8x4_160k_cityscapes.py'


def in_one_launch(
    function: Callable[[Tensor], object], x: Tensor
) -> Callable[[], object]:
    """Return what calls a function of a tensor, on CUDA by a graph of its kernels."""
    if not x.is_cuda:  # so that what is around it can be tried
        return partial(function, x)
    return partial(replay, captured(function, x), function)


def replay(graph: Captured, _: Callable) -> None:
    """Replay a graph of a function, which holds further tensors that it reads."""
    graph.replay()


def bandwidth(at: Setting) -> dict:
    """Bytes per second that a copy within the memory reads and writes, in GB/s."""
    source = torch.ones((1 << 22) if at.quick else (1 << 30), dtype=torch.uint8)
    source = source.to(at.device)
    target, best = torch.empty_like(source), 0.0
    for _ in range(2 if at.quick else 20):
        finish(at)
        began = time.perf_counter()
        target.copy_(source)
        finish(at)
        best = max(best, 2 * source.numel() / (time.perf_counter() - began))
    return dict(gb_per_s=best / 1e9)


def kernels(at: Setting, kind: str) -> dict:
    """Time a kernel alone, and the bytes that it has to move at least.

    The label map of 64 images reads logits and writes labels. The loss of 256 crops, by
    softmax or by one binary problem per class (the published recipe's), reads logits
    and labels; softmax also writes a normaliser per pixel. Its gradient reads all these
    and writes one of the logits' size. So many are three times what a cache of 50 MB
    holds, or more.
    """
    is_loss = kind != 'label_map'
    (h, w), count = (at.crop, at.batch(256)) if is_loss else (at.size, at.batch(64))
    torch.manual_seed(0)
    shape = (count, 19, h // 8, w // 8)
    logits = torch.randn(shape, device=at.device, requires_grad=is_loss)
    label = torch.randint(0, 19, (count, h, w), dtype=torch.uint8, device=at.device)

    def loss(logits: Tensor) -> None:
        total, _ = upsample_cross_entropy(logits, label, kind == 'binary_cross_entropy')
        torch.autograd.grad(total, logits)

    def label_map(logits: Tensor) -> None:
        upsample_argmax(logits, [(h, w)])

    pixels, values = label.numel(), 4 * logits.numel()
    moved = values + pixels
    if is_loss:
        normaliser = 4 * pixels if kind == 'cross_entropy' else 0
        moved = 2 * (moved + normaliser) + values
    call = in_one_launch(loss if is_loss else label_map, logits)
    timing = latencies(at, call, count)
    rate = moved * timing['images_per_s'] / count
    return dict(timing, mb_moved=moved / 1e6, gb_per_s=rate / 1e9)


def images_on_host(count: int, size: tuple[int, int], at: Setting) -> list[Tensor]:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8)
    return list(images.pin_memory() if at.device == 'cuda' else images)


@torch.no_grad()
def predict(at: Setting, batch: int, form: str, dtype: str) -> dict:
    """Time label maps of images: from the device to the device, and with copying.

    With copying: uint8 images in the host's memory to uint8 labels there. 'eager' is
    the network as it is trained, the others are what `init_model` gives; 'graph' with
    `cuda_graph=True`, 'tuned' the same where cuDNN tries its algorithms first, as it
    does in the runs of both sides.
    """
    batch, kind = at.batch(batch), getattr(torch, dtype)
    torch.backends.cudnn.benchmark = form == 'tuned'
    if form == 'eager':
        model = load_model(CITYSCAPES, device=at.device).to(kind)
        model.data_preprocessor.float().dtype = kind
    else:
        graph = form in ('graph', 'tuned') and at.device == 'cuda'
        model = init_model(CITYSCAPES, device=at.device, dtype=kind, cuda_graph=graph)
    images = images_on_host(batch, at.size, at)
    compiled = form == 'compiled'
    coarse = torch.compile(model.coarse_logits) if compiled else model.coarse_logits

    def prepared() -> Tensor:
        return model.data_preprocessor(dict(inputs=images))['inputs']

    def labels(inputs: Tensor) -> Tensor:
        return upsample_argmax(coarse(inputs), [at.size], model.align_corners)

    call = partial(labels, prepared())
    row = latencies(at, call, batch)
    copied = latencies(at, lambda: labels(prepared()).cpu(), batch)
    row |= {f'copying_{name}': value for name, value in copied.items()}
    return row | peak(at) | watched(at, call, batch / row['images_per_s'])


@torch.no_grad()
def ms_flip(at: Setting) -> dict:
    """Time twelve views of one image, from the host to a label map there."""
    config = load_config(CITYSCAPES)
    model = MODELS.build(
        dict(type='SegTTAModel', module=load_model(CITYSCAPES, device=at.device))
    )
    kind = 'float32' if at.device == 'cpu' else 'float16'
    model.eval()
    model.module.for_inference(getattr(torch, kind))
    views = dict(config.tta_pipeline[-1])
    views['transforms'] = [
        step for step in views['transforms'] if 'LoadAnnotations' not in str(step)
    ]
    (image,) = images_on_host(1, at.size, at)
    facts = dict(ori_shape=at.size, img_shape=at.size)
    facts['img'] = image.permute(1, 2, 0).contiguous().numpy()
    data = pseudo_collate([TRANSFORMS.build(views)(facts)])

    def call() -> None:
        model.test_step(data)[0].pred_sem_seg.data.cpu()

    row = latencies(at, call, 1)
    return row | peak(at) | watched(at, call, 1 / row['images_per_s'], count=1)


def train(at: Setting, batch: int, form: str, dtype: str) -> dict:
    """Time a training step of three heads: forward, loss, backward and update.

    'product' is the step that `fastscnn train` takes, from uint8 images in the host's
    memory, 'compiled' the same with `--compile`. 'graph' shows what a graph of all but
    the update would give, from normalised images on the device. float32 uses TF32 where
    PyTorch's defaults do.
    """
    batch = at.batch(batch)
    settings = load_config(CITYSCAPES)
    torch.backends.cudnn.benchmark = settings.env_cfg.cudnn_benchmark
    settings.model.norm_cfg = dict(type='BN', requires_grad=True, momentum=0.01)
    settings.model.data_preprocessor.size = at.crop
    torch.manual_seed(0)
    model = MODELS.build(settings.model).to(at.device).train()
    if form == 'compiled':
        compile_networks(model, True)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    data = dict(inputs=images_on_host(batch, at.crop, at))
    data['data_samples'] = labelled_samples(some_labels(batch, at))
    if form == 'graph':
        call = graph_step(at, model, optimizer, data, dtype)
    else:
        call = product_step(model, optimizer, data, dtype)
    row = latencies(at, call, batch)
    return row | peak(at) | watched(at, call, batch / row['images_per_s'])


def some_labels(batch: int, at: Setting) -> Tensor:
    label = torch.randint(0, 19, (batch, *at.crop), dtype=torch.uint8)
    label[:, : at.crop[0] // 8] = 255
    return label


def product_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: dict, dtype: str
) -> Callable[[], object]:
    settings = dict(type='OptimWrapper')
    if dtype != 'float32':
        settings = dict(type='AmpOptimWrapper', dtype=dtype)
    wrapper = OPTIM_WRAPPERS.build(dict(settings, optimizer=optimizer))
    return lambda: model.train_step(data, wrapper)


def graph_step(
    at: Setting,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: dict,
    dtype: str,
) -> Callable[[], None]:
    data = model.data_preprocessor(data, training=True)
    kind, is_low = getattr(torch, dtype), dtype != 'float32'
    scaler = torch.amp.GradScaler(at.device, enabled=dtype == 'float16')

    def gradients(inputs: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(at.device, kind if is_low else None, enabled=is_low):
            losses = model(inputs, data['data_samples'], mode='loss')
            loss, _ = model.parse_losses(losses)
        scaler.scale(loss).backward()

    compute = in_one_launch(gradients, data['inputs'])

    def step() -> None:
        compute()
        scaler.step(optimizer)
        scaler.update()

    return step
