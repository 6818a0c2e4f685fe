"""Kinds of files by their suffixes. Nothing of ours is imported: all may import it."""

from pathlib import Path

CONFIG_FILES = ('.py', '.yaml', '.yml', '.json')
IMAGES = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff')
VIDEOS = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm')
CHECKPOINTS = ('.pth', '.pt', '.safetensors')
# Of exported files, by their format.
SUFFIXES = dict(
    onnx='.onnx',
    openvino='.xml',
    ncnn='.param',
    torch_export='.pt2',
    executorch='.pte',
)


def is_exported(file: str | Path) -> bool:
    """Return whether a file is, by its name, one that `export` wrote."""
    return Path(file).suffix in SUFFIXES.values()
