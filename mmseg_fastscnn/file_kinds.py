"""Kinds of files by their suffixes. Nothing is imported here, so all may import it."""

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
