"""The runtimes of exported files, one class each: a frame in, an array out.

Their packages are imported when they are needed. Only `.pt2` and `.pte` files need
torch: PyTorch runs the former, and ExecuTorch's Python package imports it.
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from mmseg_fastscnn.cores import cores_per_process
from mmseg_fastscnn.deploy.description import (
    KEY,
    Description,
    check_parts,
    needed_beside,
)
from mmseg_fastscnn.deploy.openvino_core import new_core
from mmseg_fastscnn.packages import needed


class OnnxRuntime:
    """An `.onnx` file in onnxruntime, on CUDA if `device` says so.

    Args:
        path: The file.
        device: 'cpu', 'cuda' or 'cuda:1'.
        threads: Number of CPU threads; None for the runtime's own choice.
        at_once: How many threads may call it at the same time.
    """

    def __init__(self, path: Path, device: str, threads: int | None, at_once: int = 1):
        onnxruntime = needed('onnxruntime', str(path))
        options = onnxruntime.SessionOptions()
        if at_once > 1:  # the threads that call it compute, beside those of the session
            threads = (threads or cores_per_process()) - at_once + 1
        options.intra_op_num_threads = threads or 0
        kind, _, number = device.partition(':')
        provider = f'{kind.upper()}ExecutionProvider'
        there = onnxruntime.get_available_providers()
        if provider not in there:
            raise no_such_device(path, device, 'onnxruntime', there)
        which = {'device_id': number} if number else {}
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=[(provider, which)]
            )
        except Exception as error:  # onnxruntime has classes of its own for errors
            raise unreadable(path, 'onnxruntime', error) from error
        if provider not in (used := self.session.get_providers()):  # without its CUDA
            raise no_such_device(path, device, 'onnxruntime', used)
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.description = Description.from_json(metadata.get(KEY), path)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return self.session.run(None, {'frame': frames})[0]


class OpenVino:
    """An `.xml` file (with its `.bin`) in OpenVINO, in the precision it was made for.

    OpenVINO takes bfloat16 without a word where the CPU has it, so it is told.

    Args:
        path, device, threads, at_once: See `OnnxRuntime`.
    """

    HINTS = dict(fp32='f32', bf16='bf16', fp16='f16', int8='bf16')

    def __init__(self, path: Path, device: str, threads: int | None, at_once: int = 1):
        openvino = needed('openvino', str(path))
        core = new_core(openvino)
        weights = needed_beside(path, '.bin')
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            raise unreadable(path, 'OpenVINO', f'with {weights}: {error}') from error
        text = model.rt_info[KEY].value if KEY in model.rt_info else None
        self.description = Description.from_json(text, path)
        check_parts(self.description, path)
        options = {'INFERENCE_PRECISION_HINT': self.HINTS[self.description.precision]}
        if threads:
            options['INFERENCE_NUM_THREADS'] = threads
        if at_once > 1:
            options['NUM_STREAMS'] = at_once
        try:
            compiled = core.compile_model(model, device.upper(), options)
        except RuntimeError as error:
            if device.upper() in (there := core.available_devices):
                raise
            raise no_such_device(path, device, 'OpenVINO', there) from error
        half = self.description.precision in ('bf16', 'fp16')
        if half and 'float32' in str(compiled.get_property('INFERENCE_PRECISION_HINT')):
            warnings.warn(
                f'{path} is for {self.description.precision}, which this processor '
                f'lacks: OpenVINO computes it in float32, which takes longer.',
                stacklevel=2,
            )
        self.requests = SimpleQueue()
        for _ in range(at_once):
            self.requests.put(compiled.create_infer_request())

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        request = self.requests.get()
        try:
            return request.infer([frames])[0]
        finally:
            self.requests.put(request)


class Ncnn:
    """A `.param` file (with its `.bin` and `.json`) in ncnn, in float32."""

    def __init__(self, path: Path, device: str, threads: int | None):
        ncnn = needed('ncnn', str(path))
        refuse_other_devices(path, device)
        self.description = described_beside(path)
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
        results = []
        for frame in frames:
            extractor = self.net.create_extractor()
            height, width = frame.shape[:2]
            kind = self.mat.PixelType.PIXEL_BGR
            image = self.mat.from_pixels(frame, kind, width, height)
            extractor.input('in0', image)
            results.append(np.array(extractor.extract('out0')[1]))
        return np.stack(results)


class TorchExport:
    """A `.pt2` file of `torch.export` in PyTorch.

    Args:
        path: The file.
        device: 'cpu' or 'cuda'.
        threads: Number of CPU threads, of all that PyTorch does in this process.
    """

    def __init__(self, path: Path, device: str, threads: int | None):
        self.torch = needed('torch', str(path))
        needed('torch.export.passes', str(path))
        extra = {KEY: ''}
        try:
            program = self.torch.export.load(path, extra_files=extra)
        except Exception as error:  # of zip, of pickle, of JSON, of torch
            raise unreadable(path, 'PyTorch', error) from error
        self.description = Description.from_json(extra[KEY], path)
        if device != 'cpu':
            there = ['cpu', f'{self.torch.cuda.device_count()} CUDA devices']
            try:
                self.torch.empty(0, device=device)
            except (AssertionError, RuntimeError) as error:
                raise no_such_device(path, device, 'PyTorch', there) from error
            program = self.torch.export.passes.move_to_device_pass(program, device)
        if threads:
            self.torch.set_num_threads(threads)
        self.device = device
        self.module = program.module()

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        with self.torch.inference_mode():
            frames = self.torch.from_numpy(frames).to(self.device)
            return self.module(frames).cpu().numpy()


class ExecuTorch:
    """A `.pte` file (with its `.json`) in ExecuTorch, on the CPU."""

    def __init__(self, path: Path, device: str, threads: int | None):
        self.torch = needed('torch', str(path))
        runtime = needed('executorch.runtime', str(path)).Runtime.get()
        refuse_other_devices(path, device)
        self.description = described_beside(path)
        try:
            self.method = runtime.load_program(path).load_method('forward')
        except RuntimeError as error:
            raise unreadable(path, 'ExecuTorch', error) from error

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        results = [
            self.method.execute([self.torch.from_numpy(frame[None])])[0].numpy().copy()
            for frame in frames
        ]
        return np.concatenate(results)


def described_beside(path: Path) -> Description:
    """Return the description in the `.json` beside a file that cannot hold one.

    Raises:
        FileNotFoundError, ValueError: See `Description.from_json` and `check_parts`.
    """
    beside = needed_beside(path, '.json')
    description = Description.from_json(beside.read_text(), beside)
    check_parts(description, path)
    return description


def refuse_other_devices(path: Path, device: str) -> None:
    if device != 'cpu':
        raise ValueError(f'{path} runs on the CPU only, not on {device!r}.')


def no_such_device(
    path: Path, device: str, runtime: str, there: Sequence[str]
) -> ValueError:
    return ValueError(
        f'{path} cannot run on {device!r}: {runtime} has {", ".join(there)} here.'
    )


def unreadable(path: Path, runtime: str, why: object) -> ValueError:
    return ValueError(
        f'{path} cannot be read by {runtime} ({why}): it is damaged or cut short, or '
        f'of a newer form. Export it again with tools/export.py.'
    )


RUNTIMES: dict[str, Callable] = {
    '.onnx': OnnxRuntime,
    '.xml': OpenVino,
    '.param': Ncnn,
    '.pt2': TorchExport,
    '.pte': ExecuTorch,
}
