"""Write a segmentor as a file for another runtime. See docs/deploy.md."""

import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim

from mmseg_fastscnn.deploy.backends import SMALLEST
from mmseg_fastscnn.deploy.description import KEY, Description
from mmseg_fastscnn.deploy.frame_model import FrameModel

PACKAGES = {
    '.onnx': ('onnx', 'onnxscript', 'onnxruntime'),
    '.xml': ('onnx', 'onnxscript', 'openvino'),
    '.param': ('pnnx', 'ncnn'),
}
INT8_PACKAGES = {'.xml': ('nncf',)}  # besides
PARTS = {'.xml': ('.bin',), '.param': ('.bin', '.json')}  # the files beside one
Writer = Callable[[nn.Module, Path, Description], None]
EXAMPLE = (2, 96, 160)  # images, h, w: a batch of 1 would be taken for a constant


def export(
    model: nn.Module,
    path: str | Path,
    description: Description,
    write: Writer | None = None,
) -> None:
    """Write a model to a file, whole or not at all.

    Args:
        model: From `init_model`.
        path: The file; its suffix says which format: `.onnx`, `.xml` (OpenVINO)
            or `.param` (ncnn).
        description: What the file says of itself; its `output`, `precision` and `size`
            say what is written.
        write: Writes the file; by default in float.

    Raises:
        FileExistsError: There is a file of that name, or of one that stands beside it.
        ImportError: A package that the format needs is not installed.
    """
    path = Path(path)
    check_packages(path.suffix, description.precision)
    check_free(path)
    write = write or WRITERS[path.suffix]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.export.', dir=path.parent) as folder:
        write(model, Path(folder, path.name), description)
        # the main file last, so that it is there only if all of it is
        for part in sorted(Path(folder).iterdir(), key=lambda p: p.name == path.name):
            part.replace(path.parent / part.name)


def check_free(path: Path) -> None:
    """Raise FileExistsError if an exported file, or one beside it, is there already."""
    for suffix in (path.suffix, *PARTS.get(path.suffix, ())):
        part = path.with_suffix(suffix)
        if part.exists():
            raise FileExistsError(f'{part} exists; remove it, or give another --out.')


def check_packages(suffix: str, precision: str) -> None:
    """Raise ImportError with the command to install what a format needs and lacks."""
    packages = PACKAGES[suffix]
    if precision == 'int8':
        packages += INT8_PACKAGES.get(suffix, ())
    lacking = [name for name in packages if find_spec(name) is None]
    if lacking:
        raise ImportError(
            f'To export {suffix} files in {precision}, {", ".join(lacking)} must be '
            f'installed: pip install {" ".join(lacking)}'
        )


def example_of(description: Description) -> tuple[torch.Tensor, dict | None]:
    """Return frames to trace with, and which of their sizes are dynamic."""
    if description.size:
        shape = (1, *description.size, description.channels)
        return torch.zeros(shape, dtype=torch.uint8), None
    frames = torch.zeros((*EXAMPLE, description.channels), dtype=torch.uint8)
    sizes = (Dim('height', min=SMALLEST), Dim('width', min=SMALLEST))
    return frames, {'frame': {0: Dim('batch'), 1: sizes[0], 2: sizes[1]}}


def write_onnx(model: nn.Module, path: Path, description: Description) -> None:
    """Write an ONNX file of operator set 20, with its description inside."""
    import onnx

    from mmseg_fastscnn.deploy.onnx_labels import label_map

    graph = FrameModel(model, description.output).eval()
    frames, dynamic = example_of(description)
    table = {torch.ops.mmseg_fastscnn.label_map.default: label_map}
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            graph,
            (frames,),
            dynamo=True,
            input_names=['frame'],
            output_names=[description.output],
            dynamic_shapes=dynamic,
            custom_translation_table=table,
            verbose=False,
        )
    proto = program.model_proto
    name_convolutions(proto.graph)
    onnx.helper.set_model_props(proto, {KEY: description.to_json()})
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, str(path))


def name_convolutions(graph) -> None:
    """Name the convolutions of an ONNX graph after their modules."""
    for node in graph.node:
        if node.op_type == 'Conv':
            node.name = node.input[1].removesuffix('.weight')


def write_openvino(model: nn.Module, path: Path, description: Description) -> None:
    """Write OpenVINO's `.xml` and `.bin`, from the ONNX graph."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'model.onnx')
        write_onnx(model, file, description)
        graph = openvino.convert_model(str(file))
    save_openvino(graph, path, description)


def save_openvino(graph, path: Path, description: Description) -> None:
    """Save an OpenVINO model with its description inside."""
    import openvino

    graph.set_rt_info(description.to_json(), KEY)
    openvino.save_model(graph, str(path), compress_to_fp16=False)


def write_ncnn(model: nn.Module, path: Path, description: Description) -> None:
    """Write ncnn's `.param` and `.bin`, and the description beside them."""
    import pnnx

    graph = Planar(FrameModel(model, description.output, 'operator')).eval()
    size = description.size or EXAMPLE[1:]
    frames = torch.zeros(1, description.channels, *size)
    other = torch.zeros(1, description.channels, size[0] + 45, size[1] + 77)
    with tempfile.TemporaryDirectory() as folder, quiet():
        trace = Path(folder, 'model.pt')
        second = None if description.size else other
        pnnx.export(graph, str(trace), frames, second, fp16=False)
        shutil.copy(trace.with_suffix('.ncnn.param'), path)
        shutil.copy(trace.with_suffix('.ncnn.bin'), path.with_suffix('.bin'))
    path.with_suffix('.json').write_text(description.to_json())


class Planar(nn.Module):
    """`FrameModel` for runtimes whose images are float and (N, C, H, W)."""

    def __init__(self, model: FrameModel):
        super().__init__()
        self.model = model

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        return self.model.of_planes(frame)


WRITERS: dict[str, Writer] = {
    '.onnx': write_onnx,
    '.xml': write_openvino,
    '.param': write_ncnn,
}


@contextmanager
def quiet():
    """Leave out what exporters say of themselves while they work."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            yield
        finally:
            logger.setLevel(level)
