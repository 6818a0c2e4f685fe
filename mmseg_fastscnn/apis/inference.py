"""Segment images with a model, and show the results, as in mmsegmentation."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from torch import nn

from mmseg_fastscnn.apis.loading import test_data_of
from mmseg_fastscnn.datasets.decoding import DTYPES
from mmseg_fastscnn.datasets.image_header import MAX_PIXELS
from mmseg_fastscnn.datasets.picture import as_picture, read_picture
from mmseg_fastscnn.pictures import overlay
from mmseg_fastscnn.results import check_may_write, write_picture
from mmseg_fastscnn.structures import SegDataSample

Image = str | Path | np.ndarray


def inference_model(
    model: nn.Module, img: Image | Sequence[Image], with_logits: bool = False
) -> SegDataSample | list[SegDataSample]:
    """Segment one image, or several of any sizes one after the other.

    Each image goes through the pipeline of the config's test data, as in
    `tools/test.py`.

    Args:
        model: From `init_model`.
        img: A file, or an array (H, W, C) or (H, W) of uint8, uint16 or float32, in BGR
            if it has three channels; or a list of such images.
        with_logits: Whether to add `seg_logits` (C, H, W) at the image's size.

    Returns:
        One sample, with `pred_sem_seg` (1, H, W) uint8 at the image's size; for a list,
        a list of them.

    Raises:
        ValueError: An image cannot be read, or has another number of channels than the
            model reads.
    """
    if isinstance(img, list | tuple):
        return [inference_model(model, one, with_logits) for one in img]
    sample = prepare_image(model.cfg, img)
    needed, found = model.backbone.first_conv.in_channels, len(sample['inputs'])
    if found != needed:
        name = 'The array' if isinstance(img, np.ndarray) else str(img)
        raise ValueError(
            f'{name} has {found} channels, the model reads {needed} '
            f'(model.backbone.in_channels). Convert the image, or set color_type of '
            f'LoadImageFromFile in the pipeline of the test data.'
        )
    with torch.no_grad():
        batch = model.data_preprocessor(pseudo_collate([sample]))
        return model.predict(**batch, with_logits=with_logits)[0]


def prepare_image(config: Config, img: Image) -> dict:
    """Run an image through the test pipeline.

    Returns:
        `inputs`, a tensor (C, H, W), and `data_samples`, one `SegDataSample`.
    """
    dataset = test_data_of(config)
    without = {'LoadAnnotations'}
    results = dict(max_pixels=dataset.get('max_pixels', MAX_PIXELS))
    if isinstance(img, np.ndarray):
        dtypes = loaded_dtypes(dataset.pipeline)
        if img.ndim not in (2, 3) or img.dtype.name not in dtypes:
            raise ValueError(
                f'The image is an array of {img.dtype} and shape {img.shape}; the '
                f'model needs (H, W, C) or (H, W) of {" or ".join(dtypes)}, as '
                f'LoadImageFromFile in the pipeline of the test data gives it.'
            )
        without.add('LoadImageFromFile')
        results |= dict(img=img, img_shape=img.shape[:2], ori_shape=img.shape[:2])
    else:
        results['img_path'] = str(img)
    steps = [step for step in dataset.pipeline if step['type'] not in without]
    return Compose(steps)(results)


def loaded_dtypes(pipeline: Sequence[Mapping]) -> Sequence[str]:
    """Return the dtypes of the images that a pipeline loads.

    An array of another dtype would have another range: 0..1 where 0..255 is expected.
    """
    for step in pipeline:
        if step['type'] == 'LoadImageFromFile':
            unchanged = step.get('color_type') == 'unchanged'
            if unchanged or step.get('imdecode_backend') == 'tifffile':
                return DTYPES
            return ('uint8', 'float32') if step.get('to_float32') else ('uint8',)
    return DTYPES


def show_result_pyplot(
    model: nn.Module,
    img: Image,
    result: SegDataSample,
    opacity: float = 0.5,
    show: bool = True,
    out_file: str | Path | None = None,
    wait_time: float = 0,
) -> np.ndarray:
    """Blend the colours of the predicted classes into the image.

    Args:
        model: From `init_model`; gives the palette.
        img: The image, as given to `inference_model`.
        result: What `inference_model` returned for it.
        opacity: Opacity of the colours, 0 to 1.
        show: Whether to open a window with matplotlib.
        out_file: Where to write the picture, if anywhere: `.png` or `.jpg`, which may
            replace an earlier picture, or another kind that OpenCV writes.
        wait_time: Seconds for which the window is shown; 0 for until it is closed.

    Returns:
        The picture, (H, W, 3) uint8 RGB.

    Raises:
        ValueError: `out_file` exists and is no picture of ours.
    """
    is_file = not isinstance(img, np.ndarray)
    if is_file and out_file and Path(out_file).resolve() == Path(img).resolve():
        raise ValueError(f'The picture would be written over the image {img}.')
    if out_file is not None:
        check_may_write(Path(out_file))
    image = read_picture(str(img)) if is_file else as_picture(img)
    pred = result.pred_sem_seg.data[0].cpu().numpy()
    picture = overlay(image, pred, model.dataset_meta['palette'], opacity)
    if out_file is not None:
        write_picture(out_file, picture)
    picture = mmcv.bgr2rgb(picture)
    if show:
        from matplotlib import pyplot

        pyplot.imshow(picture)
        pyplot.axis('off')
        if wait_time:
            pyplot.pause(wait_time)
            pyplot.close()
        else:
            pyplot.show()
    return picture
