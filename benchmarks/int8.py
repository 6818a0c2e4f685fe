"""Try settings of INT8 on a trained network: mIoU, equal labels, CPU time of each.

    python benchmarks/int8.py configs/fastscnn/fast_scnn_camvid.py CHECKPOINT

Training images calibrate the files, all test images judge them. CPU time is that of one
thread for one frame, the least of several: to labels in onnxruntime, to logits in
OpenVINO. docs/deploy.md has a result. `--only TEXT` takes the settings whose names hold
that text.
"""

import argparse
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from mmseg_fastscnn.apis import init_model
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.export import WRITERS
from mmseg_fastscnn.deploy.int8 import QUANTISERS, Frames, Quantiser
from mmseg_fastscnn.deploy.labelled_images import LabelledImages, mean_iou
from mmseg_fastscnn.deploy.torch_runtime import describe
from mmseg_fastscnn.evaluation import count_pairs

PERCENTILE = dict(method='Percentile', symmetric=False)
DEPTHWISE = re.compile(r'depthwise|dwconv.layers.0|bottleneck\d.\d.layers.1')


@dataclass
class Setting:
    """One way of making an INT8 file.

    Attributes:
        name: What differs from the exporter's own way.
        images: Number of training images.
        calibration: Arguments of the quantiser.
        layers: Which of all layers are in INT8.
        options: Arguments of the quantiser's `write`.
    """

    name: str
    images: int = 100
    calibration: dict = field(default_factory=dict)
    layers: Callable[[list[str]], list[str]] = list
    options: Callable[[Quantiser], dict] = lambda quantiser: {}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--data-root')
    parser.add_argument('--only', default='', metavar='TEXT')
    args = parser.parse_args()
    config = load_config(args.config, None, args.data_root)
    images = LabelledImages(config, 'test_dataloader', 10**6, 'judging')
    judge = Judge(args.checkpoint, config, images)
    print(f'{len(images)} images\n\n| setting | mIoU | equal labels | CPU ms |')
    print('|---|---|---|---|')
    model = init_model(config, args.checkpoint, 'cpu')
    with tempfile.TemporaryDirectory() as folder:
        for runtime, suffix, output, settings in (
            ('onnxruntime', '.onnx', 'labels', onnx_settings()),
            ('OpenVINO', '.xml', 'logits', openvino_settings()),
        ):
            chosen = [s for s in settings if args.only in f'{runtime}: {s.name}']
            if not chosen:
                continue
            described = describe(model, output, 'fp32', checkpoint=args.checkpoint)
            file = Path(folder, f'float{suffix}')
            WRITERS[suffix](model, file, described)
            judge(f'{runtime}, fp32', file)
            described = replace(described, precision='int8')
            for setting in chosen:
                training = LabelledImages(
                    config, 'train_dataloader', setting.images, 'calibration'
                )
                frames = Frames(Predictor(file), training)
                quantiser = QUANTISERS[suffix](
                    file, described, frames, **setting.calibration
                )
                draft = Path(folder, f'draft{suffix}')
                layers = setting.layers(quantiser.layers)
                quantiser.write(draft, layers, **setting.options(quantiser))
                judge(f'{runtime}: {setting.name}', draft)


class Judge:
    """Prints a line of the table for each file."""

    def __init__(self, checkpoint: str, config, images: LabelledImages):
        self.pairs = list(images)
        predictor = Predictor(checkpoint, config, device='cpu')
        self.classes = len(predictor.classes)
        self.expected = [predictor(frame) for frame, _ in self.pairs]
        self.say('PyTorch, fp32', self.expected, 0)

    def __call__(self, name: str, file: Path) -> None:
        predictor = Predictor(file, threads=1)
        answers = [predictor(frame) for frame, _ in self.pairs]
        frame, best = predictor.prepared(self.pairs[0][0]), float('inf')
        for _ in range(20):
            began = time.process_time()
            predictor.runtime(frame)
            best = min(best, time.process_time() - began)
        self.say(name, answers, 1e3 * best)

    def say(self, name: str, answers: list[np.ndarray], milliseconds: float) -> None:
        counts = torch.zeros(256, 256, dtype=torch.int64)
        for (_, label), answer in zip(self.pairs, answers, strict=True):
            counts += count_pairs(torch.from_numpy(label), torch.from_numpy(answer))
        pairs = zip(self.expected, answers, strict=True)
        equal = np.mean([(a == b).mean() for a, b in pairs])
        miou = mean_iou(counts[: self.classes, : self.classes])
        took = f'{milliseconds:.1f}' if milliseconds else ''
        print(f'| {name} | {miou:.3f} | {100 * equal:.2f} % | {took} |', flush=True)


def without_depthwise(layers: list[str]) -> list[str]:
    return [layer for layer in layers if not DEPTHWISE.search(layer)]


def onnx_settings() -> list[Setting]:
    """Return the settings for onnxruntime; the first is the exporter's own."""
    from onnxruntime.quantization import QuantType

    def options(**values):
        return lambda quantiser: values

    def with_classifier(quantiser):
        classifier = [n for n in quantiser.model.graph.node if n.op_type == 'Conv'][-1]
        nodes = quantiser.nodes_in_int8(quantiser.layers)
        return dict(nodes_to_quantize=[*nodes, classifier.name])

    kinds = options(op_types_to_quantize=('Conv', 'Relu', 'Clip'))
    signed = options(activation_qType=QuantType.QInt8)
    return [
        Setting('ours, 100 training images'),
        Setting('20 of them', 20),
        Setting('convolutions only', options=kinds),
        *(
            Setting(f'percentile {p}, 20 images', 20, dict(PERCENTILE, percentile=p))
            for p in (99.99, 99.999)
        ),
        Setting('entropy, 20 images', 20, dict(method='Entropy')),
        Setting('weights of 8 bits', options=options(reduce_range=False)),
        Setting('one scale per layer', options=options(per_channel=False)),
        Setting('S8S8', options=signed),
        Setting('classifier in INT8', options=with_classifier),
        Setting('depthwise in float', layers=without_depthwise),
        Setting('1 image', 1),
    ]


def openvino_settings() -> list[Setting]:
    """Return the settings for OpenVINO; the first is the exporter's own."""
    from nncf import AdvancedQuantizationParameters, OverflowFix, QuantizationPreset

    def advanced(**values):
        parameters = AdvancedQuantizationParameters(**values)
        return lambda quantiser: dict(advanced_parameters=parameters)

    return [
        Setting('ours, 100 training images'),
        Setting('20 of them', 20),
        Setting('overflow fix off', options=advanced(overflow_fix=OverflowFix.DISABLE)),
        Setting('no bias correction', options=advanced(disable_bias_correction=True)),
        Setting(
            'symmetric activations',
            options=lambda q: dict(preset=QuantizationPreset.PERFORMANCE),
        ),
        Setting('classifier in float', layers=lambda layers: layers[:-1]),
        Setting('depthwise in float', layers=without_depthwise),
        Setting('1 image', 1),
    ]


if __name__ == '__main__':
    main()
