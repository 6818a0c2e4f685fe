"""From a checkpoint of other classes: take over what means the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.hooks import Hook
from torch import Tensor, nn

from mmseg_fastscnn.registry import DATASETS, HOOKS


@dataclass
class ClassReport:
    """Which classes started from which of the checkpoint's, by name."""

    copied: dict[str, str] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        copied = [
            new if new == old else f'{new} (from {old})'
            for new, old in self.copied.items()
        ]
        groups = {
            'Classes taken over': copied,
            'starting fresh': self.fresh,
            'of the checkpoint, not used': self.unused,
        }
        return '; '.join(
            f'{what} ({len(names)}): {", ".join(names)}'
            for what, names in groups.items()
            if names
        )


def match_classes(
    new: Sequence[str], old: Sequence[str], aliases: Mapping[str, str]
) -> ClassReport:
    """Find for each new class the old one of the same name, or of its alias.

    Raises:
        ValueError: An alias is of no new class, or names no old one.
    """
    for name, alias in aliases.items():
        if name not in new or alias not in old:
            known = new if name not in new else old
            raise ValueError(
                f'class_aliases has {name!r}: {alias!r}, but '
                f'{name if name not in new else alias!r} is none of {list(known)}.'
            )
    report = ClassReport()
    for name in new:
        source = aliases.get(name, name)
        if source in old:
            report.copied[name] = source
        else:
            report.fresh.append(name)
    taken = set(report.copied.values())
    report.unused = [name for name in old if name not in taken]
    return report


def carry_over_classes(
    model: nn.Module,
    state_dict: Mapping[str, Tensor],
    new: Sequence[str],
    old: Sequence[str],
    aliases: Mapping[str, str],
) -> tuple[dict[str, Tensor], ClassReport]:
    """Fit the rows of every head's classifier to the model's classes.

    Args:
        model: Gives the rows of classes that start fresh.
        state_dict: The checkpoint's tensors.
        new: The model's classes.
        old: The checkpoint's classes.
        aliases: new class -> the old class that means the same.

    Returns:
        The tensors, with classifiers of the model's shape, and what was done.
    """
    report = match_classes(new, old, aliases)
    rows = [new.index(name) for name in report.copied]
    sources = [old.index(name) for name in report.copied.values()]
    result = dict(state_dict)
    for name, fresh in model.state_dict().items():
        stored = state_dict.get(name)
        if '.conv_seg.' in name and stored is not None and len(stored) == len(old):
            merged = fresh.clone()
            merged[rows] = stored[sources].to(merged)
            result[name] = merged
    return result, report


def inflate_first_convolution(
    model: nn.Module, state_dict: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Fit the first convolution to the model's number of input channels.

    Channels repeat (the 4th reads like the 1st, ...), scaled so that inputs of the same
    strength give outputs of the same strength.
    """
    result = dict(state_dict)
    wanted = model.backbone.first_conv.weight
    name = next(name for name, value in model.named_parameters() if value is wanted)
    stored = state_dict.get(name)
    if stored is not None and stored.shape[1] != wanted.shape[1]:
        have, need = stored.shape[1], wanted.shape[1]
        channels = [k % have for k in range(need)]
        result[name] = stored[:, channels] * (have / need)
    return result


def read_classes(source: str) -> list[str]:
    """Class names for `--classes-from`: a data set's type, or a text file's lines.

    Raises:
        ValueError: It is neither.
    """
    if Path(source).is_file():
        lines = Path(source).read_text(encoding='utf-8').splitlines()
        return [line.strip() for line in lines if line.strip()]
    dataset = DATASETS.get(source)
    if dataset is None or not getattr(dataset, 'METAINFO', {}).get('classes'):
        raise ValueError(
            f'--classes-from {source}: neither a text file with a class name a line '
            f'nor a data set that has classes, such as CityscapesDataset.'
        )
    return list(dataset.METAINFO['classes'])


@HOOKS.register_module()
class FreezeBackboneHook(Hook):
    """Train only the heads for the first iterations, so that fresh ones settle.

    The backbone's gradients are dropped before each step and its normalisation uses,
    and keeps, the checkpoint's statistics.

    Args:
        iterations: How many.
    """

    def __init__(self, iterations: int):
        self.iterations = iterations
        self.handle = None

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        backbone = getattr(runner.model, 'module', runner.model).backbone
        if runner.iter < self.iterations:
            backbone.eval()
            if self.handle is None:
                optimizer = runner.optim_wrapper.optimizer
                self.handle = optimizer.register_step_pre_hook(
                    lambda *_: backbone.zero_grad(set_to_none=True)
                )
                runner.logger.info(
                    'The backbone is frozen until iteration %d.', self.iterations
                )
        elif self.handle is not None:
            self.handle.remove()
            self.handle = None
            runner.logger.info('The backbone is trained from here on.')
