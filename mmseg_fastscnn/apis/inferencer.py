"""mmsegmentation's `MMSegInferencer`, in its call form, for those who come from it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config

from mmseg_fastscnn.apis.inference import Image, inference_model, show_result_pyplot
from mmseg_fastscnn.apis.loading import init_model
from mmseg_fastscnn.results import ResultFolder, write_png
from mmseg_fastscnn.structures import SegDataSample

PICTURES = ('.jpeg', '.jpg', '.png')  # in which a result can be told from an image


class MMSegInferencer:
    """Predict images, show and save the results.

    Args:
        model: A config, or the path of its file; or a checkpoint that holds its config.
        weights: A checkpoint file; without one and without `model` being one, the
            weights are random.
        device: Device of the model, e.g. 'cuda:1'; by default the best there is.

    Raises:
        FileNotFoundError, ValueError: See `init_model`.
    """

    def __init__(
        self,
        model: str | Path | Config,
        weights: str | Path | None = None,
        device: str | None = None,
    ):
        self.model = init_model(model, weights, device)
        self.count = 0  # images so far: arrays have no names, label maps are numbered

    def __call__(
        self,
        inputs: Image | Sequence[Image],
        return_datasamples: bool = False,
        batch_size: int = 1,
        return_vis: bool = False,
        show: bool = False,
        wait_time: float = 0,
        out_dir: str | Path = '',
        img_out_dir: str = 'vis',
        pred_out_dir: str = 'pred',
        opacity: float = 0.8,
    ) -> dict | SegDataSample | list[SegDataSample]:
        """Predict one image or several.

        Args:
            inputs: A file, an array as for `inference_model`, a list of these, or a
                folder, of which all files are read that do not begin with a dot.
            return_datasamples: Return the samples of `inference_model` instead.
            batch_size: Has no effect, since images are predicted one after the other;
                it is here so that calls written for mmsegmentation work.
            return_vis: Whether to return the pictures.
            show: Whether to show each picture in a window.
            wait_time: Seconds for which it is shown; 0 for until it is closed.
            out_dir: Folder for what is saved; without one nothing is.
            img_out_dir: Folder in it for pictures, named after the image files. Those
                of arrays are `00000000_vis.jpg` and so on, those of files that are
                neither PNG nor JPEG end in `.png`.
            pred_out_dir: Folder in it for the class of each pixel,
                `00000000_pred.png` and so on.
            opacity: Opacity of the colours in the pictures, 0 to 1.

        Returns:
            `predictions`, label maps (H, W) uint8, and `visualization`, pictures
            (H, W, 3) uint8 RGB: one array for one image, lists for several; no pictures
            are an empty list.

        Raises:
            FileNotFoundError: A folder is empty.
            ValueError: An image cannot be read; or a result would replace an image,
                another result of this call, or a file that is not a result. Names are
                checked before the first image is predicted.
        """
        images = listed(inputs)
        places = [None] * len(images)
        if out_dir:
            folders = [Path(out_dir, name) for name in (img_out_dir, pred_out_dir)]
            places = claimed(images, folders, self.count)
        samples, labels, pictures = [], [], []
        for image, place in zip(images, places, strict=True):
            picture_file, label_file = place or (None, None)
            sample = inference_model(self.model, image)
            labels.append(sample.pred_sem_seg.data[0].cpu().numpy())
            samples.append(sample)
            if label_file:
                write_png(label_file, labels[-1])
            if return_vis or show or picture_file:
                options = dict(wait_time=wait_time, out_file=picture_file)
                picture = show_result_pyplot(
                    self.model, image, sample, opacity, show, **options
                )
                if return_vis:
                    pictures.append(picture)
        self.count += len(images)
        if return_datasamples:
            return one_or_all(samples)
        return dict(predictions=one_or_all(labels), visualization=one_or_all(pictures))


def listed(inputs: Image | Sequence[Image]) -> list[Image]:
    """Return the images as a list; of a folder, its files sorted by name."""
    if isinstance(inputs, list | tuple):
        return list(inputs)
    if isinstance(inputs, np.ndarray) or not Path(inputs).is_dir():
        return [inputs]
    files = sorted(p for p in Path(inputs).iterdir() if p.is_file())
    files = [path for path in files if not path.name.startswith('.')]
    if not files:
        raise FileNotFoundError(f'{inputs} has no files.')
    return files


def claimed(
    images: Sequence[Image], folders: Sequence[Path], first: int
) -> list[tuple[Path, Path]]:
    """Return where the picture and the label map of each image go.

    Args:
        images: Files or arrays.
        folders: Of pictures and of label maps.
        first: Number of the first image.

    Raises:
        ValueError: A file must not be written there.
    """
    pictures, labels = map(ResultFolder, folders)
    read = {Path(i).resolve() for i in images if not isinstance(i, np.ndarray)}
    places = []
    for number, image in enumerate(images, start=first):
        is_array = isinstance(image, np.ndarray)
        name = f'{number:08}_vis.jpg' if is_array else Path(image).name
        suffix = Path(name).suffix.lower()
        suffix = suffix if suffix in PICTURES else '.png'
        place = (
            pictures.claim(dict(rel_path=name), pictures.written, suffix),
            labels.claim(dict(rel_path=f'{number:08}_pred.png'), labels.written),
        )
        for path in place:
            if path.resolve() in read:
                raise ValueError(
                    f'{path} is one of the images; choose another folder for results.'
                )
        places.append(place)
    return places


def one_or_all(values: list) -> object:
    """Return the only value of a list, or the list."""
    return values[0] if len(values) == 1 else values
