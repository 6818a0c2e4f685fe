"""Files of predictions: label images in raw ids, and pictures."""

from pathlib import Path

import cv2
import numpy as np
from mmengine.hooks import Hook

from mmseg_fastscnn.registry import HOOKS
from mmseg_fastscnn.structures import SegDataSample
from mmseg_fastscnn.visualization import result_panel


@HOOKS.register_module()
class PredictionHook(Hook):
    """Write each tested image's prediction under the image's own relative path.

    Args:
        out_dir: For label PNGs in the data set's raw ids (8-bit, or 16-bit where the
            ids need it).
        show_dir: For pictures: image | truth | prediction, without the truth where
            there are no labels.
        opacity: Of the colours in the pictures, 0 to 1.
    """

    def __init__(
        self,
        out_dir: str | None = None,
        show_dir: str | None = None,
        opacity: float = 0.5,
    ):
        self.out_dir = out_dir
        self.show_dir = show_dir
        self.opacity = opacity
        self.written: set[str] = set()

    def after_test_iter(
        self,
        runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: list[SegDataSample] | None = None,
    ) -> None:
        palette = runner.test_dataloader.dataset.metainfo['palette']
        for sample in outputs:
            pred = sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)
            if sample.rel_path in self.written:
                raise ValueError(
                    f'Two images are named {sample.rel_path}, so one prediction would '
                    f'replace the other. Test the data sets one by one.'
                )
            self.written.add(sample.rel_path)
            if self.out_dir is not None:
                path = Path(self.out_dir, sample.rel_path)
                if path.parent.resolve() == Path(sample.img_path).parent.resolve():
                    raise ValueError(
                        f'--out {self.out_dir} is the folder of the images.'
                    )
                write_png(path, sample.raw_ids[pred])
            if self.show_dir is not None:
                picture = result_panel(sample, palette, self.opacity)
                write_png(Path(self.show_dir, sample.rel_path), picture)


@HOOKS.register_module()
class SegVisualizationHook(Hook):
    """Draw some results of validation and testing, as mmsegmentation's hook does.

    Pictures (image | truth | prediction) go below the log's folder, to
    `vis_data/vis_image`.

    Args:
        draw: Whether to draw at all.
        interval: Draw every so many batches.
    """

    def __init__(self, draw: bool = False, interval: int = 50):
        self.draw = draw
        self.interval = interval

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        palette = runner.val_dataloader.dataset.metainfo['palette']
        self._draw(runner, batch_idx, outputs, palette, f'val_{runner.iter}')

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        palette = runner.test_dataloader.dataset.metainfo['palette']
        self._draw(runner, batch_idx, outputs, palette, 'test')

    def _draw(self, runner, batch_idx, outputs, palette, stage) -> None:
        if self.draw and self.every_n_inner_iters(batch_idx, self.interval):
            opacity = getattr(runner.visualizer, 'alpha', 0.5)
            folder = Path(runner.log_dir, 'vis_data/vis_image', stage)
            for sample in outputs:
                picture = result_panel(sample, palette, opacity)
                write_png(folder / sample.rel_path, picture)


def write_png(path: Path, image: np.ndarray) -> None:
    """Write a PNG, its suffix in place of any other, making folders as needed."""
    path = path.with_suffix('.png')
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image):
        raise OSError(f'{path} could not be written; is the disk full?')
