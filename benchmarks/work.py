"""Do one piece of work with this project or with mmsegmentation, and time it.

`compare_mmseg.py` starts it in the environment of either side. It writes one JSON file:
the seconds of each repetition, the peak memory in MiB (of the process, or allocated on
the GPU), and the answer,
on which the two sides must agree.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope

SIZE = (1024, 2048)
CROP = (512, 1024)
CLOCKS = dict(wall=time.perf_counter, cpu=time.process_time)


def build(registry: str, settings: dict):
    """Build an object with one of this side's registries."""
    if SIDE == 'ours':
        from mmseg_fastscnn import registry as registries
    else:
        from mmseg import registry as registries
    return getattr(registries, registry).build(settings)


def load_model(settings: dict):
    """Build a model or its ms+flip wrapper; return it and the model with weights."""
    model = revert_sync_batchnorm(build('MODELS', settings)).to(ARGS.device)
    inner = getattr(model, 'module', model)
    inner.load_state_dict(torch.load(ARGS.checkpoint, weights_only=True))
    return model, inner


def scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (H, W, 3) uint8 BGR and its train ids (H, W) uint8."""
    image = sorted(ARGS.data.glob('leftImg8bit/train/*/*.png'))[index]
    label = str(image).replace('leftImg8bit', 'gtFine').removesuffix('.png')
    label = cv2.imread(f'{label}_labelTrainIds.png', cv2.IMREAD_UNCHANGED)
    return cv2.imread(str(image)), label


def packed_inputs(image: np.ndarray, label: np.ndarray | None = None) -> dict:
    """Return an image and its label as the pipeline gives them to the model."""
    size = image.shape[:2]
    facts = dict(img_path='x.png', ori_shape=size, img_shape=size)
    results = dict(facts, img=image)
    if label is not None:
        results.update(gt_seg_map=label, seg_fields=['gt_seg_map'])
    return build('TRANSFORMS', dict(type='PackSegInputs'))(results)


def batch_of(samples: list[dict]) -> dict:
    return {key: [s[key] for s in samples] for key in ('inputs', 'data_samples')}


def repeated(function, count: int) -> tuple[list[float], object]:
    """Call a function once to warm up, then `count` times.

    Returns:
        The seconds of the timed calls, and the result of the first call.
    """
    first = function()
    seconds = []
    if ARGS.device == 'cuda':  # which chooses its kernels in the first calls
        for _ in range(5):
            function()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()  # it tried some that take more
    for _ in range(count):
        began = CLOCKS[ARGS.clock]()
        function()
        if ARGS.device == 'cuda':  # its work goes on after the call has returned
            torch.cuda.synchronize()
        seconds.append(CLOCKS[ARGS.clock]() - began)
    return seconds, first


def train_step(config: Config, amp: bool = False):
    """Time forward, loss, backward and update: images of 512x1024, three heads."""
    model, _ = load_model(config.model)
    model.train()
    torch.manual_seed(0)
    rows, columns = slice(256, 256 + CROP[0]), slice(512, 512 + CROP[1])
    samples = [scene(k % 8) for k in range(ARGS.batch)]
    cuts = [(image[rows, columns], label[rows, columns]) for image, label in samples]
    wrapper = dict(config.optim_wrapper)
    if amp and (SIDE == 'ours' or ARGS.device == 'cuda'):  # the peer's needs a GPU
        wrapper['type'] = 'AmpOptimWrapper'
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    wrapper = build('OPTIM_WRAPPERS', dict(type=wrapper['type'], optimizer=optimizer))

    packed = [packed_inputs(*cut) for cut in cuts]  # which workers do, in a run

    def step():
        batch = [dict(s, data_samples=s['data_samples'].clone()) for s in packed]
        return model.train_step(batch_of(batch), wrapper)

    seconds, first = repeated(step, 4 if ARGS.device == 'cpu' else 20)
    return seconds, {name: float(value.detach()) for name, value in first.items()}


def predict(config: Config, dtype: str = 'float32', cuda_graph: bool = False):
    """Time one image after the other, from uint8 of 1024x2048 to uint8 labels."""
    model, inner = load_model(config.model)
    model.eval()
    if SIDE == 'ours':
        inner.for_inference(getattr(torch, dtype), cuda_graph)
    sample = packed_inputs(scene(0)[0])

    def work():
        batch = batch_of([dict(sample, data_samples=sample['data_samples'].clone())])
        with torch.no_grad():
            result = model.test_step(batch)[0]
        return result.pred_sem_seg.data.to(torch.uint8).cpu().numpy()

    seconds, labels = repeated(work, 12 if ARGS.device == 'cpu' else 100)
    return seconds, save(labels)


def ms_flip(config: Config):
    """Time ms+flip, from twelve views of 1024x2048 in memory to one label map."""
    model, inner = load_model(dict(type='SegTTAModel', module=config.model))
    model.eval()
    if SIDE == 'ours':
        inner.for_inference()
    views = build('TRANSFORMS', config.tta_pipeline[-1])
    image, _ = scene(0)
    facts = dict(img_path='x.png', ori_shape=SIZE, img_shape=SIZE, img=image)
    steps = views.subroutines if hasattr(views, 'subroutines') else views.transforms
    for steps_of_view in steps:  # there are no labels here
        steps_of_view.transforms = [
            step for step in steps_of_view.transforms if 'LoadAnn' not in str(step)
        ]
    views = views(facts)

    def work():
        batch = {
            'inputs': [[image] for image in views['inputs']],
            'data_samples': [[sample.clone()] for sample in views['data_samples']],
        }
        with torch.no_grad():
            result = model.test_step(batch)[0]
        return result.pred_sem_seg.data.to(torch.uint8).cpu().numpy()

    seconds, labels = repeated(work, 1 if ARGS.device == 'cpu' else 5)
    return seconds, save(labels)


def samples(config: Config, packed: bool = False):
    """Time training samples one after the other on one core, as in a loading worker."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    settings = dict(config.train_dataloader.dataset)
    if packed and SIDE == 'ours':  # the peer has no such copy; it reads the files
        settings['packed'] = str(ARGS.out.parent / 'packed')
    dataset = build('DATASETS', settings)
    for k in range(len(dataset)):
        dataset[k]
    np.random.seed(0)
    seconds = []
    for k in range(60):
        began = time.perf_counter()
        dataset[k % len(dataset)]
        seconds.append(time.perf_counter() - began)
    # The mean, not the median, decides what a worker delivers: samples differ in work.
    return [sum(seconds) / len(seconds)], {}


def save(labels: np.ndarray) -> dict:
    """Write the labels beside the result, and return their path as the answer."""
    path = ARGS.out.with_suffix(f'.{SIDE}.npy')
    np.save(path, labels)
    return dict(labels=str(path))


WORK = {
    'train_step': train_step,
    'train_step_amp': lambda config: train_step(config, amp=True),
    'samples_packed': lambda config: samples(config, packed=True),
    'samples_png': samples,
    'predict': predict,
    'predict_graph': lambda config: predict(config, 'float16', cuda_graph=True),
    'predict_bf16': lambda config: predict(config, 'bfloat16'),
    'ms_flip': ms_flip,
}


def main() -> None:
    config = Config.fromfile(ARGS.config)
    torch.backends.cudnn.benchmark = config.env_cfg.cudnn_benchmark  # as runners do
    if SIDE == 'ours':
        from mmseg_fastscnn.memory import reuse_large_blocks

        init_default_scope('mmseg_fastscnn')
        reuse_large_blocks()  # as its commands do
    else:
        from mmseg.utils import register_all_modules

        register_all_modules()
    config.default_scope = None
    seconds, answer = WORK[ARGS.work](config)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if ARGS.device == 'cuda':
        peak = torch.cuda.max_memory_allocated() / 2**20
    ARGS.out.write_text(json.dumps(dict(seconds=seconds, peak=peak, answer=answer)))


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('side', choices=['ours', 'mmsegmentation'])
    parser.add_argument('work', choices=WORK)
    parser.add_argument('--config', required=True)
    parser.add_argument('--checkpoint', required=True)
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--clock', choices=CLOCKS, default='wall')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--batch', type=int, default=4, help='of a training step')
    ARGS = parser.parse_args()
    SIDE = ARGS.side
    sys.exit(main())
