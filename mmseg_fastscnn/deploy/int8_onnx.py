"""INT8 in ONNX by onnxruntime's quantiser."""

import copy
from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np

from mmseg_fastscnn.deploy.byte_rows import read_byte_rows
from mmseg_fastscnn.deploy.description import KEY, Description

# Not MatMul: the pyramid's pooling multiplies with shares of the image, whose range is
# another one at each size.
KINDS = ('Conv', 'Relu', 'Clip', 'Add', 'Concat', 'Resize')


class OnnxQuantiser:
    """Makes INT8 `.onnx` files of a float one; see `int8.Quantiser`.

    Activations are uint8 and weights int8, one scale per channel: int8 for both is
    slower than fp32 on x86. Weights take 7 bits, since x86 without VNNI adds pairs of
    products in 16 bits, which more would overflow.

    The first two layers stay in float: INT8 makes a layer of three channels three times
    slower, and after the second layer the maps to convert are a quarter as large. The
    classifier and all that comes after it stay in float, too, so that labels are
    exactly those of the logits.

    Args:
        file: The float file.
        description: What the INT8 files say of themselves.
        frames: Frames (1, h, w, C) uint8 that show the ranges of activations.
        method: How these are found, a name of onnxruntime's `CalibrationMethod`.
        calibration: Further arguments of that method.
    """

    def __init__(
        self,
        file: Path,
        description: Description,
        frames: Iterable[np.ndarray],
        method: str = 'MinMax',
        **calibration: object,
    ):
        import onnx
        from onnxruntime.quantization import (
            CalibrationMethod,
            create_calibrator,
            quant_pre_process,
        )

        self.description = description
        with TemporaryDirectory() as folder:
            prepared = Path(folder, 'prepared.onnx')
            # symbolic shapes would need another package
            quant_pre_process(file, prepared, skip_symbolic_shape=True)
            self.model = onnx.load(prepared)
            calibrator = create_calibrator(
                prepared,
                KINDS,
                str(Path(folder, 'augmented.onnx')),
                CalibrationMethod[method],
                extra_options=calibration,
            )
            for frame in frames:  # one by one: some methods keep all maps of a call
                get_next = partial(next, iter([{'frame': frame}]), None)
                calibrator.collect_data(SimpleNamespace(get_next=get_next))
            self.ranges = calibrator.compute_data()
        read_byte_rows(self.model.graph, description.size_divisor)
        self.nodes = nodes_before_classifier(self.model.graph)
        _, _, *layers = (node.name for node in self.nodes if node.op_type == 'Conv')
        self.layers = layers

    def write(self, path: Path, in_int8: Collection[str], **options: object) -> None:
        """Write a file in which the named layers compute in INT8.

        What stands after layers does so if all of these do.

        Args:
            path: The file.
            in_int8: Names of layers.
            options: Arguments of onnxruntime's `QDQQuantizer` in the place of ours.
        """
        import onnx
        from onnxruntime.quantization import QDQQuantizer, QuantType

        settings = dict(
            per_channel=True,
            reduce_range=True,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            nodes_to_quantize=self.nodes_in_int8(in_int8),
            nodes_to_exclude=[],
            op_types_to_quantize=KINDS,
            extra_options={},
        )
        model = copy.deepcopy(self.model)
        quantiser = QDQQuantizer(
            model, tensors_range=self.ranges, **{**settings, **options}
        )
        quantiser.quantize_model()
        onnx.helper.set_model_props(
            quantiser.model.model, {KEY: self.description.to_json()}
        )
        quantiser.model.save_model_to_file(str(path))  # sorts the nodes
        onnx.checker.check_model(str(path), full_check=True)

    def nodes_in_int8(self, layers: Collection[str]) -> list[str]:
        """Return the names of the nodes that compute in INT8 where some layers do."""
        found, results = [], set()
        for node in self.nodes:
            if node.op_type == 'Conv':
                is_in_int8 = node.name in layers
            else:  # of its inputs, only activations have ranges
                inputs = {name for name in node.input if name in self.ranges}
                is_in_int8 = node.op_type in KINDS and set() < inputs <= results
            if is_in_int8:
                found.append(node.name)
                results.update(node.output)
        return found


def nodes_before_classifier(graph) -> list:
    """Return the nodes before the last convolution that it needs, in order."""
    classifier = [node for node in graph.node if node.op_type == 'Conv'][-1]
    needed, found = set(classifier.input), []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            found.append(node)
    return found[::-1]
