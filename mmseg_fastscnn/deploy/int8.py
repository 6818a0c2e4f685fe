"""INT8 after training, with layers left in float where mIoU needs them.

Ranges of activations come from training images. The same images, with their labels,
say which layers lose accuracy; the images that an export is judged by stay unseen.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np
from torch import nn

from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.description import Description
from mmseg_fastscnn.deploy.export import WRITERS
from mmseg_fastscnn.deploy.int8_onnx import OnnxQuantiser
from mmseg_fastscnn.deploy.int8_openvino import OpenVinoQuantiser
from mmseg_fastscnn.deploy.labelled_images import LabelledImages, miou_of
from mmseg_fastscnn.deploy.openvino_core import new_core

RUNS = 7  # of which the fastest counts


class Quantiser(Protocol):
    """Makes INT8 files of one float file.

    Attributes:
        layers: Names of the convolutions, in the order in which they run.
    """

    layers: Sequence[str]

    def write(self, path: Path, in_int8: Collection[str]) -> None:
        """Write a file in which the named layers compute in INT8."""
        ...


QUANTISERS: dict[str, Callable[..., Quantiser]] = {
    '.onnx': OnnxQuantiser,
    '.xml': OpenVinoQuantiser,
}


def write_int8(
    model: nn.Module,
    path: Path,
    description: Description,
    images: LabelledImages,
    max_drop: float,
) -> None:
    """Write an INT8 file; a writer for `export`.

    Args:
        model, path, description: See `export`.
        images: Training images: they calibrate, and say what INT8 loses.
        max_drop: Points of mIoU that INT8 may lose on these images.

    Raises:
        ValueError: mIoU falls by more than `max_drop` unless all layers are in float.
    """
    with TemporaryDirectory() as folder:
        drafts = (Path(folder, f'{k}{path.suffix}') for k in count())
        float_file = next(drafts)
        in_float = replace(description, precision=float_precision(path.suffix))
        WRITERS[path.suffix](model, float_file, in_float)
        before = Predictor(float_file)
        frames = Frames(before, images)
        quantiser = QUANTISERS[path.suffix](float_file, description, frames)

        def miou(in_int8: Collection[str]) -> float:
            draft = next(drafts)
            quantiser.write(draft, in_int8)
            return miou_of(Predictor(draft), images)

        whole = miou_of(before, images)
        kept = layers_in_float(quantiser.layers, miou, whole, max_drop)
        quantiser.write(path, [n for n in quantiser.layers if n not in kept])
        print(f'in float stay: {", ".join(kept) or "no layers"}')
        print_speed(float_file, path, next(iter(frames)))


def float_precision(suffix: str) -> str:
    """Return the fastest float that a runtime has on this machine's CPU."""
    if suffix == '.onnx':
        return 'fp32'
    import openvino

    capabilities = new_core(openvino).get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    return 'bf16' if 'BF16' in capabilities else 'fp32'


class Frames:
    """The frames of labelled images as a predictor gives them to its network."""

    def __init__(self, predictor: Predictor, images: LabelledImages):
        self.predictor, self.images = predictor, images

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield arrays (1, h, w, C) uint8."""
        for frame, _ in self.images:
            yield self.predictor.prepared(frame)


def layers_in_float(
    layers: Sequence[str],
    miou: Callable[[Collection[str]], float],
    whole: float,
    max_drop: float,
) -> list[str]:
    """Return the layers to leave in float so that mIoU falls by `max_drop` at most.

    If it falls further with all layers in INT8, each layer is measured alone in INT8,
    and those that lose most go back to float, one after the other, until it does not.

    Args:
        layers: All layers.
        miou: Gives mIoU with the layers in INT8 that it is given.
        whole: mIoU with all layers in float.
        max_drop: How many points of mIoU may be lost.

    Raises:
        ValueError: All layers would be in float.
    """
    found = miou(layers)
    print(f'mIoU on the training images: {whole:.3f}, {found:.3f} with all in INT8')
    if whole - found <= max_drop:
        return []
    print(f'That is over {max_drop}: each of {len(layers)} layers is measured alone')
    alone = {layer: miou([layer]) for layer in layers}
    order = sorted(layers, key=alone.__getitem__)
    for k, layer in enumerate(order[:-1], 1):
        found = miou([name for name in layers if name not in order[:k]])
        print(
            f'{layer} in float: {found:.3f} (alone in INT8 it loses '
            f'{whole - alone[layer]:.3f})'
        )
        if whole - found <= max_drop:
            return [name for name in layers if name in order[:k]]
    raise ValueError(
        f'With any layer in INT8, mIoU on the training images falls by more than '
        f'{max_drop}. Allow more (--max-drop), calibrate with more images, or export '
        f'in another precision.'
    )


def print_speed(float_file: Path, int8_file: Path, frame: np.ndarray) -> None:
    """Print how long both take, and warn if INT8 is not faster on this machine.

    It is the CPU time of one thread, which other processes hardly change.
    """
    predictors = [Predictor(file, threads=1) for file in (float_file, int8_file)]
    fastest = [float('inf')] * 2
    for _ in range(RUNS):  # in turn, so that both meet the same machine
        for k, predictor in enumerate(predictors):
            began = time.process_time()
            predictor.runtime(frame)
            fastest[k] = min(fastest[k], 1e3 * (time.process_time() - began))
    precision = predictors[0].description.precision
    print(
        'CPU time per frame of {2}x{3}, one thread: {0:.1f} ms in {4}, {1:.1f} in '
        'INT8'.format(*fastest, *frame.shape[1:3], precision)
    )
    if fastest[1] >= fastest[0]:
        print(
            f'WARNING: INT8 is not faster than {precision} on this machine. CPUs with '
            f'instructions for it (VNNI or AMX on x86, dot products on Arm) are faster.'
        )
