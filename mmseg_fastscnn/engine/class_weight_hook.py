"""Compute the class weights of losses from the training data."""

import numpy as np
import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.hooks import Hook

from mmseg_fastscnn.cores import cores_per_process
from mmseg_fastscnn.datasets.class_weights import (
    balanced_weights,
    check_form,
    class_pixel_counts,
)
from mmseg_fastscnn.models.class_weights import ClassWeights
from mmseg_fastscnn.registry import HOOKS


@HOOKS.register_module()
class ClassWeightHook(Hook):
    """Set the weights of losses with `class_weight='auto'` when training starts.

    The pixels of all training labels are counted, each process counting its share, and
    the weights are logged. A resumed run counts again.
    """

    priority = 'HIGH'  # before EMAHook copies the model

    def before_run(self, runner) -> None:
        """Count the classes and set the weights, if a training's loss waits for them.

        Raises:
            ValueError: `class_weight` names no form, or a label is missing.
        """
        waiting = [
            part
            for part in runner.model.modules()
            if isinstance(part, ClassWeights) and part.form is not None
        ]
        if not waiting or not runner.trains:
            return
        for part in waiting:
            check_form(part.form)
        dataset = runner.train_dataloader.dataset
        runner.logger.info(
            'Counting the pixels of each class in the labels of the training data ...'
        )
        counts = torch.from_numpy(
            class_pixel_counts(
                dataset, get_rank(), get_world_size(), cores_per_process()
            )
        )
        all_reduce(counts)
        device = next(runner.model.parameters()).device
        for form in sorted({part.form for part in waiting}):
            weights = balanced_weights(counts.numpy(), form)
            table = format_weights(dataset.metainfo['classes'], counts[0], weights)
            runner.logger.info('class_weight=%r:\n%s', form, table)
            for part in waiting:
                if part.form == form:
                    part.set(torch.as_tensor(weights, device=device))


def format_weights(
    classes: list[str], pixels: torch.Tensor, weights: np.ndarray
) -> str:
    """Return one line per class: its name, its share of the pixels, its weight."""
    width = max(map(len, classes))
    shares = (100 * pixels.double() / pixels.sum().clamp(min=1)).tolist()
    return '\n'.join(
        f'  {name:<{width}}  {share:7.3f} %  {weight:8.3f}'
        for name, share, weight in zip(classes, shares, weights, strict=True)
    )
