"""An exported file in the place of the network, so that the runner tests it."""

import numpy as np
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from torch import nn

from mmseg_fastscnn.apis import init_model
from mmseg_fastscnn.config import change_test_pipelines
from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.description import Description, check_classes
from mmseg_fastscnn.deploy.torch_runtime import describe
from mmseg_fastscnn.structures import SegDataSample

# What a file does in its own way, whatever a config says.
OWN = ('size', 'scale', 'keep_ratio', 'size_divisor', 'align_corners', 'threshold')


class ExportedModel(nn.Module):
    """Predict the batches of a test loop with an exported file.

    Args:
        predictor: The file. It is given images as they were read, and resizes them
            itself; see `whole_images`.
    """

    def __init__(self, predictor: Predictor):
        super().__init__()
        self.predictor = predictor

    def test_step(self, data: dict) -> list[SegDataSample]:
        """Return the samples of a batch with `pred_sem_seg`."""
        samples = data['data_samples']
        for image, sample in zip(data['inputs'], samples, strict=True):
            frame = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
            labels = torch.from_numpy(self.predictor(frame))
            sample.pred_sem_seg = PixelData(data=labels[None])
        return samples


def differences(config: Config, found: Description) -> list[str]:
    """Say where a file differs from what a config says.

    Raises:
        ValueError: File and config have other classes, in name or in order; or the
            config prepares test images as no exported file does.
    """
    model = init_model(config, device='cpu')
    expected = describe(model, found.output, found.precision)
    check_classes('The file', found.classes, expected.classes, 'test')
    return [
        f'{name} is {getattr(found, name)}, in the config {getattr(expected, name)}'
        for name in OWN
        if getattr(found, name) != getattr(expected, name)
    ]


def whole_images(config: Config) -> None:
    """Take `Resize` out of the test pipelines, since exported files resize frames."""
    change_test_pipelines(
        config, lambda steps: [step for step in steps if step['type'] != 'Resize']
    )
