"""Fast-SCNN for programs: one plain module, without configs and registries.

from mmseg_fastscnn import FastSCNN

model = FastSCNN(num_classes=11)
model.loss(images, labels).backward()

model = FastSCNN.load('best_mIoU_iter_4000.pth')
model('street.jpg').save('street.png')
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmseg_fastscnn.apis.inference import inference_model
from mmseg_fastscnn.apis.loading import init_model, load_model
from mmseg_fastscnn.apis.segmentation import Image, Segmentation, bgr_array
from mmseg_fastscnn.checkpoint import read_checkpoint
from mmseg_fastscnn.checkpoint.load import fitted_to_task, load_weights
from mmseg_fastscnn.config.read import read_config
from mmseg_fastscnn.config.shipped import SHIPPED
from mmseg_fastscnn.datasets.metainfo import complete_metainfo
from mmseg_fastscnn.datasets.seg_dataset import SegDataset
from mmseg_fastscnn.models.other_width import fit_width
from mmseg_fastscnn.packages import needed
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import IGNORED, SegDataSample

REPOSITORY = re.compile(r'[\w.\-]+/[\w.\-]+')  # USER/NAME on the hub
NETWORK = SHIPPED / '_base_/models/fast_scnn.py'
PUBLISHED = 'model.safetensors'  # of `fastscnn share`


class FastSCNN(nn.Module):
    """Fast-SCNN with its three heads, from images to logits, a loss or label maps.

    The network normalises images itself. The same weights as those of a run fit it:
    `model.segmentor` is the run's model.

    Args:
        num_classes: Number of classes.
        classes: Their names; by default '0', '1', ...
        palette: (r, g, b) of each class; by default VOC's colours.
        weights: Checkpoint to start from, or 'streets' for the weights that come with
            the package ('./streets' is a file). Classes of the same names are taken
            over.

    Raises:
        ValueError: `classes` are not as many as `num_classes`.
        FileNotFoundError, ValueError: See `read_checkpoint`.
    """

    def __init__(
        self,
        num_classes: int = 19,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        weights: str | Path | None = None,
    ):
        super().__init__()
        names = tuple(map(str, range(num_classes))) if classes is None else classes
        if len(names) != num_classes:
            raise ValueError(f'{len(names)} classes are named, not {num_classes}.')
        network = dict(read_config(NETWORK).model, num_classes=num_classes)
        self.segmentor = revert_sync_batchnorm(MODELS.build(network))
        with without_info():
            self.segmentor.init_weights()
        given = dict(classes=names) | ({} if palette is None else dict(palette=palette))
        self._meta = complete_metainfo(SegDataset, given)
        if weights is not None:
            model, content = self.segmentor, read_checkpoint(weights)
            content['state_dict'], _ = fit_width(model, content['state_dict'])
            state, _ = fitted_to_task(model, content, self.classes)
            load_weights(model, state, strict=False, name=weights)

    @classmethod
    def load(
        cls,
        checkpoint: str | Path,
        config: str | Path | None = None,
        device: str | None = None,
        trainable: bool = False,
    ) -> 'FastSCNN':
        """Read a checkpoint of a run; the config is inside.

        Args:
            checkpoint: The file.
            config: Config of a checkpoint that holds none.
            device: Device of the model; by default the best there is.
            trainable: Whether the model will be trained further. Otherwise it is
                brought into the form that predicts fastest.

        Raises:
            FileNotFoundError, ValueError: See `load_model`.
        """
        self = cls.__new__(cls)
        nn.Module.__init__(self)
        build = load_model if trainable else init_model
        self.segmentor = build(config, checkpoint, device)
        self._meta = self.segmentor.dataset_meta
        return self.train(trainable)

    @classmethod
    def from_pretrained(cls, source: str | Path, **options) -> 'FastSCNN':
        """Load a model that `fastscnn share` wrote.

        Args:
            source: The folder; or USER/NAME on the hub, which needs huggingface_hub.
            options: `device` and `trainable`; see `load`.

        Raises:
            FileNotFoundError: `source` is neither a folder nor USER/NAME.
            ImportError: huggingface_hub is needed and not installed.
        """
        folder = Path(source)
        if not folder.is_dir():
            if not REPOSITORY.fullmatch(str(source)):
                raise FileNotFoundError(
                    f'{source} is no folder, and no name USER/NAME on the hub.'
                )
            folder = Path(
                needed('huggingface_hub', 'The hub').snapshot_download(str(source))
            )
        return cls.load(folder / PUBLISHED, **options)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self._meta['classes'])

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """(r, g, b) of each class."""
        return tuple(map(tuple, self._meta['palette']))

    def forward(self, images: Tensor | Image) -> Tensor | Segmentation:
        """Return the logits of a batch; of anything else, what `predict` returns.

        Args:
            images: (N, 3, H, W) RGB, uint8 0..255 or float 0..1.

        Returns:
            (N, num_classes, H, W) float32.
        """
        if isinstance(images, Tensor) and images.ndim == 4:
            height, width = images.shape[2:]  # a config may pad them
            logits = self.segmentor.inference(self._inputs(images))
            return logits[..., :height, :width]
        return self.predict(images)

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the weighted sum of the losses of the three heads, one number.

        Args:
            images: See `forward`.
            labels: (N, H, W) of any integer type: the class of each pixel, or 255 where
                it is not known.

        Raises:
            ValueError: The model was loaded to predict only; labels have another
                shape, or labels on the CPU are none of these.
        """
        if self.segmentor.for_inference_only:
            raise ValueError('Load the model with trainable=True to train it.')
        if labels.shape != (len(images), *images.shape[2:]):
            raise ValueError(
                f'The labels are {tuple(labels.shape)}; for images '
                f'{tuple(images.shape)} they must be (N, H, W), '
                f'{(len(images), *images.shape[2:])}.'
            )
        ignored = getattr(self.segmentor.decode_head, 'ignore_index', IGNORED)
        if labels.device.type == 'cpu':  # a GPU would be waited for
            check_labels(labels, len(self.classes), ignored)
        inputs = self._inputs(images)  # a config may pad them
        below, right = (inputs.shape[k] - images.shape[k] for k in (2, 3))
        labels = F.pad(labels, (0, right, 0, below), value=ignored)
        samples = [
            SegDataSample(gt_sem_seg=PixelData(data=label[None].to(torch.uint8)))
            for label in labels.to(self.device)
        ]
        losses = self.segmentor.loss(inputs, samples)
        return sum(value for name, value in losses.items() if 'loss' in name)

    @torch.no_grad()
    def predict(self, image: Image, channel_order: str = 'bgr') -> Segmentation:
        """Return the class of each pixel of an image.

        A loaded model prepares the image as the test pipeline of its config says. Batch
        normalisation uses its running statistics, whatever the mode.

        Args:
            image: A file; a PIL image; an array (H, W, 3) uint8; or a tensor (3, H, W)
                RGB, uint8 0..255 or float 0..1.
            channel_order: Channels of an array: 'bgr', as OpenCV reads, or 'rgb'.

        Raises:
            FileNotFoundError, ValueError: The image cannot be read or used.
        """
        image = bgr_array(image, channel_order)
        was_training = self.training
        self.eval()
        if hasattr(self.segmentor, 'cfg'):
            sample = inference_model(self.segmentor, image)
        else:
            planes = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)
            (sample,) = self.segmentor.predict(self._inputs(planes[None]))
        self.train(was_training)
        labels = sample.pred_sem_seg.data[0].cpu().numpy()
        return Segmentation(image, labels, self.classes, self.palette)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def _inputs(self, images: Tensor) -> Tensor:
        """Normalise images; see `forward`."""
        if images.is_floating_point():
            images = images * 255
        elif images.dtype != torch.uint8:
            raise ValueError(
                f'The images are {images.dtype}; give uint8 0..255 or float 0..1.'
            )
        images = images.to(self.device).flip(1)  # the preprocessor takes BGR
        return self.segmentor.data_preprocessor(dict(inputs=list(images)))['inputs']


def check_labels(labels: Tensor, num_classes: int, ignored: int) -> None:
    """Raise ValueError unless each label is that of a class, 255 or `ignored`."""
    known = (labels >= 0) & (labels < num_classes)
    known |= (labels == IGNORED) | (labels == ignored)
    if labels.is_floating_point() or not known.all():
        raise ValueError(
            f'The labels are {labels.dtype} from {labels.min()} to {labels.max()}; '
            f'give integers 0 to {num_classes - 1}, and {IGNORED} where the class is '
            f'not known.'
        )


@contextmanager
def without_info() -> Iterator[None]:
    """Drop mmengine's lines on the initialisation, two for each tensor."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
