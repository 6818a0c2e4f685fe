"""Which files are exported, and what is saved of predictions: names alone."""

from pathlib import Path

SUFFIXES = dict(onnx='.onnx', openvino='.xml', ncnn='.param')
PRECISIONS = dict(
    onnx=('fp32', 'fp16'),
    openvino=('fp32', 'bf16'),
    ncnn=('fp32', 'bf16', 'fp16'),
)
SAVED = ('overlay', 'labels', 'probabilities')


def is_exported(file: str | Path) -> bool:
    """Return whether a file is, by its name, one that `export` wrote."""
    return Path(file).suffix in SUFFIXES.values()
