"""Load a file's tensors into a model, with a report of what was loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.logging import MMLogger
from mmengine.model import ModuleList
from torch import Tensor, nn

from mmseg_fastscnn.checkpoint.classes import carry_over_classes
from mmseg_fastscnn.checkpoint.files import read_checkpoint
from mmseg_fastscnn.registry import WEIGHT_INITIALIZERS

CLASSIFIER = 'decode_head.conv_seg.weight'


@dataclass
class LoadReport:
    """What `load_weights` did, as names of tensors.

    Attributes:
        loaded: In the file and in the model.
        missing: In the model alone.
        unexpected: In the file alone.
        other_shape: In both, but of different shapes.
    """

    loaded: list[str]
    missing: list[str]
    unexpected: list[str]
    other_shape: list[str]

    def __str__(self) -> str:
        def some(names: list[str]) -> str:
            return ', '.join(names[:4]) + (', ...' if len(names) > 4 else '')

        lines = [f'{len(self.loaded)} tensors loaded']
        for names, what in [
            (self.missing, 'are not in the file and start fresh'),
            (self.other_shape, 'have another shape in the file and start fresh'),
            (self.unexpected, 'of the file are not in the model and are left out'),
        ]:
            if names:
                lines.append(f'{len(names)} {what}: {some(names)}')
        return '; '.join(lines)


def load_weights(
    model: nn.Module,
    state_dict: Mapping[str, Tensor],
    strict: bool,
    name: str | Path = 'The checkpoint',
) -> LoadReport:
    """Copy each tensor into the model's tensor of the same name and shape.

    Args:
        model: The segmentor, or its backbone alone.
        state_dict: The file's tensors.
        strict: Whether to refuse a file that does not fill the whole model.
        name: The file, for error messages.

    Raises:
        ValueError: The file has less than half of the backbone, and so is of another
            network; or `strict`, and it does not have all of the model; or a tensor has
            integers in place of weights.
    """
    wanted = model.state_dict()
    both = [key for key in wanted if key in state_dict]
    report = LoadReport(
        loaded=[k for k in both if state_dict[k].shape == wanted[k].shape],
        missing=[k for k in wanted if k not in state_dict],
        unexpected=[k for k in state_dict if k not in wanted],
        other_shape=[k for k in both if state_dict[k].shape != wanted[k].shape],
    )
    # without that prefix the model is itself a backbone
    prefix = 'backbone.' if any(key.startswith('backbone.') for key in wanted) else ''
    needed = sum(key.startswith(prefix) for key in wanted)
    found = sum(key.startswith(prefix) for key in report.loaded)
    if found < needed / 2:
        raise ValueError(
            f'{name}: only {found} of the {needed} tensors of the backbone are in it; '
            f'it is of another network. {report}.'
        )
    if strict and (report.missing or report.other_shape):
        raise ValueError(f'{name}: {does_not_fill(report, wanted, state_dict)}')
    for key in report.loaded:
        if state_dict[key].is_floating_point() != wanted[key].is_floating_point():
            raise ValueError(
                f'{name}: {key} is {state_dict[key].dtype}, where the model has '
                f'{wanted[key].dtype}. The file is damaged, or of another network.'
            )
    model.load_state_dict({k: state_dict[k] for k in report.loaded}, strict=False)
    return report


def leave_out_absent_heads(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Remove a model's auxiliary heads, which only add losses, if a file has none.

    Args:
        model: The segmentor, which shall predict.
        state_dict: The file's tensors; `publish_model --small` leaves those heads out.
    """
    absent = not any(key.startswith('auxiliary_head.') for key in state_dict)
    if absent and hasattr(model, 'auxiliary_head'):  # a user's model may have no such
        model.auxiliary_head = ModuleList()


def does_not_fill(
    report: LoadReport, wanted: Mapping[str, Tensor], state_dict: Mapping[str, Tensor]
) -> str:
    """Say what a checkpoint lacks of the model, and what to do."""
    if CLASSIFIER in report.other_shape:
        there, here = (len(state[CLASSIFIER]) for state in (state_dict, wanted))
        return (
            f'It does not fill the model: it has {there} classes, and the model '
            f'{here}. Give the config that it was trained with. What training wrote '
            f'holds that, so the config can be left out.'
        )
    shapes = [
        f'{name} {list(state_dict[name].shape)} for {list(wanted[name].shape)}'
        for name in report.other_shape
    ]
    return (
        f'It does not fill the model: missing {report.missing[:3]}, of '
        f'another shape {shapes[:3]}. Was it trained with another config (classes, '
        f'heads)? Training can start from what fits: --load-from.'
    )


@WEIGHT_INITIALIZERS.register_module(name='Pretrained')
class PretrainedInit:
    """Initialise a module from a checkpoint: `init_cfg=dict(type='Pretrained', ...)`.

    Args:
        checkpoint: The file, of any kind that `read_checkpoint` knows.
        prefix: Only tensors whose names begin with it are taken, without it. For
            instance 'backbone.'.
    """

    def __init__(self, checkpoint: str, prefix: str = ''):
        self.checkpoint = checkpoint
        self.prefix = prefix

    def __call__(self, module: nn.Module) -> None:
        state_dict = {
            name.removeprefix(self.prefix): value
            for name, value in read_checkpoint(self.checkpoint)['state_dict'].items()
            if name.startswith(self.prefix)
        }
        report = load_weights(module, state_dict, False, self.checkpoint)
        logger = MMLogger.get_current_instance()
        logger.info('%s, into %s: %s.', self.checkpoint, type(module).__name__, report)


def fitted_to_task(
    model: nn.Module,
    checkpoint: Mapping,
    new: Sequence[str],
    old: Sequence[str] | None = None,
    aliases: Mapping[str, str] | None = None,
) -> tuple[dict[str, Tensor], str]:
    """Fit the classifiers and the first convolution of a checkpoint to a model.

    Args:
        model: The segmentor.
        checkpoint: What `read_checkpoint` returned.
        new: The model's classes.
        old: The checkpoint's classes; by default those that it names.
        aliases: See `carry_over_classes`.

    Returns:
        The tensors, and what was done about other classes, in words.
    """
    old = old or (checkpoint['meta'].get('dataset_meta') or {}).get('classes')
    state_dict, done = checkpoint['state_dict'], ''
    if old is None:
        done = (
            'The checkpoint names no classes, so they cannot be carried over by '
            'name; --classes-from says which it has.'
        )
    elif list(old) != list(new):
        state_dict, report = carry_over_classes(
            model, state_dict, list(new), list(old), aliases or {}
        )
        done = f'{report}.'
    return inflate_first_convolution(model, state_dict), done


def inflate_first_convolution(
    model: nn.Module, state_dict: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Fit the first convolution to the model's number of input channels.

    With more channels the weights repeat (the 4th channel gets those of the 1st, ...);
    with fewer the last are left out. They are scaled so that inputs of equal strength
    give outputs of equal strength.
    """
    result = dict(state_dict)
    wanted = model.backbone.first_conv.weight
    name = next(name for name, value in model.named_parameters() if value is wanted)
    stored = state_dict.get(name)
    fits = stored is not None and stored.dim() == 4 and 0 not in stored.shape
    if fits and stored.shape[1] != wanted.shape[1]:
        have, need = stored.shape[1], wanted.shape[1]
        channels = [k % have for k in range(need)]
        result[name] = stored[:, channels] * (have / need)
    return result
