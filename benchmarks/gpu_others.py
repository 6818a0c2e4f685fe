"""Steps of `gpu.py` that need data: the peer, feeding, a real training, all GPUs."""

import json
import multiprocessing
import runpy
import socket
import sys
import time
from pathlib import Path

import compare_mmseg
import cv2
import torch
from formulas import labelled_samples
from gpu_correct import ROOT
from gpu_speed import CITYSCAPES, images_on_host, some_labels
from gpu_steps import NotSeen, Setting
from gpu_timing import finish, latencies
from mmengine.registry import MODEL_WRAPPERS
from torch import nn

from mmseg_fastscnn.checkpoint import load_weights, read_checkpoint
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.cores import cores_per_process
from mmseg_fastscnn.datasets.toy_streets import write_toy_streets
from mmseg_fastscnn.engine.processes import data_parallel_settings
from mmseg_fastscnn.engine.runner import SegRunner
from mmseg_fastscnn.engine.time_limit import running_seconds
from mmseg_fastscnn.registry import MODELS

CAMVID = 'configs/fastscnn/fast_scnn_camvid.py'
TINY = {  # a CamVid training of two steps
    'train_cfg.max_iters': 2,
    'train_cfg.val_interval': 2,
    'default_hooks.checkpoint.interval': 2,
    'train_dataloader.batch_size': 2,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'train_dataloader.dataset.pipeline.3.crop_size': '(64,64)',
    'model.data_preprocessor.size': '(64,64)',
}


def install_peer(at: Setting) -> dict:
    """Make the environment of mmsegmentation, and the config that both sides read."""
    if at.quick:
        raise NotSeen('the peer is not installed for tiny images')
    python = compare_mmseg.peer_python(at.out)
    torch.manual_seed(0)
    settings = load_config(CITYSCAPES).model
    model = MODELS.build(settings)
    # random weights predict one class everywhere, so any kernel would agree
    load_weights(model, read_checkpoint('streets')['state_dict'], strict=False)
    checkpoint = at.out / 'streets.pth'
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    compare_mmseg.prepare(at.out, python, str(checkpoint), num_val=1)
    return dict(python=str(python))


def peer(at: Setting, work: str, batch: int) -> dict:
    """Do a piece of `work.py` by both sides, each in a process of its own."""
    if not (at.out / 'config.py').exists():
        raise NotSeen('mmsegmentation is not installed, see setup/peer')
    pythons = dict(ours=sys.executable)
    pythons['mmsegmentation'] = str(compare_mmseg.peer_python(at.out))
    more, runs = ['--device', at.device, '--batch', batch], {}
    for side, python in pythons.items():
        given = (work, side, python, at.out / 'config.py', at.out)
        runs[side] = [compare_mmseg.run(*given, more=more)]
    row = compare_mmseg.summary(runs)
    return dict(
        images_per_s=batch / row['ours']['median'],
        peer_images_per_s=batch / row['mmsegmentation']['median'],
        faster=row['faster'],
        faster_at_least=row['faster_at_least'],
        peak_mib=row['ours']['peak_mib'],
        peer_peak_mib=row['mmsegmentation']['peak_mib'],
        agreement=row['agreement'],
    )


def feeding(at: Setting, kind: str) -> dict:
    """Count the training samples of 512x1024 that all cores give in a second.

    'png' reads 1024x2048 files, 'packed' their packed copy. 'jpeg' is something else:
    how many files of that size torchvision decodes, by nvJPEG where there is CUDA.
    """
    streets = at.out / 'data/streets'  # the peer's, if they are drawn already
    write_toy_streets(streets, at.size, num_train=2 if at.quick else 8, num_val=1)
    if kind == 'jpeg':
        return decoded_jpegs(at, next(streets.glob('leftImg8bit/train/*/*.png')))
    workers = min(cores_per_process(), 1) if at.quick else cores_per_process()
    options = {
        'train_dataloader.num_workers': workers,
        'train_dataloader.batch_size': at.batch(8),
    }
    if at.quick:
        options['train_dataloader.dataset.pipeline.2.scale'] = at.size[::-1]
        options['train_dataloader.dataset.pipeline.3.crop_size'] = at.crop
    loader = dict(load_config(CITYSCAPES, options, str(streets)).train_dataloader)
    if kind == 'packed':
        loader['dataset']['packed'] = str(at.out / 'data/packed')
    batches = iter(SegRunner.build_dataloader(loader, seed=0))
    for _ in range(2 * workers):
        next(batches)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < (0.2 if at.quick else 10):
        count += len(next(batches)['inputs'])
    rate = count / (time.perf_counter() - began)
    return dict(images_per_s=rate, workers=workers, per_core=rate / workers)


def decoded_jpegs(at: Setting, path: Path) -> dict:
    try:
        from torchvision.io import decode_jpeg
    except (ImportError, RuntimeError) as error:
        raise NotSeen(f'torchvision does not work: {error}') from error
    _, encoded = cv2.imencode('.jpg', cv2.imread(str(path)))
    files = [torch.from_numpy(encoded)] * at.batch(16)
    row = latencies(at, lambda: decode_jpeg(files, device=at.device), len(files))
    files, fast = files[:1], row['images_per_s']
    one = latencies(at, lambda: decode_jpeg(files, device=at.device), 1)
    return dict(images_per_s=fast, one_by_one=one['images_per_s'])


def camvid(at: Setting) -> dict:
    """Train on CamVid for 3 minutes, as a user does, and say how good it became."""
    if at.camvid is None:
        raise NotSeen('no --camvid DIR was given')
    minutes = min(180, at.seconds - 30) / 60
    if minutes < 1 and not at.quick:
        raise NotSeen(f'only {at.seconds:.0f} s were left; call again for this one')
    work_dir = at.out / 'runs/camvid'
    words = ['train', str(ROOT / CAMVID), '--seed', '0', '--overwrite']
    words += ['--data-root', str(at.camvid), '--work-dir', str(work_dir)]
    if at.quick:
        words += ['--cfg-options', *(f'{key}={value}' for key, value in TINY.items())]
    else:
        # which count from the start of this process, made before the step's turn
        words += ['--amp', '--minutes', str(minutes + running_seconds() / 60)]
    sys.argv = words
    runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')
    lines = [
        json.loads(line)
        for file in work_dir.glob('*/vis_data/scalars.json')
        for line in file.read_text().splitlines()
    ]
    scores = [line['mIoU'] for line in lines if 'mIoU' in line]
    return dict(miou=scores[-1], best_miou=max(scores))


def distributed(at: Setting) -> dict:
    """Time a training step on all GPUs: our settings, torch's own, and SyncBN."""
    count = 2 if at.device == 'cpu' else torch.cuda.device_count()
    if count < 2:
        raise NotSeen(
            'there is one GPU: NCCL, the speed of several, what SyncBN costs and what '
            'the size of buckets does could not be seen'
        )
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        port = listener.getsockname()[1]
    # this process has not used the GPU; on a CPU a fork is at once
    context = multiprocessing.get_context('fork' if at.device == 'cpu' else 'spawn')
    queue = context.SimpleQueue()
    given = [(rank, count, port, at, queue) for rank in range(count)]
    processes = [context.Process(target=one_of_several, args=args) for args in given]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert not any(p.exitcode for p in processes), 'a process failed, see the log'
    return dict(processes=count, **queue.get())


def one_of_several(rank: int, count: int, port: int, at: Setting, queue) -> None:
    backend = 'gloo' if at.device == 'cpu' else 'nccl'
    if at.device == 'cuda':
        torch.cuda.set_device(rank)
    torch.distributed.init_process_group(
        backend, f'tcp://127.0.0.1:{port}', rank=rank, world_size=count
    )
    ours = data_parallel_settings(find_unused_parameters=False)
    plain = {k: v for k, v in ours.items() if 'bucket' not in k}
    forms = dict(ours=('BN', ours), torch_defaults=('BN', plain))
    if at.device == 'cuda':  # torch has no SyncBN for CPUs
        forms['sync_bn'] = ('SyncBN', ours)
    row = {}
    if at.device == 'cuda':
        row['sync_bn_difference'] = sync_bn_difference(rank, count)
    for batch in (4,) if at.quick else (4, 32):
        for name, (norm, settings) in forms.items():
            call = parallel_step(at, at.batch(batch), norm, settings)
            rate = count * same_number(at, call, at.batch(batch))
            row[f'b{batch}_{name}_images_per_s'] = rate
    if rank == 0:
        queue.put(row)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def sync_bn_difference(rank: int, count: int) -> float:
    """Return by how much SyncBN of parts differs from BN of the whole, at most."""
    torch.manual_seed(0)
    whole = torch.randn(count * 4, 8, 9, 11).cuda()
    found = []
    for layer, x in (
        (nn.BatchNorm2d(8), whole),
        (nn.SyncBatchNorm(8), whole.chunk(count)[rank]),
    ):
        x = x.clone().requires_grad_()
        out = layer.cuda()(x)
        out.pow(3).sum().backward()
        found.append((out, x.grad, layer.running_mean, layer.running_var))
    (out, grad, *statistics), parts = found
    expected = [out.chunk(count)[rank], grad.chunk(count)[rank], *statistics]
    pairs = zip(parts, expected, strict=True)
    return max(float((part - other).abs().max()) for part, other in pairs)


def parallel_step(at: Setting, batch: int, norm: str, settings: dict):
    """Return what takes one step of data parallel training, in bfloat16 on CUDA."""
    config = load_config(CITYSCAPES).model
    config.norm_cfg = dict(type=norm, requires_grad=True, momentum=0.01)
    config.data_preprocessor.size = at.crop
    torch.backends.cudnn.benchmark = True
    model = MODELS.build(config).to(at.device).train()
    data = model.data_preprocessor(
        dict(
            inputs=images_on_host(batch, at.crop, at),
            data_samples=labelled_samples(some_labels(batch, at)),
        ),
        training=True,
    )
    if at.device == 'cuda':
        settings = dict(settings, device_ids=[torch.cuda.current_device()])
    wrapped = MODEL_WRAPPERS.build(dict(settings, module=model))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    is_gpu = at.device == 'cuda'

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(at.device, torch.bfloat16, enabled=is_gpu):
            losses = wrapped(**data, mode='loss')
        model.parse_losses(losses)[0].backward()
        optimizer.step()

    return step


def same_number(at: Setting, call, images: int) -> float:
    """Images per second of one process; all take the same number of steps."""
    warm, count = (2, 2) if at.quick else (10, 40)
    for _ in range(warm):
        call()
    finish(at)
    torch.distributed.barrier()
    began = time.perf_counter()
    for _ in range(count):
        call()
    finish(at)
    return images * count / (time.perf_counter() - began)
