"""How a segmentor predicts: from images to logits, and from these to label maps."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmseg_fastscnn.models.inference import into_inference_form
from mmseg_fastscnn.models.sliding_window import TestCfg, mean_of_windows
from mmseg_fastscnn.models.views import full_size_logits, view_of, with_background
from mmseg_fastscnn.ops import host
from mmseg_fastscnn.ops.bilinear import View
from mmseg_fastscnn.ops.cuda_graphs import CudaGraphs, check_cuda_graph
from mmseg_fastscnn.ops.tile_argmax import interpolated_argmax
from mmseg_fastscnn.ops.upsample_argmax import upsample_argmax
from mmseg_fastscnn.structures import SegDataSample


class BaseSegmentor(BaseModel):
    """The part of a segmentor that predicts; `EncoderDecoder` is the whole.

    `model(inputs, mode='tensor')` must return the decode head's logits.

    Attributes:
        backbone: From images to features.
        decode_head: From features to logits.
        test_cfg: How to predict; see `EncoderDecoder`.
        for_inference_only: Whether `for_inference` was called.
        graphs: What runs the network in place of `network`, if asked for there.
    """

    backbone: nn.Module
    decode_head: nn.Module
    test_cfg: TestCfg
    for_inference_only = False
    graphs: CudaGraphs | None = None

    @property
    def num_classes(self) -> int:
        return self.decode_head.num_classes

    @property
    def out_channels(self) -> int:
        """Channels of the logits: 1 for two classes told apart by a threshold."""
        return getattr(self.decode_head, 'out_channels', None) or self.num_classes

    @property
    def align_corners(self) -> bool:
        return self.decode_head.align_corners

    def predict(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample] | None = None,
        with_logits: bool = False,
    ) -> list[SegDataSample]:
        """Return the samples with `pred_sem_seg`, a label map at `ori_shape`.

        Padding is removed, and a flipped image's labels are flipped back. Without
        samples, new ones of the input's size are made.

        Args:
            inputs: (N, C, H, W), normalised.
            data_samples: One per image.
            with_logits: Add `seg_logits` at `ori_shape`, which takes longer than all
                else and 4 * out_channels bytes per pixel.
        """
        size = tuple(inputs.shape[2:])
        if data_samples is None:
            data_samples = [
                SegDataSample(metainfo=dict(ori_shape=size)) for _ in inputs
            ]
        views = self.views(self.coarse_logits(inputs), size, data_samples)
        for sample, view in zip(data_samples, views, strict=True):
            sample.pred_sem_seg = PixelData(data=self.label_map(view))
            if with_logits:
                sample.seg_logits = PixelData(
                    data=full_size_logits(view, self.align_corners)
                )
        return data_samples

    def inference(self, inputs: Tensor) -> Tensor:
        """Return logits (N, out_channels, H, W) at the size of the inputs."""
        return F.interpolate(
            self.coarse_logits(inputs),
            inputs.shape[2:],
            mode='bilinear',
            align_corners=self.align_corners,
        )

    def coarse_logits(self, inputs: Tensor) -> Tensor:
        """Return logits (N, out_channels, h, w) as they come, to be interpolated.

        They are at 1/8 of the inputs' size; with `mode='slide'`, where windows are
        averaged, at all of it.
        """
        if self.test_cfg['mode'] == 'slide':
            return mean_of_windows(self, inputs, self.test_cfg)
        return self(inputs, mode='tensor').float()

    def views(
        self,
        coarse: Tensor,
        size: tuple[int, int],
        data_samples: Sequence[SegDataSample],
    ) -> list[View]:
        """Say how each image's `coarse_logits` become logits at the image's own size.

        Args:
            coarse: (N, out_channels, h, w).
            size: (h, w) of the inputs that they were computed from.
            data_samples: One per image.
        """
        return [
            view_of(logits, size, sample)
            for logits, sample in zip(coarse, data_samples, strict=True)
        ]

    def label_map(self, view: View) -> Tensor:
        """Return the labels (1, H, W) uint8 of an image at its own size."""
        logits, sizes, window = view
        logits = logits[None]
        if self.out_channels == 1:
            logits = with_background(logits, self.decode_head.threshold)
        is_cropped_last = window is not None and window.size == sizes[-1]
        if logits.device.type != host.HOST or (window and not is_cropped_last):
            return upsample_argmax(logits, sizes, self.align_corners, window)
        values = logits[0].detach().contiguous().numpy()
        steps = sizes[:1] if is_cropped_last else sizes
        labels = interpolated_argmax(values, steps, self.align_corners)
        labels = torch.from_numpy(labels)[None]
        return window.crop(labels) if is_cropped_last else labels

    def for_inference(
        self, dtype: torch.dtype = torch.float32, cuda_graph: bool = False
    ) -> 'BaseSegmentor':
        """Bring backbone and decode head into their inference form; return the model.

        It then predicts the same, faster, but cannot be trained or load checkpoints.
        See `models/inference.py`. To call it again changes the dtype.

        Args:
            dtype: Type of the network's weights and activations, for instance
                `torch.bfloat16`; its logits become float32.
            cuda_graph: Run the network by a CUDA graph for each shape of the inputs;
                see `CudaGraphs`.

        Raises:
            ValueError: `cuda_graph` is asked for on a CPU.
        """
        if cuda_graph:
            check_cuda_graph(next(self.parameters()).device)
        into_inference_form(self, dtype)
        graphs = CudaGraphs(self.network, self.parameters) if cuda_graph else None
        self.graphs = graphs
        return self
