"""The Python interface, on its own and against the command line."""

import warnings

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT, TOY
from formulas import fill, uint8_image
from mmengine.registry import init_default_scope
from PIL import Image
from test_golden import model_config

from mmseg_fastscnn.apis import inference_model, init_model, show_result_pyplot
from mmseg_fastscnn.registry import MODELS

init_default_scope('mmseg_fastscnn')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'weights.pth'
    meta = dict(dataset_meta=dict(classes=['x'] * 19, palette=[(10, 20, 30)] * 19))
    state = fill(MODELS.build(model_config())).state_dict()
    torch.save(dict(state_dict=state, meta=meta), path)
    return path


def test_images_of_any_size_by_file_or_array(checkpoint, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        model = init_model(ROOT / TOY, checkpoint, device='cpu')
        image = uint8_image(97, 161)
        cv2.imwrite(str(tmp_path / 'image.png'), image)
        one = inference_model(model, tmp_path / 'image.png')
        several = inference_model(model, [image, uint8_image(64, 80)], with_logits=True)
    assert one.pred_sem_seg.data.shape == (1, 97, 161)
    assert torch.equal(one.pred_sem_seg.data, several[0].pred_sem_seg.data)
    assert several[1].seg_logits.data.shape == (19, 64, 80)
    assert 'seg_logits' not in one
    assert len(one.pred_sem_seg.data.unique()) > 5
    assert model.dataset_meta['palette'][0] == (10, 20, 30)
    assert not model.training

    picture = show_result_pyplot(
        model, image, one, opacity=0.25, show=False, out_file=tmp_path / 'out/shown.png'
    )
    expected = np.rint(0.75 * image[..., ::-1] + 0.25 * np.array([10, 20, 30]))
    assert abs(picture.astype(int) - expected).max() <= 1
    written = cv2.imread(str(tmp_path / 'out/shown.png'))
    np.testing.assert_array_equal(written, picture[..., ::-1])


def test_a_turned_file_is_predicted_in_its_own_grid(checkpoint, tmp_path):
    model = init_model(ROOT / TOY, checkpoint, device='cpu')
    image, path = uint8_image(64, 96), tmp_path / 'turned.png'
    exif = Image.Exif()
    exif[0x0112] = 6  # viewers show it turned by 90 degrees
    Image.fromarray(np.ascontiguousarray(image[..., ::-1])).save(path, exif=exif)
    expected = inference_model(model, image).pred_sem_seg.data
    assert torch.equal(inference_model(model, path).pred_sem_seg.data, expected)


def test_without_a_checkpoint_classes_come_from_the_config():
    model = init_model(ROOT / TOY, device='cpu')
    assert model.dataset_meta['classes'][0] == 'road'
    assert len(model.dataset_meta['palette']) == 19


def test_a_checkpoint_of_other_classes_is_refused(checkpoint):
    with pytest.raises(ValueError, match='does not fill the model'):
        init_model(ROOT / TOY, checkpoint, cfg_options={'model.num_classes': 11})


@pytest.mark.parametrize(
    'image, message',
    [
        (
            np.zeros((64, 64, 4), np.uint8),
            r'shape \(64, 64, 4\); .* \(H, W, 3\)',
        ),
        (np.zeros((64, 64, 3), np.float32), 'is float32 of shape'),
        (__file__, r'test_apis\.py: cannot be read as an image'),
    ],
)
def test_what_is_no_image_is_refused(checkpoint, image, message):
    model = init_model(ROOT / TOY, checkpoint, device='cpu')
    with pytest.raises(ValueError, match=message):
        inference_model(model, image)


def test_a_result_of_another_image_is_refused(checkpoint):
    model = init_model(ROOT / TOY, checkpoint, device='cpu')
    result = inference_model(model, uint8_image(64, 80))
    with pytest.raises(ValueError, match='not of one picture'):
        show_result_pyplot(model, uint8_image(64, 64), result, show=False)
