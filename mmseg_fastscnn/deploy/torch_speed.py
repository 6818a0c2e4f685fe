"""Measure how long each stage of a prediction by a model of `init_model` takes."""

import torch
from mmengine.dataset import pseudo_collate
from torch import nn
from torch.utils.data import Dataset

from mmseg_fastscnn.deploy.speed import StageTimes, warm_up


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
    device = next(model.parameters()).device

    def finish() -> None:
        if device.type == 'cuda':  # its work goes on after the call has returned
            torch.cuda.synchronize(device)

    stages = StageTimes(finish)
    for k in range(warm_up(repeat) + repeat):
        with stages.timed('decode'):
            sample = dataset[k % len(dataset)]
        with stages.timed('preprocess'):
            batch = model.data_preprocessor(pseudo_collate([sample]))
        with stages.timed('network'):
            logits = model.coarse_logits(batch['inputs'])
        with stages.timed('upsample and argmax'):
            size = tuple(batch['inputs'].shape[2:])
            (view,) = model.views(logits, size, batch['data_samples'])
            label = model.label_map(view)
        with stages.timed('copy back'):
            label.cpu()
    return stages.last(repeat)
