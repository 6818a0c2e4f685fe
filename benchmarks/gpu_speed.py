"""Steps of `gpu.py` that measure: kernels, prediction and the training step.

Latency is the time of one call, waited for; images per second are those of calls one
after the other, waited for at the end. Without a GPU the same code runs, which says
only that it does.
"""

import inspect
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import numpy as np
import torch
from gpu_correct import ROOT, labelled
from gpu_steps import Setting
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from mmseg_fastscnn.apis import init_model
from mmseg_fastscnn.apis.loading import load_model
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.ops.upsample_argmax import upsample_argmax
from mmseg_fastscnn.ops.upsample_loss import upsample_cross_entropy
from mmseg_fastscnn.registry import MODELS, OPTIM_WRAPPERS, TRANSFORMS
from mmseg_fastscnn.structures import SegDataSample

CITYSCAPES = ROOT / 'configs/fastscnn/fast_scnn_lr0.12_8x4_160k_cityscapes.py'


def finish(at: Setting) -> None:
    if at.device == 'cuda':
        torch.cuda.synchronize()


def latencies(at: Setting, call: Callable[[], object], images: int) -> dict:
    """Time calls: p50 and p95 in ms of one, images per second of many."""
    seconds, least = (0.05, 2) if at.quick else (1.5, 10)
    for _ in range(least):
        call()
    finish(at)
    times, end = [], time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        finish(at)
        times.append(time.perf_counter() - began)
    began = time.perf_counter()
    for _ in times:
        call()
    finish(at)
    rate = images * len(times) / (time.perf_counter() - began)
    p50, p95 = map(float, 1e3 * np.percentile(times, [50, 95]))
    return dict(p50_ms=p50, p95_ms=p95, images_per_s=rate)


def watched(at: Setting, call: Callable[[], object], count: int = 5) -> dict:
    """Count what a call does on the GPU: its kernels, waits of the host, busy share."""
    if at.device == 'cpu':
        return {}
    torch.cuda.set_sync_debug_mode('warn')
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        call()
    torch.cuda.set_sync_debug_mode('default')
    waits = sum('synchroniz' in str(warning.message) for warning in said)
    finish(at)
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(count):
            call()
        finish(at)
    spans = sorted(
        (event.time_range.start, event.time_range.end, event.name)
        for event in profile.events()
        if event.device_type == torch.autograd.DeviceType.CUDA
        and not getattr(event, 'is_user_annotation', False)
    )
    if not spans:
        return dict(waits=waits, kernels='not seen', busy='not seen')
    busy, end = 0.0, spans[0][0]
    for start, stop, _ in spans:  # those of several streams may overlap
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    kernels = sum(not name.startswith('Mem') for *_, name in spans) / count
    return dict(waits=waits, kernels=kernels, busy=busy / (end - spans[0][0]))


def peak(at: Setting) -> dict:
    if at.device == 'cpu':
        return {}
    return dict(peak_mib=torch.cuda.max_memory_allocated() / 2**20)


def captured(call: Callable[[], object]) -> Callable[[], None]:
    """Return what replays a call as a CUDA graph; its tensors are used again.

    Without CUDA it is the call itself, so that what is around it can be tried.
    """
    if not torch.cuda.is_available():
        return call
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # what is made once must not be made in the graph
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


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

    The label map of 16 images reads logits and writes labels. The loss of 32 crops
    reads logits and labels and writes a normaliser per pixel; its gradient reads all
    three and writes one of the logits' size.
    """
    is_loss = kind == 'cross_entropy'
    (h, w), count = (at.crop, at.batch(32)) if is_loss else (at.size, at.batch(16))
    torch.manual_seed(0)
    shape = (count, 19, h // 8, w // 8)
    logits = torch.randn(shape, device=at.device, requires_grad=is_loss)
    label = torch.randint(0, 19, (count, h, w), dtype=torch.uint8, device=at.device)

    def loss() -> None:
        total, _ = upsample_cross_entropy(logits, label, False)
        torch.autograd.grad(total, logits)

    def label_map() -> None:
        upsample_argmax(logits, [(h, w)])

    pixels, values = label.numel(), 4 * logits.numel()
    moved = 2 * (values + 5 * pixels) + values if is_loss else values + pixels
    call = loss if is_loss else label_map
    # a graph, so that launches from Python do not count
    timing = latencies(at, captured(call), count)
    rate = moved * timing['images_per_s'] / count
    return dict(timing, mb_moved=moved / 1e6, gb_per_s=rate / 1e9)


def images_on_host(count: int, size: tuple[int, int], at: Setting) -> list[Tensor]:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8)
    return list(images.pin_memory() if at.device == 'cuda' else images)


@torch.no_grad()
def predict(at: Setting, batch: int, form: str, dtype: str) -> dict:
    """Time label maps of images: from the device to the device, and with copying.

    With copying: uint8 images in the host's memory to uint8 labels there.
    """
    batch, kind = at.batch(batch), getattr(torch, dtype)
    model = load_model(CITYSCAPES, device=at.device)
    if form == 'eager':
        model.to(kind)
        model.data_preprocessor.float().dtype = kind
    else:
        model.for_inference(kind)
    images = images_on_host(batch, at.size, at)
    coarse = torch.compile(model.coarse_logits) if form == 'compiled' else None
    coarse = coarse or model.coarse_logits

    def prepared() -> Tensor:
        return model.data_preprocessor(dict(inputs=images))['inputs']

    def labels(inputs: Tensor) -> Tensor:
        return upsample_argmax(coarse(inputs), [at.size], model.align_corners)

    inputs = prepared()
    call = partial(labels, inputs)
    if form == 'graph':
        result = {}
        call = captured(lambda: result.update(labels=labels(inputs)))

    def with_copying() -> Tensor:
        if form != 'graph':
            return labels(prepared()).cpu()
        inputs.copy_(prepared())
        call()
        return result['labels'].cpu()

    row = latencies(at, call, batch)
    copied = latencies(at, with_copying, batch)
    row |= {f'copying_{name}': value for name, value in copied.items()}
    row |= peak(at) | watched(at, call)
    if form == 'graph' and 'cuda_graph' in inspect.signature(init_model).parameters:
        model = init_model(CITYSCAPES, None, at.device, dtype=kind, cuda_graph=True)
        given = partial(
            model.test_step, dict(inputs=images, data_samples=plain(batch, at))
        )
        row['option_p50_ms'] = latencies(at, given, batch)['p50_ms']
    return row


def plain(count: int, at: Setting) -> list[SegDataSample]:
    facts = dict(ori_shape=at.size, img_shape=at.size)
    return [SegDataSample(metainfo=facts) for _ in range(count)]


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

    return latencies(at, call, 1) | peak(at) | watched(at, call, count=1)


def train(at: Setting, batch: int, form: str, dtype: str) -> dict:
    """Time a training step of three heads: forward, loss, backward and update.

    'product' is the step that `fastscnn train` takes, from uint8 images in the host's
    memory. The others begin with normalised images on the device; with 'graph', all but
    the update is one CUDA graph. float32 uses TF32 where PyTorch's defaults do.
    """
    batch = at.batch(batch)
    settings = load_config(CITYSCAPES)
    settings.model.norm_cfg = dict(type='BN', requires_grad=True, momentum=0.01)
    settings.model.data_preprocessor.size = at.crop
    torch.manual_seed(0)
    model = MODELS.build(settings.model).to(at.device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    images, label = images_on_host(batch, at.crop, at), some_labels(batch, at)
    if form == 'product':
        call = product_step(model, optimizer, images, label, dtype)
    else:
        call = plain_step(at, model, optimizer, images, label, dtype, form)
    return latencies(at, call, batch) | peak(at) | watched(at, call)


def some_labels(batch: int, at: Setting) -> Tensor:
    label = torch.randint(0, 19, (batch, *at.crop), dtype=torch.uint8)
    label[:, : at.crop[0] // 8] = 255
    return label


def product_step(
    model: nn.Module, optimizer, images: list[Tensor], label: Tensor, dtype: str
) -> Callable[[], object]:
    settings = dict(type='OptimWrapper')
    if dtype != 'float32':
        settings = dict(type='AmpOptimWrapper', dtype=dtype)
    wrapper = OPTIM_WRAPPERS.build(dict(settings, optimizer=optimizer))
    samples = labelled(label)
    return lambda: model.train_step(dict(inputs=images, data_samples=samples), wrapper)


def plain_step(
    at: Setting,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: list[Tensor],
    label: Tensor,
    dtype: str,
    form: str,
) -> Callable[[], None]:
    data = dict(inputs=images, data_samples=labelled(label))
    data = model.data_preprocessor(data, training=True)
    low = torch.autocast(at.device, dtype=getattr(torch, dtype))
    context = nullcontext() if dtype == 'float32' else low
    scaler = torch.amp.GradScaler(at.device, enabled=dtype == 'float16')

    def total() -> Tensor:
        return model.parse_losses(model(**data, mode='loss'))[0]

    if form == 'compiled':
        model.backbone = torch.compile(model.backbone)

    def gradients() -> None:
        optimizer.zero_grad(set_to_none=True)
        with context:
            loss = total()
        scaler.scale(loss).backward()

    compute = captured(gradients) if form == 'graph' else gradients

    def step() -> None:
        compute()
        scaler.step(optimizer)
        scaler.update()

    return step
