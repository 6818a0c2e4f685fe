"""A checkpoint as a runtime, by PyTorch; and what its config says to exported files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from mmseg_fastscnn import __version__
from mmseg_fastscnn.apis import init_model, loaded_dtypes, test_data_of
from mmseg_fastscnn.deploy.description import Description
from mmseg_fastscnn.deploy.frame_model import FrameModel
from mmseg_fastscnn.file_hash import file_hash
from mmseg_fastscnn.ops.cuda_graphs import CudaGraphs, check_cuda_graph

DTYPES = dict(fp32=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)


class TorchRuntime:
    """A checkpoint in PyTorch.

    Args:
        path: The checkpoint.
        config: Config of a checkpoint, or its path; by default what the checkpoint
            holds.
        device: Device of the model; by default the best there is.
        precision: 'fp32', 'bf16' or 'fp16'.
        cuda_graph: Run all from frame to logits by a CUDA graph for each size; see
            `CudaGraphs`.

    Raises:
        ValueError: `cuda_graph` is asked for on a CPU.
    """

    def __init__(
        self,
        path: Path,
        config: str | Path | Config | None = None,
        device: str | None = None,
        precision: str = 'fp32',
        cuda_graph: bool = False,
    ):
        model = init_model(config, path, device, dtype=DTYPES[precision])
        self.model = FrameModel(model, 'logits', 'operator').eval()
        self.device = next(model.parameters()).device
        if cuda_graph:
            check_cuda_graph(self.device)
            self.model = CudaGraphs(self.model, self.model.parameters)
        self.description = describe(model, 'logits', precision, checkpoint=path)

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray) -> np.ndarray:
        frames = torch.from_numpy(frames).to(self.device)
        return self.model(frames).cpu().numpy()


def describe(
    model: nn.Module,
    output: str,
    precision: str,
    size: tuple[int, int] | None = None,
    checkpoint: str | Path | None = None,
) -> Description:
    """Describe a model from `init_model`, so that it can run without a config.

    Raises:
        ValueError: The config prepares test images in a way that exported files
            cannot.
    """
    steps = test_data_of(model.cfg).pipeline
    if 'uint8' not in loaded_dtypes(steps):
        raise ValueError(
            'The test pipeline loads images of more than 8 bits; exported files read '
            'uint8.'
        )
    preprocessor = model.data_preprocessor
    if 'size' in preprocessor.test_cfg or model.test_cfg['mode'] != 'whole':
        raise ValueError(
            'The config pads test images to one size (data_preprocessor.test_cfg.size) '
            "or predicts in windows (model.test_cfg.mode='slide'). An exported file "
            'predicts whole frames, which size_divisor may pad. Remove these settings.'
        )
    if 'size_divisor' in preprocessor.test_cfg and preprocessor.pad_val != 0:
        raise ValueError(
            f'data_preprocessor.pad_val is {preprocessor.pad_val}; an exported file '
            f'pads with 0, the mean colour.'
        )
    resize = resize_step(steps)
    return Description(
        classes=tuple(model.dataset_meta['classes']),
        palette=tuple(tuple(map(int, c)) for c in model.dataset_meta['palette']),
        output=output,
        precision=precision,
        channels=model.backbone.first_conv.in_channels,
        size=size,
        scale=tuple(resize['scale']) if resize.get('scale') else None,
        keep_ratio=bool(resize.get('keep_ratio', False)),
        size_divisor=preprocessor.test_cfg.get('size_divisor', 1),
        align_corners=model.align_corners,
        threshold=model.decode_head.threshold if model.out_channels == 1 else None,
        checkpoint_sha256=None if checkpoint is None else file_hash(checkpoint),
        version=__version__,
    )


def resize_step(steps: list[Mapping]) -> Mapping:
    """Return the `Resize` of a test pipeline, {} if it has none.

    Raises:
        ValueError: There is another step that changes images.
    """
    result = {}
    for step in steps:
        known = step['type'] in ('LoadImageFromFile', 'LoadAnnotations')
        if step['type'] == 'Resize' and not result:
            result = step
        elif not known and step['type'] != 'PackSegInputs':
            raise ValueError(
                f'The test pipeline has {step["type"]}, which exported files cannot '
                f'do. They resize frames as Resize does, once; give them frames of '
                f'the right form, and remove the step.'
            )
    return result
