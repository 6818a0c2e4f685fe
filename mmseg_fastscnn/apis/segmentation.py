"""What `FastSCNN` takes and gives: images of any form, and the class of each pixel."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import torch
from torch import Tensor

from mmseg_fastscnn.datasets.picture import read_picture
from mmseg_fastscnn.pictures import overlay, with_legend
from mmseg_fastscnn.results import write_picture

Image = str | Path | np.ndarray | Tensor | PIL.Image.Image


def bgr_array(image: Image, channel_order: str) -> np.ndarray:
    """Return an image in any of the forms that `predict` takes, (H, W, 3) uint8 BGR.

    Raises:
        FileNotFoundError, ValueError: It cannot be read, or has another shape.
    """
    if channel_order not in ('bgr', 'rgb'):
        raise ValueError(f"channel_order is {channel_order!r}; use 'bgr' or 'rgb'.")
    if isinstance(image, str | Path):
        return read_picture(str(image))
    if isinstance(image, Tensor | np.ndarray) and image.ndim != 3:
        raise ValueError(
            f'The image is of shape {tuple(image.shape)}; give an array (H, W, 3) or a '
            f'tensor (3, H, W).'
        )
    if isinstance(image, Tensor):
        if image.is_floating_point():
            image = (image * 255).round().clamp(0, 255).to(torch.uint8)
        return image.permute(1, 2, 0).flip(2).cpu().contiguous().numpy()
    if isinstance(image, PIL.Image.Image):
        image, channel_order = np.asarray(image.convert('RGB')), 'rgb'
    if channel_order == 'rgb':
        image = image[..., ::-1]
    return np.ascontiguousarray(image)


@dataclass(frozen=True)
class Segmentation:
    """An image and the class of each of its pixels.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        labels: (H, W) uint8, index into `classes`.
        classes: Name of each class.
        palette: (r, g, b) of each class.
    """

    image: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...] = field(repr=False)

    def overlay(self, opacity: float = 0.5) -> np.ndarray:
        """Return the image with the colours of the classes, (H, W, 3) uint8 BGR."""
        return overlay(self.image, self.labels, self.palette, opacity)

    def save(self, path: str | Path, opacity: float = 0.5) -> None:
        """Write the overlay to a picture file, with the names of its classes below.

        Raises:
            ValueError: The file exists and was not written by this project, or OpenCV
                cannot write such files.
        """
        write_picture(path, self._named(opacity))

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return cv2.imencode('.png', self._named())[1].tobytes()

    def _named(self, opacity: float = 0.5) -> np.ndarray:
        ids = [k for k in np.unique(self.labels).tolist() if k < len(self.classes)]
        metainfo = dict(classes=self.classes, palette=self.palette)
        return with_legend(self.overlay(opacity), metainfo, ids, unlabelled=False)

    def shares(self) -> dict[str, float]:
        """Return the share of the pixels that each class has, 0 to 1."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes))
        shares = (counts / self.labels.size).tolist()
        return dict(zip(self.classes, shares, strict=False))
