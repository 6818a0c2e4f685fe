"""Small networks with random weights whose label maps have many classes, and frames."""

from pathlib import Path

import cv2
import numpy as np
import torch
from conftest import ROOT, TOY

from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.datasets import CityscapesDataset
from mmseg_fastscnn.registry import MODELS

# exporters take seconds per layer, so there is one bottleneck per stage
SHALLOW = 'backbone=dict(num_blocks=(1, 1, 1))'


def write_config(path: Path, model: str = SHALLOW) -> Path:
    """Write a config of the toy data with other settings of the model."""
    path.write_text(f'_base_ = [{str(ROOT / TOY)!r}]\nmodel = dict({model})\n')
    return path


def write_checkpoint(path: Path, config: Path) -> Path:
    """Write a checkpoint of random weights for a config."""
    torch.manual_seed(0)
    model = MODELS.build(load_config(config).model)
    model.init_weights()
    classifier = model.decode_head.conv_seg
    classifier.weight.data.normal_()
    channels = model.backbone.first_conv.in_channels
    frame = torch.from_numpy(frame_of((128, 256), channels)).permute(2, 0, 1)
    inputs = model.data_preprocessor(dict(inputs=[frame]))['inputs']
    for layer in model.modules():
        if hasattr(layer, 'running_mean'):
            layer.momentum = 1  # its statistics are those of the next batch
    with torch.no_grad():
        logits = model.train()(torch.cat([inputs, inputs.flip(2)]))
    classifier.bias.data = -logits.mean((0, 2, 3))
    content = dict(state_dict=model.state_dict())
    if model.num_classes != len(CityscapesDataset.METAINFO['classes']):
        names = [f'class {k}' for k in range(model.num_classes)]
        meta = dict(classes=names, palette=[[k] * 3 for k in range(len(names))])
        content['meta'] = dict(dataset_meta=meta)
    torch.save(content, path)
    return path


def frame_of(size: tuple[int, int], channels: int = 3) -> np.ndarray:
    """Return smooth noise, (h, w, C) uint8, the same at every size."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (9, 16, channels), np.uint8)
    frame = cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC)
    return frame.reshape(*size, channels)
