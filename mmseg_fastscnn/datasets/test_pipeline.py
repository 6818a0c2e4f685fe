"""Test pipelines: the step of ms+flip, and the steps that do not belong there."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mmcv.transforms import TestTimeAug as TestTimeAugOfMMCV

from mmseg_fastscnn.datasets.loading import LoadAnnotations
from mmseg_fastscnn.registry import TRANSFORMS

# Prediction cannot undo what these do, or they change colours at random.
TRAINING_ONLY = frozenset(
    {
        'CenterCrop',
        'LoadRandomCrop',
        'PhotoMetricDistortion',
        'RandomCrop',
        'RandomCutOut',
        'RandomRotate',
    }
)
RESIZING = frozenset({'RandomChoiceResize', 'RandomResize', 'Resize'})


@TRANSFORMS.register_module()
class TestTimeAug(TestTimeAugOfMMCV):
    """mmcv's TestTimeAug, which loads the label for the first view alone.

    `SegTTAModel` merges the views into the first one's sample, so that the others need
    no label: with 6 scales and flips, one label is decoded and not twelve.

    Args:
        transforms: One list per stage; a view is made by one step of each.
    """

    def __init__(self, transforms: Sequence[Sequence]):
        # mmcv puts the steps that it builds into the lists, which are the config's
        super().__init__([list(steps) for steps in transforms])
        for view in self.subroutines[1:]:
            steps = view.transforms
            view.transforms = [s for s in steps if not isinstance(s, LoadAnnotations)]


def training_steps(pipeline: Iterable) -> list[str]:
    """Return the types in a pipeline's config that only training may have."""
    return [name for name, _ in typed_steps(pipeline) if name in TRAINING_ONLY]


def label_is_flipped(pipeline: Iterable) -> str | None:
    """Return the first step that flips a loaded label, if one does.

    The prediction of a flipped image is flipped back, and its label is not.
    """
    return first_after(first_view(pipeline), {'LoadAnnotations'}, {'RandomFlip'})


def resized_after_padding(pipeline: Iterable) -> str | None:
    """Return the first step that resizes a padded image, if one does.

    Prediction cuts off `Pad`'s pixels as they were added, so `Pad` comes last.
    """
    return first_after(pipeline, {'Pad'}, RESIZING)


def first_view(pipeline: Iterable) -> Iterator:
    """Yield the steps; of ms+flip only the first view's, whose label is used."""
    for step in pipeline:
        if isinstance(step, Mapping) and step.get('type') == 'TestTimeAug':
            step = dict(step, transforms=[steps[:1] for steps in step['transforms']])
        yield step


def first_after(
    pipeline: Iterable, first: Iterable[str], then: Iterable[str]
) -> str | None:
    """Return the first type in `then` that comes after one in `first`."""
    is_after = False
    for name, step in typed_steps(pipeline):
        if is_after and name in then and step.get('prob') != 0:
            return name
        is_after = is_after or name in first
    return None


def typed_steps(pipeline: Iterable) -> Iterator[tuple[str, Mapping]]:
    """Yield type and config of all steps, also of those inside of others, in order."""
    for step in pipeline:
        if isinstance(step, list | tuple):
            yield from typed_steps(step)
        elif isinstance(step, Mapping):
            yield step.get('type'), step
            inner = step.get('transforms', ())
            if step.get('type') != 'Albu':  # whose steps are albumentations'
                yield from typed_steps([inner])
