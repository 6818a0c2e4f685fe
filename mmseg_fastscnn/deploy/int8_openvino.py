"""INT8 for OpenVINO by NNCF."""

import logging
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np

from mmseg_fastscnn.deploy.description import Description
from mmseg_fastscnn.deploy.export import save_openvino
from mmseg_fastscnn.deploy.openvino_core import new_core

CONVOLUTIONS = ('Convolution', 'GroupConvolution')
BETWEEN = ('Add', 'Clamp', 'Concat', 'Interpolate', 'Relu')


class OpenVinoQuantiser:
    """Makes INT8 `.xml` files of a float one; see `int8.Quantiser`.

    What is not in INT8 computes in bfloat16 where the CPU can, else in float32.

    Args:
        file: The float file.
        description: What the INT8 files say of themselves.
        frames: Frames (1, h, w, C) uint8 that show the ranges of activations; they are
            read once for each file that is written.
    """

    def __init__(
        self, file: Path, description: Description, frames: Iterable[np.ndarray]
    ):
        import openvino

        self.description, self.frames = description, frames
        self.model = new_core(openvino).read_model(file)
        self.layers = [
            layer_name(node)
            for node in self.model.get_ordered_ops()
            if node.get_type_name() in CONVOLUTIONS
        ]

    def write(self, path: Path, in_int8: Collection[str], **options: object) -> None:
        """Write a file in which the named layers compute in INT8.

        Args:
            path: The file.
            in_int8: Names of layers.
            options: Arguments of `nncf.quantize` in the place of ours.
        """
        import nncf

        nncf.set_log_level(logging.ERROR)
        settings = dict(
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(self.frames),
            ignored_scope=nncf.IgnoredScope(names=self.in_float(in_int8)),
        )
        frames = nncf.Dataset(self.frames)
        graph = nncf.quantize(self.model, frames, **{**settings, **options})
        save_openvino(graph, path, self.description)

    def in_float(self, in_int8: Collection[str]) -> list[str]:
        """Return the names of the nodes that are to compute in float.

        What stands after layers computes in INT8 if all of these do. The pyramid's
        pooling never does: it multiplies with shares of the image, whose range is
        another one at each size.
        """
        found, results = [], set()
        for node in self.model.get_ordered_ops():
            kind, name = node.get_type_name(), node.get_friendly_name()
            if kind in CONVOLUTIONS:
                is_in_int8 = layer_name(node) in in_int8
            else:
                inputs = {source.get_friendly_name() for source in activations(node)}
                is_in_int8 = kind in BETWEEN and set() < inputs <= results
            if is_in_int8:
                results.add(name)
            elif kind in (*CONVOLUTIONS, *BETWEEN, 'MatMul'):
                found.append(name)
        return found


def activations(node) -> list:
    """Return the nodes that give a node's floats, without constant ones."""
    outputs = [value.get_source_output() for value in node.inputs()]
    floats = [output for output in outputs if output.get_element_type().is_real()]
    return [value.get_node() for value in floats if not is_constant(value.get_node())]


def is_constant(node) -> bool:
    """Return whether a node's result does not depend on the frame."""
    if not node.inputs():
        return node.get_type_name() == 'Constant'
    return all(is_constant(v.get_source_output().get_node()) for v in node.inputs())


def layer_name(node) -> str:
    """Return the name of a convolution in the model."""
    return node.get_friendly_name().removesuffix('/WithoutBiases')
