"""Hooks that write predictions: label images in raw ids, and pictures."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mmengine.dist import barrier
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.visualization import Visualizer

from mmseg_fastscnn.datasets.parts import infos_of
from mmseg_fastscnn.datasets.picture import read_picture
from mmseg_fastscnn.engine.record.image_scores import iou_of_image
from mmseg_fastscnn.pictures import hatched, overlay, panel, titled, with_legend
from mmseg_fastscnn.registry import HOOKS, VISUALIZERS
from mmseg_fastscnn.results import ResultFolder
from mmseg_fastscnn.structures import SegDataSample


class PredictionHook(Hook):
    """Write each tested image's prediction under the image's own relative path.

    Args:
        out_dir: Folder for label PNGs in the data set's raw ids (8 bits, or 16 where an
            id needs them).
        show_dir: Folder for pictures: image | truth | prediction, without the truth
            where there are no labels.
        opacity: Opacity of the colours in the pictures, 0 to 1.
    """

    def __init__(
        self,
        out_dir: str | None = None,
        show_dir: str | None = None,
        opacity: float = 0.5,
    ):
        self.labels = ResultFolder(out_dir) if out_dir else None
        self.pictures = ResultFolder(show_dir) if show_dir else None
        self.opacity = opacity

    @property
    def folders(self) -> list[ResultFolder]:
        """The folders that are written to."""
        return [folder for folder in (self.labels, self.pictures) if folder]

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        metainfo = runner.test_dataloader.dataset.metainfo
        for sample in outputs:
            if self.labels:
                pred = sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)
                self.labels.write(sample, sample.raw_ids[pred])
            if self.pictures:
                picture = result_panel(sample, metainfo, self.opacity)
                self.pictures.write(sample, picture)


class ResultCheckHook(Hook):
    """Check where all results of a test or validation would go, before the first one.

    Raises:
        ValueError: A result would replace an image, a label, a user's file or another
            result of this run, or leave its folder; nothing is written then.
    """

    priority = 'HIGH'

    def before_test(self, runner) -> None:
        folders = [f for h in runner.hooks for f in getattr(h, 'folders', ())]
        folders += folders_of_metrics(runner.test_evaluator)
        check_results(folders, runner.test_dataloader.dataset)

    def before_val(self, runner) -> None:
        folders = folders_of_metrics(runner.val_evaluator)
        check_results(folders, runner.val_dataloader.dataset)


def folders_of_metrics(evaluator: Evaluator) -> list[ResultFolder]:
    """Return the folders that metrics write predictions to."""
    folders = [getattr(metric, 'folder', None) for metric in evaluator.metrics]
    return [folder for folder in folders if isinstance(folder, ResultFolder)]


def check_results(folders: list[ResultFolder], dataset: object) -> None:
    """Check the results in some folders, see `ResultFolder.check`.

    Those of images that no data set names in advance are checked when they are written.
    """
    claimed: set[Path] = set()
    for folder in folders:
        folder.check(infos_of(dataset), claimed)
    if folders:  # another process must not find a file half written while it checks
        barrier()


@HOOKS.register_module()
class SegVisualizationHook(Hook):
    """Draw some results of validation and testing, as mmsegmentation's hook does.

    Pictures (image | truth | prediction) go to `vis_data/vis_image` in the folder of
    the log.

    Args:
        draw: Whether to draw at all.
        interval: Every how many batches one is drawn.
    """

    def __init__(self, draw: bool = False, interval: int = 50):
        self.draw = draw
        self.interval = interval

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        metainfo = runner.val_dataloader.dataset.metainfo
        self._draw(runner, batch_idx, outputs, metainfo, f'val_{runner.iter}')

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        metainfo = runner.test_dataloader.dataset.metainfo
        self._draw(runner, batch_idx, outputs, metainfo, 'test')

    def _draw(self, runner, batch_idx, outputs, metainfo, stage) -> None:
        if self.draw and self.every_n_inner_iters(batch_idx, self.interval):
            opacity = getattr(runner.visualizer, 'alpha', 0.5)
            folder = Path(runner.log_dir, 'vis_data/vis_image', stage)
            results = ResultFolder(folder)
            for sample in outputs:
                results.write(sample, result_panel(sample, metainfo, opacity))


@VISUALIZERS.register_module()
class SegLocalVisualizer(Visualizer):
    """mmengine's Visualizer with the name and the `alpha` of mmsegmentation's configs.

    Args:
        name: Name of the instance.
        alpha: Opacity of the colours in what `SegVisualizationHook` draws, 0 to 1.
        kwargs: `vis_backends`, `save_dir`.
    """

    def __init__(self, name: str = 'visualizer', alpha: float = 0.8, **kwargs):
        super().__init__(name, **kwargs)
        self.alpha = alpha


def result_panel(
    sample: SegDataSample, metainfo: Mapping, opacity: float
) -> np.ndarray:
    """Draw image | truth | prediction, or without the truth if there is none.

    Each has a title, the prediction's with the image's IoU (see `image_iou`); the
    classes that occur are named below. What is not labelled has stripes.

    Args:
        sample: A predicted sample; its image is read from `img_path`.
        metainfo: The data set's `classes`, and `palette` with (r, g, b) of each.
        opacity: Opacity of the colours, 0 to 1.

    Returns:
        The picture, (H, W, 3) uint8 BGR.
    """
    image = read_picture(sample.img_path)
    pred = sample.pred_sem_seg.data[0].cpu().numpy()
    maps, title = {'prediction': pred}, 'prediction'
    unlabelled = np.zeros(pred.shape, bool)
    if 'gt_sem_seg' in sample:
        truth = sample.gt_sem_seg.data[0].cpu().numpy()
        iou = iou_of_image(truth, pred, len(metainfo['classes']))
        title = 'prediction' if np.isnan(iou) else f'prediction, IoU {iou:.1f} %'
        unlabelled = truth >= len(metainfo['classes'])
        maps = {'truth': truth, title: pred}
    parts = [titled(image, Path(sample.img_path).name)]
    for name, seg_map in maps.items():
        picture = overlay(image, seg_map, metainfo['palette'], opacity)
        if name == 'truth':
            picture = hatched(picture, unlabelled)
        parts.append(titled(picture, name))
    ids = {int(k) for seg_map in maps.values() for k in np.unique(seg_map)}
    known = [k for k in ids if k < len(metainfo['classes'])]
    return with_legend(panel(parts), metainfo, known, bool(unlabelled.any()))
