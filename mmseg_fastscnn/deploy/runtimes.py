"""The runtimes of exported files, one class each: a frame in, an array out.

Their packages are imported when they are needed; none of them needs torch.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from mmseg_fastscnn.deploy.description import KEY, Description


def needed(package: str) -> ModuleType:
    """Import a runtime; ImportError that says what to install if it is not there."""
    try:
        return import_module(package)
    except ImportError as error:
        raise ImportError(
            f'{package} is not installed: pip install {package}'
        ) from error


class OnnxRuntime:
    """An `.onnx` file in onnxruntime, on CUDA if `device` says so."""

    def __init__(self, path: Path, device: str = 'cpu', threads: int | None = None):
        onnxruntime = needed('onnxruntime')
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        provider = 'CPU' if device == 'cpu' else 'CUDA'
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=[f'{provider}ExecutionProvider']
            )
        except Exception as error:  # onnxruntime has classes of its own for errors
            raise unreadable(path, 'onnxruntime', error) from error
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.description = Description.from_json(metadata.get(KEY), path)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return self.session.run(None, {'frame': frames})[0]


class OpenVino:
    """An `.xml` file (with its `.bin`) in OpenVINO, in the precision it was made for.

    OpenVINO takes bfloat16 without a word where the CPU has it, so it is told.
    """

    HINTS = dict(fp32='f32', bf16='bf16', fp16='f16', int8='bf16')

    def __init__(self, path: Path, device: str = 'cpu', threads: int | None = None):
        openvino = needed('openvino')
        core = openvino.Core()
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            raise unreadable(path, 'OpenVINO', error) from error
        text = model.rt_info[KEY].value if KEY in model.rt_info else None
        self.description = Description.from_json(text, path)
        options = {'INFERENCE_PRECISION_HINT': self.HINTS[self.description.precision]}
        if threads:
            options['INFERENCE_NUM_THREADS'] = threads
        self.request = core.compile_model(
            model, device.upper(), options
        ).create_infer_request()

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return self.request.infer([frames])[0]


class Ncnn:
    """A `.param` file (with its `.bin` and `.json`) in ncnn, in float32."""

    def __init__(self, path: Path, device: str = 'cpu', threads: int | None = None):
        ncnn = needed('ncnn')
        self.description = Description.from_json(text_beside(path), path)
        self.net = ncnn.Net()
        options = self.net.opt
        options.num_threads = threads or options.num_threads
        half = self.description.precision == 'fp16'  # ncnn's default, which costs 1e-3
        options.use_fp16_packed = options.use_fp16_storage = half
        options.use_fp16_arithmetic = half
        options.use_bf16_storage = self.description.precision == 'bf16'
        self.mat = ncnn.Mat
        weights = path.with_suffix('.bin')
        if self.net.load_param(str(path)) or self.net.load_model(str(weights)):
            raise unreadable(path, 'ncnn', f'with {weights}')

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        height, width = frames.shape[1:3]
        results = []
        for frame in frames:
            kind = self.mat.PixelType.PIXEL_BGR
            image = self.mat.from_pixels(frame, kind, width, height)
            extractor = self.net.create_extractor()
            extractor.input('in0', image)
            results.append(np.array(extractor.extract('out0')[1]))
        return np.stack(results)


def text_beside(path: Path) -> str | None:
    """Return the text of the `.json` beside a file, None if there is none."""
    beside = path.with_suffix('.json')
    return beside.read_text() if beside.is_file() else None


def unreadable(path: Path, runtime: str, why: object) -> ValueError:
    return ValueError(
        f'{path} cannot be read by {runtime} ({why}): it is damaged or cut short, or '
        f'of a newer form. Export it again with tools/export.py.'
    )


RUNTIMES: dict[str, Callable] = {
    '.onnx': OnnxRuntime,
    '.xml': OpenVino,
    '.param': Ncnn,
}
