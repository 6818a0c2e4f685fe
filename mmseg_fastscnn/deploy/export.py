"""Write a segmentor as a file for another runtime. See docs/deploy.md."""

import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim

from mmseg_fastscnn.deploy.backends import SMALLEST
from mmseg_fastscnn.deploy.description import KEY, Description, digests
from mmseg_fastscnn.deploy.formats import check_form
from mmseg_fastscnn.deploy.frame_model import FrameModel
from mmseg_fastscnn.file_kinds import SUFFIXES
from mmseg_fastscnn.writing import write_file

PACKAGES = {
    '.onnx': ('onnx', 'onnxscript', 'onnxruntime'),
    '.xml': ('onnx', 'onnxscript', 'openvino'),
    '.param': ('pnnx', 'ncnn'),
    '.pt2': (),
    '.pte': ('executorch',),
}
INT8_PACKAGES = {'.xml': ('nncf',)}  # besides
# Formats whose files hold weights of their precision; other runtimes convert them.
CONVERTED = ('onnx', 'torch_export', 'executorch')
# The files that stand beside one. A description there holds the hashes of the others.
PARTS = {'.xml': ('.bin',), '.param': ('.bin', '.json'), '.pte': ('.json',)}
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
        path: The file; its suffix says which format, see `SUFFIXES`.
        description: What the file says of itself; its `output`, `precision` and `size`
            say what is written.
        write: Writes the file; by default in float.

    Raises:
        FileExistsError: There is a file of that name, or of one that stands beside it.
        ImportError: A package that the format needs is not installed.
        OSError: The files cannot be written; then none of them is there.
        ValueError: The format does not exist in that form.
    """
    path = Path(path)
    kind = {suffix: kind for kind, suffix in SUFFIXES.items()}[path.suffix]
    output, size = description.output, description.size
    check_form(kind, description.precision, output, size is not None)
    check_packages(path.suffix, description.precision)
    check_free(path)
    write = write or WRITERS[path.suffix]
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, path.name)
        write(model, draft, description)
        write_whole(draft, path)


def write_whole(draft: Path, path: Path) -> None:
    """Copy an exported file and those beside it to their place, or none of them.

    The main file comes last, so that it is there only if all of it is.
    """
    begun = []
    try:
        for file in reversed(files_of(path)):
            begun.append(file)
            write_file(file, draft.with_suffix(file.suffix).read_bytes())
    except BaseException:
        for part in begun:
            part.unlink(missing_ok=True)
        raise


def files_of(path: Path) -> list[Path]:
    """Return an exported file and those that stand beside it."""
    return [path, *(path.with_suffix(part) for part in PARTS.get(path.suffix, ()))]


def check_free(path: Path) -> None:
    """Raise FileExistsError if an exported file, or one beside it, is there already."""
    for file in [*files_of(path), *files_of(failed_name(path))]:
        if file.exists():
            raise FileExistsError(f'{file} exists; remove it, or give another --out.')


def failed_name(path: Path) -> Path:
    """Return the name under which a file that fails its check is kept."""
    return path.with_name(f'{path.stem}.failed{path.suffix}')


def move_aside(path: Path) -> Path:
    """Give a file that failed its check, and those beside it, other names."""
    kept = failed_name(path)
    for old, new in zip(files_of(path), files_of(kept), strict=True):
        old.replace(new)
    return kept


def check_packages(suffix: str, precision: str) -> None:
    """Raise ImportError with the command to install what a format needs and lacks."""
    packages = PACKAGES[suffix]
    if precision == 'int8':
        packages += INT8_PACKAGES.get(suffix, ())
    lacking = [name for name in packages if find_spec(name) is None]
    if lacking:
        raise ImportError(
            f'To export {suffix} files in {precision}, {", ".join(lacking)} '
            f'must be installed: pip install {" ".join(lacking)}'
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

    for _ in range(2):  # the second time with the hash of the first time's weights
        graph.set_rt_info(description.to_json(), KEY)
        openvino.save_model(graph, str(path), compress_to_fp16=False)
        description = replace(description, parts=digests(path, ['.bin']))


def write_ncnn(model: nn.Module, path: Path, description: Description) -> None:
    """Write ncnn's `.param` and `.bin`, and the description beside them."""
    import pnnx

    if description.align_corners or description.channels != 3:
        raise ValueError(
            'ncnn files are written for networks of 3 channels without align_corners; '
            'with both, a third of the labels were others. Choose another --format.'
        )
    if description.size_divisor > 1 and description.size is None:
        raise ValueError(
            f'The config pads test images to a multiple of {description.size_divisor} '
            f'(data_preprocessor.test_cfg), which ncnn can do for one size only. Give '
            f'it: --size H W.'
        )
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
    describe_beside(path, description, ['.param', '.bin'])


def write_torch_export(model: nn.Module, path: Path, description: Description) -> None:
    """Write a `.pt2` file of `torch.export`, with its description inside."""
    graph = FrameModel(model, description.output, 'operator').eval()
    frames, dynamic = example_of(description)
    with quiet(), torch.no_grad():
        program = torch.export.export(graph, (frames,), dynamic_shapes=dynamic)
        extra = {KEY: description.to_json()}
        torch.export.save(program, path, extra_files=extra)


def write_executorch(model: nn.Module, path: Path, description: Description) -> None:
    """Write ExecuTorch's `.pte` for XNNPACK, and the description beside it."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (
        XnnpackPartitioner,
    )
    from executorch.exir import to_edge_transform_and_lower

    graph = FrameModel(model, description.output, 'operator').eval()
    graph = graph.to(memory_format=torch.contiguous_format)  # XNNPACK takes no other
    frames, _ = example_of(description)
    with quiet(), torch.no_grad():
        program = torch.export.export(graph, (frames,))
        lowered = to_edge_transform_and_lower(
            program, partitioner=[XnnpackPartitioner()]
        )
        path.write_bytes(lowered.to_executorch().buffer)
    describe_beside(path, description, ['.pte'])


def describe_beside(
    path: Path, description: Description, suffixes: Sequence[str]
) -> None:
    """Write the description of files that cannot hold one to a `.json` beside them."""
    description = replace(description, parts=digests(path, suffixes))
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
    '.pt2': write_torch_export,
    '.pte': write_executorch,
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
