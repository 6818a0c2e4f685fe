"""Measure how long each stage of a prediction takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.dataset import pseudo_collate
from torch import nn
from torch.utils.data import Dataset

STAGES = ('decode', 'preprocess', 'network', 'upsample and argmax', 'copy back')


@torch.no_grad()
def stage_seconds(
    model: nn.Module, dataset: Dataset, repeat: int
) -> dict[str, list[float]]:
    """Predict one image after the other and time each stage.

    The stages are the calls of which `EncoderDecoder.predict` is made.

    Args:
        model: What `init_model` returned.
        dataset: Its items have `inputs` and `data_samples`, and are used in turn.
        repeat: Number of timed images, after up to five that are not timed.

    Returns:
        For each stage the seconds that it took for each image.
    """
    seconds = {stage: [] for stage in STAGES}
    device = next(model.parameters()).device

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        if device.type == 'cuda':  # its work goes on after the call has returned
            torch.cuda.synchronize(device)
        seconds[stage].append(time.perf_counter() - began)

    warm_up = min(5, repeat)
    for k in range(warm_up + repeat):
        with timed('decode'):
            sample = dataset[k % len(dataset)]
        with timed('preprocess'):
            batch = model.data_preprocessor(pseudo_collate([sample]))
        with timed('network'):
            logits = model.coarse_logits(batch['inputs'])
        with timed('upsample and argmax'):
            size = tuple(batch['inputs'].shape[2:])
            (view,) = model.views(logits, size, batch['data_samples'])
            label = model.label_map(view)
        with timed('copy back'):
            label.cpu()
    return {stage: values[warm_up:] for stage, values in seconds.items()}
