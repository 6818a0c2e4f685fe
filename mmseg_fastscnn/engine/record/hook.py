"""A hook that records what each validation finds, from its only forward pass.

It reads what validation computes anyway, and changes nothing: neither predictions and
scores, nor random numbers, nor the model that is trained.
"""

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from torch import Tensor

from mmseg_fastscnn.engine.record.calibration import calibration
from mmseg_fastscnn.engine.record.facts import start_facts
from mmseg_fastscnn.engine.record.files import Arrays, add_validation, begin_record
from mmseg_fastscnn.engine.record.image_scores import (
    boundary_counts,
    class_iou,
    count_each_image,
    image_iou,
)
from mmseg_fastscnn.engine.record.losses import (
    AtLogits,
    LogitsKept,
    has_sigmoid,
    losses_of,
    some_pixels,
)
from mmseg_fastscnn.engine.record.pictures import (
    SHOWN,
    WORST,
    Result,
    as_arrays,
    small_jpeg,
    smaller,
    worst_of,
)
from mmseg_fastscnn.evaluation import IoUMetric
from mmseg_fastscnn.evaluation_report import numbers_in, without_nan
from mmseg_fastscnn.memory import peak_memory
from mmseg_fastscnn.models.decode_heads import FCNHead
from mmseg_fastscnn.models.prediction import BaseSegmentor
from mmseg_fastscnn.structures import SegDataSample

TOGETHER = 32  # images whose results are read from the device together
PIXELS = 12_000  # over all images, for the calibration


class Found(NamedTuple):
    """What one process found in a validation."""

    outlines: np.ndarray
    losses: dict[str, float]  # sums over images
    images: int  # with labels
    pixels: AtLogits | None
    worst: list[Result]
    shown: list[Result]


class ValidationRecordHook(Hook):
    """Record losses, scores per class and image, outlines, calibration and pictures.

    The files are described in `files.py`. One that cannot be written is a warning:
    training goes on without it.
    """

    priority = 'LOWEST'  # after InferenceFormHook has made the copy that validates

    def __init__(self):
        # most of the worst images are the worst ones of the next validation, too: room
        # for those of two
        self.small_jpeg = lru_cache(2 * (WORST + SHOWN))(small_jpeg)
        self.metric: IoUMetric | None = None

    def before_train(self, runner) -> None:
        if is_main_process():
            self._write(runner, begin_record, start_facts(runner), runner.resumes)

    def before_val_epoch(self, runner) -> None:
        metric = count_each_image(runner.val_evaluator)
        if not runner.trains or metric is None:
            return
        self.began = time.time()
        self.metric = metric
        self.logits = None
        self.head = getattr(runner.model, 'decode_head', None)
        if isinstance(runner.model, BaseSegmentor) and isinstance(self.head, FCNHead):
            self.logits = LogitsKept(runner.model)
        loader = runner.val_dataloader
        self.per_image = -(-PIXELS // len(loader.dataset))
        self.fixed = {len(loader) * k // SHOWN for k in range(SHOWN)}
        self.outlines = np.zeros((3, len(metric.dataset_meta['classes'])), np.int64)
        self.losses: list[dict[str, Tensor]] = []
        self.pixels: list[AtLogits] = []
        self.waiting: list[tuple] = []
        self.worst: list[Result] = []
        self.shown: list[Result] = []

    def before_val_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if self.metric is not None and self.logits is not None:
            self.logits.kept.clear()

    def after_val_iter(
        self,
        runner,
        batch_idx: int,
        data_batch=None,
        outputs: Sequence[SegDataSample] = (),
    ) -> None:
        if self.metric is None:
            return
        for image in self.logits.take(outputs) if self.logits else ():
            self.losses.append(losses_of(self.head, image))
            self.pixels.append(some_pixels(image, self.head, self.per_image))
        is_fixed = batch_idx in self.fixed
        for sample in outputs:
            counts = self.metric.of_images.get(sample.get('rel_path'))
            if counts is not None:
                step = smaller(sample.pred_sem_seg.data.shape[1:])
                maps = (
                    part.data[0, ::step, ::step].clone()
                    for part in (sample.gt_sem_seg, sample.pred_sem_seg)
                )
                about = (sample.rel_path, sample.get('img_path'))
                self.waiting.append((about, counts, *maps, is_fixed))
                is_fixed = False  # one per batch
        if len(self.waiting) >= TOGETHER:
            self._read()

    def _read(self) -> None:
        """Read the results that are waiting on the device."""
        results = []
        for (name, file), *tensors, is_fixed in self.waiting:
            counts, label, pred = (part.cpu().numpy() for part in tensors)
            self.outlines += boundary_counts(label, pred, counts.shape[1])
            results.append(Result(name, file, image_iou(counts), label, pred))
            self.shown += results[-1:] if is_fixed else []
        self.worst = worst_of([*self.worst, *results])
        self.waiting.clear()

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        if self.metric is None:
            return
        self._read()
        parts = all_gather_object(self._found())
        if is_main_process():
            line = self._line(runner, parts, metrics or {})
            runner.visualizer.add_scalars(scalars_of(line), step=runner.iter)
            pictures = self._pictures(runner, parts)
            self._write(runner, add_validation, line, self._counts(), pictures)
        self.metric = None

    def _found(self) -> Found:
        sums = {
            name: float(torch.stack([one[name] for one in self.losses]).sum())
            for name in (self.losses[0] if self.losses else ())
        }
        columns = [torch.cat(part).cpu() for part in zip(*self.pixels, strict=True)]
        return Found(
            self.outlines,
            sums,
            len(self.losses),
            AtLogits(*columns) if columns else None,
            self.worst,
            self.shown,
        )

    def _line(self, runner, parts: list[Found], metrics: dict) -> dict:
        """Return what is recorded of this validation besides arrays."""
        metric = self.metric
        outlines = class_iou(sum(part.outlines for part in parts))
        images = sum(part.images for part in parts)
        losses = {
            name: sum(part.losses.get(name, 0) for part in parts) / images
            for name in next((part.losses for part in parts if part.losses), ())
        }
        classes = metric.dataset_meta['classes']
        return dict(
            iter=runner.iter,
            length=runner.max_iters,  # which --minutes changes
            time=time.time(),
            epoch=runner.epoch,
            seconds=time.time() - self.began,
            images=metric.num_images,
            scores=without_nan(numbers_in(metrics)),
            losses=losses,
            per_class={k: without_nan(row) for k, row in metric.per_class.items()},
            boundary_iou=without_nan(dict(zip(classes, outlines, strict=True))),
            calibration=self._calibration(parts),
            memory=dict(process=peak_memory()),
        )

    def _counts(self) -> Arrays:
        matrix, of_images = self.metric.confusion.numpy(), self.metric.image_counts
        counts = np.array(list(of_images.values()), np.uint32)
        return dict(
            matrix=matrix,
            paths=np.array(list(of_images), np.str_),
            counts=counts.reshape(-1, 3, len(matrix)),  # also where there are none
        )

    def _pictures(self, runner, parts: list[Found]) -> Arrays:
        worst = worst_of(result for part in parts for result in part.worst)
        shown = [result for part in parts for result in part.shown][:SHOWN]
        images = [self._image(runner, result) for result in [*worst, *shown]]
        return {
            **as_arrays('worst', worst, images[: len(worst)]),
            **as_arrays('shown', shown, images[len(worst) :]),
        }

    def _calibration(self, parts: list[Found]) -> dict:
        pixels = [part.pixels for part in parts if part.pixels is not None]
        if not pixels:
            return {}
        logits, label = (torch.cat(column) for column in zip(*pixels, strict=True))
        return calibration(logits, label, has_sigmoid(self.head))

    def _image(self, runner, result: Result) -> bytes:
        try:
            return self.small_jpeg(result.file, result.label.shape[::-1])
        except (OSError, ValueError) as error:
            runner.logger.warning(f'No picture of {result.name}: {error}')
            return b''

    def _write(self, runner, write: Callable, *args) -> None:
        try:
            write(runner.work_dir, *args)
        except (OSError, ValueError) as error:
            runner.logger.warning(
                f'The record of this run is not written ({error}). Training goes on; '
                f'the report will lack it.'
            )


def scalars_of(line: dict) -> dict[str, float]:
    """Return the values that no metric reports, for the run's log."""
    scalars = {f'val/{name}': value for name, value in line['losses'].items()}
    for name, row in line['per_class'].items():
        if row['IoU'] is not None:
            scalars[f'val/IoU/{name}'] = row['IoU']
    return scalars
