"""Build a pipeline, and load a random window as one step where that is the same."""

from collections.abc import Callable, Mapping, Sequence

from mmengine.registry import DefaultScope

from mmseg_fastscnn.datasets.decoding import BACKENDS
from mmseg_fastscnn.registry import SCOPE, TRANSFORMS

LOCAL = (None, {}, dict(backend='local'), dict(backend='disk'))
STEPS = ('LoadImageFromFile', 'LoadAnnotations', 'RandomResize', 'RandomCrop')
# Values of the loading steps' options with which they do the same as by default.
LIKE_DEFAULT = {
    'to_float32': (False,),
    'color_type': ('color', 'color_ignore_orientation'),
    'ignore_empty': (False,),
    'backend_args': LOCAL,
    'file_client_args': LOCAL,
}


def build_steps(
    pipeline: Sequence, reduce_zero_label: bool = False, fuse: bool = True
) -> list[Callable[[dict], dict]]:
    """Build the steps of a pipeline, also where no default scope is set.

    Args:
        pipeline: Configs of the steps, or steps.
        reduce_zero_label: See `join_loading_steps`.
        fuse: Whether loading steps are joined.

    Raises:
        ValueError: A step is text, as the command line gives it.
    """
    text = [step for step in pipeline if isinstance(step, str)]
    if text:
        raise ValueError(
            f'The pipeline has the step {text[0]!r}, which is text; a step is a dict '
            f'with a type. --cfg-options takes no dicts inside of lists: write the '
            f'pipeline in a config file, or set single values of its steps, as in '
            f'train_dataloader.dataset.pipeline.0.color_type=grayscale.'
        )
    if fuse:
        pipeline = join_loading_steps(pipeline, reduce_zero_label)
    with DefaultScope.overwrite_default_scope(SCOPE):  # for steps inside of steps
        return [s if callable(s) else TRANSFORMS.build(s) for s in pipeline]


def join_loading_steps(pipeline: Sequence, reduce_zero_label: bool = False) -> list:
    """Put `LoadRandomCrop` in the place of the four steps where they begin a pipeline.

    A pipeline that begins otherwise, or whose steps have other options, is left alone.

    Args:
        pipeline: Configs of the steps, or steps.
        reduce_zero_label: The data set's own setting, which `LoadAnnotations` may
            repeat.
    """
    pipeline = list(pipeline)
    steps = [dict(step) for step in pipeline[:4] if isinstance(step, Mapping)]
    if tuple(step.pop('type', None) for step in steps) != STEPS:
        return pipeline
    image, label, resize, crop = steps
    label_values = dict(
        LIKE_DEFAULT,
        imdecode_backend=BACKENDS,
        reduce_zero_label=(None, reduce_zero_label),
    )
    fits = (
        are_like_default(image, dict(LIKE_DEFAULT, imdecode_backend=('cv2',)))
        and are_like_default(label, label_values)
        and resize.pop('keep_ratio', False) is True
        and resize.pop('resize_type', 'Resize') == 'Resize'
        and resize.keys() == {'scale', 'ratio_range'}
        and not isinstance(resize['scale'][0], Sequence)
    )
    if not fits:
        return pipeline
    return [dict(type='LoadRandomCrop', **resize, **crop), *pipeline[4:]]


def are_like_default(options: Mapping, values: Mapping[str, Sequence]) -> bool:
    """Whether each option has one of the values that change nothing."""
    return all(value in values.get(key, ()) for key, value in options.items())
