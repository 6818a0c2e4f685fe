"""Which files are exported, and what is saved of predictions: names alone."""

SUFFIXES = dict(onnx='.onnx', openvino='.xml', ncnn='.param')
PRECISIONS = dict(
    onnx=('fp32', 'fp16', 'int8'),
    openvino=('fp32', 'bf16', 'int8'),
    ncnn=('fp32', 'bf16', 'fp16'),
)
SAVED = ('overlay', 'labels', 'probabilities')
