"""Use a trained model from Python, as in mmsegmentation."""

from collections.abc import Sequence
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from torch import nn

from mmseg_fastscnn.checkpoint import load_weights, read_checkpoint
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.datasets import LoadImageFromFile, SegDataset
from mmseg_fastscnn.datasets.metainfo import complete_metainfo
from mmseg_fastscnn.registry import DATASETS, MODELS
from mmseg_fastscnn.structures import SegDataSample
from mmseg_fastscnn.visualization import overlay

Image = str | Path | np.ndarray


def init_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | None = None,
    cfg_options: dict | None = None,
    weights: str = 'ema',
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """Build a segmentor and load its weights, ready for `inference_model`.

    Args:
        config: A config or its file.
        checkpoint: A checkpoint file; without one the weights are random.
        device: For instance 'cuda:1'; by default the best there is.
        cfg_options: Settings that change the config, by dotted key.
        weights: 'ema' or 'raw', where the checkpoint has both.
        dtype: Of the network's weights and activations, e.g. `torch.bfloat16`.

    Returns:
        The model in evaluation mode, batch normalisation folded, with `cfg` and
        `dataset_meta` (`classes` and `palette`, from the checkpoint or else from the
        config's data set).

    Raises:
        FileNotFoundError, ValueError: See `read_checkpoint` and `load_weights`.
    """
    if not isinstance(config, Config):
        config = load_config(config)
    if cfg_options:
        config.merge_from_dict(cfg_options)
    init_default_scope(config.get('default_scope', 'mmseg_fastscnn'))
    model = MODELS.build(config.model)
    meta = {}
    if checkpoint is not None:
        content = read_checkpoint(checkpoint, weights)
        load_weights(model, content['state_dict'], strict=True)
        meta = content['meta'].get('dataset_meta') or {}
    model.cfg = config
    model.dataset_meta = meta or metainfo_of(config)
    model = revert_sync_batchnorm(model).to(device or get_device()).eval()
    return model.for_inference(dtype)


def metainfo_of(config: Config) -> dict:
    """`classes` and `palette` of the config's test data, without opening a file."""
    dataset = config.test_dataloader.dataset
    while 'datasets' in dataset or 'dataset' in dataset:
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    kind = DATASETS.get(dataset['type']) or SegDataset
    return complete_metainfo(kind, dataset.get('metainfo'))


def inference_model(
    model: nn.Module, img: Image | Sequence[Image], with_logits: bool = False
) -> SegDataSample | list[SegDataSample]:
    """Segment one image or several, of any sizes, one after the other.

    Args:
        model: From `init_model`.
        img: A file, or (H, W, 3) uint8 BGR; or a list of them.
        with_logits: Add `seg_logits` (C, H, W) at the image's size.

    Returns:
        A sample an image, with `pred_sem_seg` (1, H, W) uint8 at the image's size; a
        list for a list.
    """
    if isinstance(img, list | tuple):
        return [inference_model(model, one, with_logits) for one in img]
    image = read_image(img)
    channels = model.backbone.first_conv.in_channels
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != channels:
        raise ValueError(
            f'The image is {image.dtype} of shape {image.shape}; the model needs uint8 '
            f'of shape (H, W, {channels}), in BGR.'
        )
    size = image.shape[:2]
    results = dict(img=image, img_shape=size, ori_shape=size)
    steps = [
        step
        for step in model.cfg.test_pipeline
        if step['type'] not in ('LoadImageFromFile', 'LoadAnnotations')
    ]
    with torch.no_grad():
        batch = pseudo_collate([Compose(steps)(results)])
        batch = model.data_preprocessor(batch)
        return model.predict(**batch, with_logits=with_logits)[0]


def read_image(img: Image) -> np.ndarray:
    """Return an array as it is, and a file's image as (H, W, 3) uint8 BGR."""
    if isinstance(img, np.ndarray):
        return img
    return LoadImageFromFile()(dict(img_path=str(img)))['img']


def show_result_pyplot(
    model: nn.Module,
    img: Image,
    result: SegDataSample,
    opacity: float = 0.5,
    show: bool = True,
    out_file: str | Path | None = None,
) -> np.ndarray:
    """Blend the predicted classes' colours into the image.

    Args:
        model: From `init_model`; gives the palette.
        img: The image, as given to `inference_model`.
        result: What that returned.
        opacity: Of the colours, 0 to 1.
        show: Open a window with matplotlib.
        out_file: Where to write the picture, if anywhere.

    Returns:
        The picture, (H, W, 3) uint8 RGB.
    """
    image = read_image(img)
    pred = result.pred_sem_seg.data[0].cpu().numpy()
    picture = overlay(image, pred, model.dataset_meta['palette'], opacity)
    if out_file is not None:
        mmcv.imwrite(picture, str(out_file))
    picture = mmcv.bgr2rgb(picture)
    if show:
        from matplotlib import pyplot

        pyplot.imshow(picture)
        pyplot.axis('off')
        pyplot.show()
    return picture
