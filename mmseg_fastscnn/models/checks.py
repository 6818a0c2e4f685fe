"""Settings that must fit each other, and images that are refused."""

from collections.abc import Mapping, Sequence
from typing import NoReturn, TypedDict

from torch import Tensor

from mmseg_fastscnn.structures import IGNORED


def check_channels(name: str, value: int, source: str, expected: int) -> None:
    """Raise ValueError if two settings of one feature map's channels differ."""
    if value != expected:
        raise ValueError(
            f'{name}_channels={value} but {source}_channels={expected}: the fusion '
            f'reads that map, so give both the same value.'
        )


def check_stages(name: str, values: Sequence[int]) -> None:
    """Raise ValueError if a setting has not one value for each of three stages."""
    if len(values) != 3:
        raise ValueError(
            f'{name}={values} has {len(values)} values; Fast-SCNN has three stages of '
            f'bottlenecks, so give three.'
        )


def refuse_small(image: Tensor, least: int) -> NoReturn:
    """Raise ValueError for images (N, C, H, W) with a side under `least` pixels."""
    raise ValueError(
        f'The image is {image.shape[2]}x{image.shape[3]} (h x w); Fast-SCNN needs at '
        f'least {least} pixels each way. Resize or pad it.'
    )


def checked_channels(
    owner: str, num_classes: int | None, out_channels: int | None
) -> int:
    """Return the number of channels that predict so many classes.

    Args:
        owner: What an error calls the head.
        num_classes: Number of classes.
        out_channels: Number of channels; by default one per class.

    Raises:
        ValueError: There are no classes, too many, or another number of channels.
    """
    if num_classes is None:
        raise ValueError(
            f'{owner} has no num_classes. Give it once for all heads, '
            f'model=dict(num_classes=N), or on the head.'
        )
    if not 0 < num_classes <= IGNORED:
        raise ValueError(
            f'{owner} has num_classes={num_classes}; it must be 1 to {IGNORED}, as '
            f'label maps have 8 bits and {IGNORED} stands for ignored pixels. Merge '
            f'classes, in label_map and metainfo.'
        )
    if out_channels not in (None, num_classes) and (out_channels, num_classes) != (
        1,
        2,
    ):
        raise ValueError(
            f'{owner} has out_channels={out_channels} and num_classes={num_classes}. '
            f'Remove out_channels for one channel per class; out_channels=1 is for '
            f'num_classes=2.'
        )
    return out_channels or num_classes


def checked_threshold(threshold: float | None, single_channel: bool) -> float | None:
    """Return the threshold of a single channel, by default 0.3; else None."""
    if not single_channel and threshold is not None:
        raise ValueError(
            f'threshold={threshold} is for out_channels=1; with one channel per class '
            f'the best one wins. Set out_channels=1, or remove threshold.'
        )
    if threshold is not None and not 0 < threshold < 1:
        raise ValueError(f'threshold is {threshold}; it is a probability in (0, 1).')
    return 0.3 if single_channel and threshold is None else threshold


class TestPadding(TypedDict, total=False):
    """The config check reads the keys of `data_preprocessor.test_cfg` here."""

    size: Sequence[int]
    size_divisor: int


def check_mean_and_std(
    mean: Sequence[float] | None, std: Sequence[float] | None
) -> None:
    """Raise ValueError if they are not both given, or not as many of each."""
    if (mean is None) != (std is None):
        given, missing = ('std', 'mean') if mean is None else ('mean', 'std')
        raise ValueError(
            f'The data preprocessor has {given} but no {missing}. Give both, or '
            f'neither for no normalisation.'
        )
    if mean is not None and len(mean) != len(std):
        raise ValueError(
            f'The data preprocessor has {len(mean)} values of mean and {len(std)} of '
            f'std. Give one of each per channel.'
        )


def check_test_padding(test_cfg: Mapping | None) -> None:
    """Raise ValueError if it is not `size` or `size_divisor` alone."""
    if test_cfg and set(test_cfg) not in ({'size'}, {'size_divisor'}):
        raise ValueError(
            f'data_preprocessor.test_cfg is {dict(test_cfg)}; it must be '
            f'dict(size_divisor=N) or dict(size=(h, w)).'
        )


def refuse_several_sizes(shapes: set[tuple[int, int]]) -> NoReturn:
    """Raise ValueError for images of several sizes (h, w)."""
    raise ValueError(
        f'The images of a batch have different sizes (h, w): {sorted(shapes)}. Use '
        f'batch_size=1, or resize or crop them to one size.'
    )


def refuse_size(image: Tensor, size: tuple[int, int]) -> NoReturn:
    """Raise ValueError for an image (C, H, W) that is larger than `size` (h, w)."""
    raise ValueError(
        f'An image has {tuple(image.shape[1:])} pixels (h, w), more than the size '
        f'{size} that the data preprocessor pads to. Crop to that size, or set '
        f'model.data_preprocessor.size (in training; otherwise test_cfg.size) to the '
        f'size of the images.'
    )


def refuse_unlabelled() -> NoReturn:
    """Raise ValueError for training images without labels."""
    raise ValueError(
        'There are images without labels in the training data. Set '
        'data_prefix.seg_map_path, and have LoadAnnotations in the pipeline.'
    )


def refuse_channels(channels: int, values: int) -> NoReturn:
    """Raise ValueError for images with other channels than there are means."""
    raise ValueError(
        f'The images have {channels} channels, and mean and std of the data '
        f'preprocessor {values} values. Give one value per channel '
        f'(model.data_preprocessor.mean, .std), and model.backbone.in_channels.'
    )


def checked_reduction(reduction: str) -> str:
    """Return how a loss is reduced; raise ValueError if it is no way to do so."""
    if reduction not in ('mean', 'sum', 'none'):
        raise ValueError(
            f"reduction is {reduction!r}; it must be 'mean', 'sum' or 'none'."
        )
    return reduction
