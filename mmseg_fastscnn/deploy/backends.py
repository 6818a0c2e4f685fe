"""One predictor, whatever the file: a frame in, its label map out.

Neither this module nor the files' runtimes import torch where a file does not need it.

predictor = Predictor('fast_scnn.onnx')
labels = predictor(cv2.imread('street.jpg'))
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mmseg_fastscnn.cores import cores_per_process
from mmseg_fastscnn.deploy.description import Description
from mmseg_fastscnn.deploy.runtimes import RUNTIMES
from mmseg_fastscnn.file_kinds import CHECKPOINTS
from mmseg_fastscnn.ops.interpolated import interpolated
from mmseg_fastscnn.ops.tile_argmax import interpolated_argmax

if TYPE_CHECKING:
    from mmengine.config import Config

CONCURRENT, MOST = ('.onnx', '.xml'), 4  # which take several frames at once, how many
SMALLEST = 33  # pixels each way: torch.export takes one more than the network's 32


class Predictor:
    """Predict the classes of frames with a checkpoint or an exported file.

    Args:
        file: `.onnx`, `.xml` (OpenVINO), `.param` (ncnn), `.pte` (ExecuTorch), `.pt2`
            (torch.export), or a checkpoint.
        config: Config of a checkpoint, or its path; by default what the checkpoint
            holds.
        size: (h, w) that frames are resized to before the network; by default as the
            test pipeline of the config does.
        device: 'cpu' or 'cuda'; by default the CPU for exported files and the best
            device for checkpoints.
        threads: Number of CPU threads; by default the runtime's own choice.
        precision: 'fp32' (by default), 'bf16' or 'fp16', of a checkpoint.
        cuda_graph: Whether a checkpoint runs by CUDA graphs; see `TorchRuntime`.
        throughput: Whether threads may call it with several frames at the same time,
            as `stream` does then: each takes longer, but more are done per second. Only
            with onnxruntime and OpenVINO on a CPU.

    Attributes:
        description: What the file says of itself.
        at_once: How many frames it takes at the same time.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: The file's runtime is not installed.
        ValueError: The file is of no known kind or damaged, or is for another size.
    """

    def __init__(
        self,
        file: str | Path,
        config: 'str | Path | Config | None' = None,
        size: tuple[int, int] | None = None,
        device: str | None = None,
        threads: int | None = None,
        precision: str | None = None,
        cuda_graph: bool = False,
        throughput: bool = False,
    ):
        path, self.at_once = Path(file), 1
        if not path.exists():
            raise FileNotFoundError(f'{path} does not exist.')
        if path.suffix in CHECKPOINTS:
            from mmseg_fastscnn.deploy.torch_runtime import TorchRuntime

            self.runtime = TorchRuntime(
                path, config, device, precision or 'fp32', cuda_graph
            )
        elif path.suffix in RUNTIMES:
            if config or precision or cuda_graph:
                raise ValueError(
                    f'{path} was exported: what it needs of a config and its precision '
                    f'are inside. Leave out config, precision and cuda_graph.'
                )
            device, options = device or 'cpu', {}
            if throughput and device == 'cpu' and path.suffix in CONCURRENT:
                self.at_once = min(MOST, threads or cores_per_process())
                options['at_once'] = self.at_once
            self.runtime = RUNTIMES[path.suffix](path, device, threads, **options)
        elif path.is_dir():
            raise ValueError(f'{path} is a folder; name the model in it.')
        else:
            known = ', '.join([*CHECKPOINTS, *RUNTIMES])
            raise ValueError(f'{path} is of no known kind; known are {known}.')
        self.description: Description = self.runtime.description
        fixed = self.description.size
        if fixed and size and tuple(size) != fixed:
            raise ValueError(
                f'{path} was exported for frames of {fixed} (h, w), not {tuple(size)}. '
                f'Export it for that size, or for any.'
            )
        if size and min(size) < SMALLEST:
            raise ValueError(
                f'The size is {tuple(size)} (h, w); the network needs at least '
                f'{SMALLEST} pixels each way.'
            )
        self.size = fixed or size

    @property
    def classes(self) -> tuple[str, ...]:
        return self.description.classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """(r, g, b) of each class."""
        return self.description.palette

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Return the class of each pixel, (H, W) uint8.

        Args:
            frame: (H, W, 3) uint8, BGR as OpenCV reads it; or as many channels as the
                network reads.

        Raises:
            ValueError: The frame has another type or shape.
        """
        return self.labels(self.run(frame), frame.shape[:2])

    def run(self, frame: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
        """Return what the file gives for a frame: see `Description.output`.

        Args:
            frame: See `__call__`.
            size: (h, w) that it is resized to, where it is not that of `network_size`.

        Raises:
            ValueError: See `__call__`.
        """
        return self.runtime(self.prepared(frame, size))[0]

    def prepared(
        self, frame: np.ndarray, size: tuple[int, int] | None = None
    ) -> np.ndarray:
        """Return a frame as the network takes it, (1, h, w, C) uint8.

        Args:
            frame, size: See `run`.

        Raises:
            ValueError: See `__call__`.
        """
        if wrong := self.misfit(frame):
            raise ValueError(wrong)
        size = size or self.network_size(frame.shape[:2])
        if size != frame.shape[:2]:
            frame = cv2.resize(frame, size[::-1])
        return frame.reshape(1, *size, -1)

    def labels(
        self,
        result: np.ndarray,
        shape: tuple[int, int],
        size: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Return the class of each pixel, (H, W) uint8.

        Args:
            result: What `run` returned.
            shape: (H, W) of the frame.
            size: (h, w) that it was resized to; see `run`.
        """
        if self.description.output == 'labels':
            if result.shape != shape:
                method = cv2.INTER_NEAREST_EXACT
                result = cv2.resize(result, shape[::-1], interpolation=method)
            return result
        if self.description.threshold is not None:
            result = self._with_background(result)
        size = size or self.network_size(shape)
        align_corners = self.description.align_corners
        if size == shape:  # labels are cropped faster than scores
            labels = interpolated_argmax(result, [self._covered(size)], align_corners)
            return labels[: shape[0], : shape[1]]
        result = self._without_padding(result, size)
        return interpolated_argmax(result, [size, shape], align_corners)  # as PyTorch

    def stream(self, sources: str | Sequence[str], **options) -> Iterator:
        """Predict the frames of images, folders, videos or cameras; see `stream`."""
        from mmseg_fastscnn.deploy.stream import stream

        return stream(self, sources, **options)

    def probabilities(self, result: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Return the probability of each class at each pixel, (C, H, W) float32.

        A network of one channel gives that of class 1 alone, (1, H, W).

        Args:
            result, shape: See `labels`.

        Raises:
            ValueError: The file gives labels only.
        """
        description = self.description
        if description.output == 'labels':
            raise ValueError(
                'This file gives labels only. Export the checkpoint with --output '
                'logits (or probabilities).'
            )
        size = self.network_size(shape)
        result = self._without_padding(result, size)
        scores = interpolated(result, [size, shape], description.align_corners)
        if description.output == 'probabilities':
            return scores
        if description.threshold is not None:
            return (1 + np.tanh(scores / 2)) / 2  # the sigmoid, without overflow
        scores = np.exp(scores - scores.max(0))
        return scores / scores.sum(0)

    def network_size(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the (h, w) that frames of (H, W) are resized to for the network."""
        if self.size or self.description.scale is None:
            return self.size or shape
        scale = self.description.scale
        if not self.description.keep_ratio:
            return scale[::-1]
        factor = min(max(scale) / max(shape), min(scale) / min(shape))
        return tuple(int(side * factor + 0.5) for side in shape)

    def misfit(self, frame: np.ndarray) -> str | None:
        """Say why a frame cannot be predicted; None if it can."""
        channels = self.description.channels
        if not isinstance(frame, np.ndarray):
            return (
                f'The frame is {frame!r:.80}; give an array (H, W, {channels}) uint8. '
                f'cv2.imread reads one, or gives None where it cannot.'
            )
        found = frame.shape[2] if frame.ndim == 3 else 1
        if frame.dtype != np.uint8 or frame.ndim not in (2, 3) or found != channels:
            return (
                f'The frame is {frame.dtype} of shape {frame.shape}; the network reads '
                f'(H, W, {channels}) uint8{", BGR" if channels == 3 else ""}.'
            )
        if min(frame.shape[:2]) < SMALLEST:
            return (
                f'The frame is {frame.shape[1]}x{frame.shape[0]} (w x h); it must have '
                f'at least {SMALLEST} pixels each way.'
            )
        return None

    def _covered(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (h, w) that scores of a frame of a size are of."""
        is_padded = self.description.output == 'logits'
        return self.description.padded(size) if is_padded else size

    def _without_padding(self, scores: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Crop scores to a frame of a size, at which they then are if it is padded."""
        if (covered := self._covered(size)) == size:
            return scores
        scores = interpolated(scores, [covered], self.description.align_corners)
        return scores[:, : size[0], : size[1]]

    def _with_background(self, scores: np.ndarray) -> np.ndarray:
        """Give the scores (1, h, w) a first channel that wins below the threshold."""
        bar = self.description.threshold
        if self.description.output == 'logits':
            bar = math.log(bar / (1 - bar))
        return np.concatenate([np.full_like(scores, bar), scores])
