"""mmsegmentation's `MMSegInferencer` by its call form, on top of `Predictor`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.frames import read_image
from mmseg_fastscnn.deploy.sources import find_sources
from mmseg_fastscnn.pictures import overlay
from mmseg_fastscnn.results import write_picture

Input = str | Path | np.ndarray


class MMSegInferencer:
    """Segment images, and draw, show or save what was found.

    Args:
        model: Config of a checkpoint; or a checkpoint that holds its config, or an
            exported file.
        weights: The checkpoint, if `model` is a config.
        device: 'cpu' or 'cuda'; by default the best there is.
    """

    def __init__(
        self,
        model: str | Path,
        weights: str | Path | None = None,
        device: str | None = None,
    ):
        file, config = (weights, model) if weights else (model, None)
        self.predictor = Predictor(file, config, device=device)
        self.num_pred_imgs = self.num_visualized_imgs = 0

    def __call__(
        self,
        inputs: Input | Sequence[Input],
        return_datasamples: bool = False,
        batch_size: int = 1,
        return_vis: bool = False,
        show: bool = False,
        wait_time: float = 0,
        out_dir: str | Path = '',
        img_out_dir: str = 'vis',
        pred_out_dir: str = 'pred',
        opacity: float = 0.8,
    ) -> dict | object:
        """Segment images.

        Args:
            inputs: A file, a folder, an array (H, W, 3) uint8 BGR, or a list of these.
            return_datasamples: Return `SegDataSample`s instead of a dict.
            batch_size: Has no effect: images are predicted one by one.
            return_vis: Whether to return pictures.
            show: Whether to show pictures in a window.
            wait_time: Seconds that a window waits for a key; 0 for ever.
            out_dir: Folder of what is saved; by default nothing is.
            img_out_dir: Folder of the pictures in it; '' for none.
            pred_out_dir: Folder of the label maps in it; '' for none.
            opacity: Opacity of the colours, 0 to 1.

        Returns:
            `predictions` (H, W) uint8 and `visualization` (H, W, 3) uint8 RGB (empty
            if it was not asked for): of several inputs lists, of one input itself.

        Raises:
            ValueError: An image cannot be read or predicted, or a file that is not a
                result would be replaced.
        """
        labels, pictures = [], []
        pictures_dir = Path(out_dir, img_out_dir) if out_dir and img_out_dir else None
        labels_dir = Path(out_dir, pred_out_dir) if out_dir and pred_out_dir else None
        for image, name in self._images(inputs):
            labels.append(self.predictor(image))
            if labels_dir:
                file = f'{self.num_pred_imgs:08}_pred.png'
                write_picture(labels_dir / file, labels[-1])
            self.num_pred_imgs += 1
            if not (show or return_vis or pictures_dir):
                continue
            picture = overlay(image, labels[-1], self.predictor.palette, opacity)
            if pictures_dir:
                write_picture(pictures_dir / name, picture)
            if return_vis:
                pictures.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
            self.num_visualized_imgs += 1
            if show:
                cv2.imshow(name, picture)
                cv2.waitKey(int(1000 * wait_time))
        if return_datasamples:
            samples = [as_sample(one) for one in labels]
            return samples[0] if len(samples) == 1 else samples
        if len(labels) == 1:
            return dict(
                predictions=labels[0], visualization=pictures[0] if pictures else []
            )
        return dict(predictions=labels, visualization=pictures)

    def _images(self, inputs: Input | Sequence[Input]) -> Iterator[tuple]:
        """Yield each image and the name of its picture."""
        several = not isinstance(inputs, str | Path | np.ndarray)
        for item in inputs if several else [inputs]:
            if isinstance(item, np.ndarray):
                yield item, f'{self.num_visualized_imgs:08}_vis.jpg'
                continue
            for source in find_sources(item, print):
                image = read_image(source.place, self.predictor.description.channels)
                if isinstance(image, str):
                    raise ValueError(f'{source.place} {image}.')
                is_jpeg = Path(source.place).suffix.lower() in ('.jpg', '.jpeg')
                yield image, f'{source.name.name}.{"jpg" if is_jpeg else "png"}'


def as_sample(labels: np.ndarray) -> object:
    """Return a label map as a `SegDataSample`."""
    import torch
    from mmengine.structures import PixelData

    from mmseg_fastscnn.structures import SegDataSample

    sample = SegDataSample()
    sample.pred_sem_seg = PixelData(data=torch.from_numpy(labels)[None])
    return sample
