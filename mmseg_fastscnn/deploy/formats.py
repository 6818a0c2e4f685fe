"""Which files are exported, and what is saved of predictions: names alone."""

PRECISIONS = dict(
    onnx=('fp32', 'fp16', 'int8'),
    openvino=('fp32', 'bf16', 'fp16', 'int8'),
    ncnn=('fp32', 'bf16', 'fp16'),
    torch_export=('fp32', 'bf16', 'fp16'),
    executorch=('fp32',),
)
# What a file gives, by default the first. Predictor makes labels of the others.
OUTPUTS = dict(
    onnx=('labels', 'logits', 'probabilities'),
    openvino=('logits', 'labels', 'probabilities'),
    ncnn=('logits', 'probabilities'),
    torch_export=('logits', 'probabilities'),
    executorch=('logits', 'probabilities'),
)
FIXED = ('executorch',)  # formats whose files are for one size of frames
SAVED = ('overlay', 'labels', 'probabilities')


def check_form(kind: str, precision: str, output: str, has_size: bool) -> None:
    """Check that a format exists in some form.

    Args:
        kind: The format, a key of `SUFFIXES`.
        precision: 'fp32', 'bf16', ...
        output: 'labels', 'logits' or 'probabilities'.
        has_size: Whether the size of frames is given.

    Raises:
        ValueError: It does not.
    """
    if precision not in PRECISIONS[kind]:
        known = ', '.join(PRECISIONS[kind])
        raise ValueError(f'{kind} is written in {known}, not in {precision}.')
    if output not in OUTPUTS[kind]:
        known = ' or '.join(OUTPUTS[kind])
        raise ValueError(f'{kind} files give {known}, not {output}.')
    if kind in FIXED and not has_size:
        raise ValueError(f'{kind} files are for one size of frames: give --size H W.')
