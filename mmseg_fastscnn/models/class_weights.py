"""The class weights of a loss: given, read from a file, or counted at the start."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn


class ClassWeights(nn.Module):
    """One factor per class, on the device of the loss that it belongs to.

    Args:
        given: The factors; or a file of them (.npy or .json, a list of numbers); or
            the name of a form that `ClassWeightHook` computes from the training data
            when training starts ('auto', 'enet', 'median_frequency', 'fourth_root');
            or None.

    Attributes:
        form: That name, until the factors are set; else None.

    Raises:
        ValueError: The file is of another kind or does not hold a list of numbers.
    """

    def __init__(self, given: Sequence[float] | str | None = None):
        super().__init__()
        self.form: str | None = None
        # Not in checkpoints: these have the names of mmsegmentation's, and a run that
        # is resumed counts the same data again.
        self.register_buffer('table', None, persistent=False)
        if isinstance(given, str) and '.' not in given:
            self.form = given
        elif given is not None:
            self.set(read_weights(given) if isinstance(given, str) else given)

    def set(self, factors: Sequence[float] | Tensor) -> None:
        self.form = None
        self.table = torch.as_tensor(factors, dtype=torch.float32)

    def forward(self, logits: Tensor) -> Tensor | None:
        """Return the factors (C,) beside logits (N, C, H, W); None without any.

        With one channel, the factor of the positive class: the only one given, or the
        ratio of the two classes' factors.

        Raises:
            ValueError: There is not one factor per class.
            RuntimeError: They are still to be computed from the training data.
        """
        if self.form is not None:
            raise RuntimeError(
                f'class_weight={self.form!r} is computed when training starts, by '
                f'ClassWeightHook, which has not run. Train with that hook in '
                f'custom_hooks, or give the weights as a list.'
            )
        if self.table is None:
            return None
        table, channels = self.table.to(logits.device, torch.float32), logits.shape[1]
        if channels == 1 and len(table) == 2:
            return table[1:] / table[:1]
        if len(table) != channels:
            raise ValueError(
                f'class_weight has {len(table)} values for {channels} classes; give '
                f'one value per class.'
            )
        return table


def read_weights(path: str) -> list[float]:
    """Read a list of numbers from a .npy or .json file."""
    suffix = Path(path).suffix
    if suffix not in ('.npy', '.json'):
        raise ValueError(
            f'class_weight={path!r}: class weights are read from .npy and .json files '
            f'only. A pickle can run code when it is loaded; save the list with '
            f'numpy.save or json.dump instead.'
        )
    try:
        if suffix == '.npy':
            weights = np.load(path, allow_pickle=False).tolist()
        else:
            weights = json.loads(Path(path).read_text(encoding='utf-8'))
    except OSError:  # which has the file's name
        raise
    except Exception as error:  # of many kinds, on a damaged file
        raise ValueError(
            f'{path}: cannot be read as a list of numbers ({error}).'
        ) from error
    numbers = isinstance(weights, list) and all(
        isinstance(weight, int | float) for weight in weights
    )
    if not numbers:
        raise ValueError(f'{path}: holds no list of numbers, one per class.')
    return weights
