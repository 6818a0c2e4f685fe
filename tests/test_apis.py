"""The Python interface, on its own and against the command line."""

import warnings

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT, TOY
from formulas import fill, model_config, uint8_image
from mmengine.registry import init_default_scope
from PIL import Image

from mmseg_fastscnn.apis import (
    MMSegInferencer,
    inference_model,
    init_model,
    show_result_pyplot,
)
from mmseg_fastscnn.config import load_config, use_tta
from mmseg_fastscnn.engine.predictions import PredictionHook
from mmseg_fastscnn.engine.runner import SegRunner
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
        image = uint8_image(125, 191)
        cv2.imwrite(str(tmp_path / 'image.png'), image)
        one = inference_model(model, tmp_path / 'image.png')
        several = inference_model(model, [image, uint8_image(64, 80)], with_logits=True)
    assert one.pred_sem_seg.data.shape == (1, 125, 191)
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
        (np.zeros((64, 64, 4), np.uint8), 'has 4 channels, the model reads 3'),
        (np.zeros((64, 64, 3), np.float32), r'float32 and shape .* of uint8, as'),
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


FIVE_BANDS = """
_base_ = {base!r}
load = dict(type='LoadImageFromFile', color_type='unchanged')
pack = dict(type='PackSegInputs')
flips = [dict(type='RandomFlip', prob=p, direction='diagonal') for p in (0.0, 1.0)]
model = dict(
    backbone=dict(in_channels=5),
    data_preprocessor=dict(
        mean=[1000, 2000, 3000, 4000, 5000], std=[500] * 5, bgr_to_rgb=False
    ),
)
test_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        _delete_=True,
        type='SegDataset',
        data_root={root!r},
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=[f'class {{k}}' for k in range(19)]),
        pipeline=[load, dict(type='LoadAnnotations'), pack],
    ),
)
tta_pipeline = [
    load,
    dict(
        type='TestTimeAug',
        transforms=[flips, [dict(type='LoadAnnotations')], [pack]],
    ),
]
del load, pack, flips
"""


def test_images_of_16_bits_and_five_channels(tmp_path):
    """From a file, from an array, by the runner and in ms+flip."""
    (tmp_path / 'images').mkdir()
    (tmp_path / 'labels').mkdir()
    image = np.random.default_rng(0).integers(0, 6000, (64, 96, 5), np.uint16)
    np.save(tmp_path / 'images/0.npy', image)
    cv2.imwrite(str(tmp_path / 'labels/0.png'), np.zeros((64, 96), np.uint8))
    path = tmp_path / 'five.py'
    path.write_text(FIVE_BANDS.format(base=str(ROOT / TOY), root=str(tmp_path)))
    state = fill(MODELS.build(load_config(path).model)).state_dict()
    torch.save(dict(state_dict=state, meta={}), tmp_path / 'weights.pth')

    model = init_model(path, tmp_path / 'weights.pth', device='cpu')
    pred = inference_model(model, tmp_path / 'images/0.npy').pred_sem_seg.data
    assert len(pred.unique()) > 3
    assert torch.equal(inference_model(model, image).pred_sem_seg.data, pred)
    by_hand = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
    by_hand = (by_hand - 1000 * torch.arange(1.0, 6)[:, None, None]) / 500
    with torch.no_grad():
        flipped = model.inference(by_hand.flip(2, 3)).flip(2, 3)
        views = [model.inference(by_hand), flipped]
    assert torch.equal(views[0].argmax(1).byte(), pred)
    both = sum(view.softmax(1) for view in views).argmax(1)

    for tta, expected in [(False, pred[0]), (True, both[0])]:
        config = load_config(path, work_dir=str(tmp_path / 'run'))
        config.load_from = str(tmp_path / 'weights.pth')
        for key in ('train_dataloader', 'train_cfg', 'optim_wrapper'):
            config.pop(key)
        config.param_scheduler = None
        if tta:
            use_tta(config)
        runner = SegRunner.from_cfg(config)
        runner.register_hook(PredictionHook(str(tmp_path / f'out_{tta}')))
        runner.test()
        written = cv2.imread(str(tmp_path / f'out_{tta}/0.png'), cv2.IMREAD_UNCHANGED)
        assert written.tolist() == expected.tolist()


def test_a_picture_never_replaces_its_image(checkpoint, tmp_path):
    path = tmp_path / 'image.png'
    cv2.imwrite(str(path), uint8_image(64, 80))
    before = path.read_bytes()
    model = init_model(ROOT / TOY, checkpoint, device='cpu')
    result = inference_model(model, path)
    with pytest.raises(ValueError, match=r'would be written over the image'):
        show_result_pyplot(model, path, result, show=False, out_file=path)
    assert path.read_bytes() == before


def test_the_call_form_of_mmsegmentation(checkpoint, tmp_path):
    """Results of one image and of several, their files, and inputs that stay."""
    images = [uint8_image(64, 80), uint8_image(97, 161)]
    (tmp_path / 'images').mkdir()
    for name, image in zip(('b.jpg', 'a.png'), images, strict=True):
        cv2.imwrite(str(tmp_path / 'images' / name), image)
    inferencer = MMSegInferencer(str(ROOT / TOY), str(checkpoint), device='cpu')
    model = init_model(ROOT / TOY, checkpoint, device='cpu')

    one = inferencer(images[0])
    expected = inference_model(model, images[0]).pred_sem_seg.data[0].numpy()
    np.testing.assert_array_equal(one['predictions'], expected)
    assert one['visualization'] == []
    out = tmp_path / 'out'
    found = inferencer([*images], return_vis=True, out_dir=str(out), opacity=1)
    assert [p.shape for p in found['predictions']] == [(64, 80), (97, 161)]
    assert (found['visualization'][0] == (10, 20, 30)).all()
    for _ in range(2):  # earlier results are replaced
        folder = inferencer(str(tmp_path / 'images'), out_dir=str(out))
    expected = [f'{k:08}_pred.png' for k in (1, 2, 3, 4, 5, 6)]
    assert sorted(p.name for p in (out / 'pred').iterdir()) == expected
    names = ['00000001_vis.jpg', '00000002_vis.jpg', 'a.png', 'b.jpg']
    assert sorted(p.name for p in (out / 'vis').iterdir()) == names
    written = cv2.imread(str(out / 'pred/00000005_pred.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written, folder['predictions'][0])
    sample = inferencer(images[0], return_datasamples=True)
    assert sample.pred_sem_seg.data.shape == (1, 64, 80)

    before = (tmp_path / 'images/a.png').read_bytes()
    with pytest.raises(ValueError, match=r'a\.png exists and is not a result'):
        inferencer(
            str(tmp_path / 'images/a.png'), out_dir=tmp_path, img_out_dir='images'
        )
    assert (tmp_path / 'images/a.png').read_bytes() == before
    picture = out / 'vis/a.png'  # ours, and an input
    with pytest.raises(ValueError, match='is one of the images'):
        inferencer(picture, out_dir=out)


def test_options_given_to_init_model_are_checked(checkpoint):
    with pytest.raises(ValueError, match=r"in_chanels.*did you mean 'in_channels'"):
        init_model(ROOT / TOY, checkpoint, cfg_options={'model.backbone.in_chanels': 4})
