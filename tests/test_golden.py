"""The network gives mmsegmentation's answers: see `data/README.md`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from formulas import (
    fill,
    image_batch,
    label_batch,
    labelled_samples,
    model_config,
    uint8_image,
)
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from mmseg_fastscnn.registry import MODELS, TRANSFORMS

DATA = Path(__file__).parent / 'data'
init_default_scope('mmseg_fastscnn')


def build(**changes) -> torch.nn.Module:
    return fill(MODELS.build(model_config(**changes))).eval()


def assert_same_labels(pred, golden, logits=None, share=0.0):
    """Equal but for pixels whose two best logits are within 1e-4, or a share."""
    different = np.asarray(pred) != golden
    if logits is not None:
        best = torch.as_tensor(logits).topk(2, dim=0).values
        different &= (best[0] - best[1] >= 1e-4).numpy()
    assert different.mean() <= share


def test_names_and_shapes():
    state = MODELS.build(model_config()).state_dict()
    golden = json.loads((DATA / 'state_dict_19.json').read_text())
    assert {name: list(value.shape) for name, value in state.items()} == golden


@pytest.mark.parametrize('tag', ['64x128', '97x161', '360x480', '97x161_align'])
def test_forward(tag):
    golden = np.load(DATA / 'forward.npz')
    size = tag.removesuffix('_align')
    h, w = map(int, size.split('x'))
    model, image = build(align_corners=tag != size), image_batch(1, h, w)
    with torch.no_grad():
        features = model.backbone(image)
        answers = {'logits': model.decode_head(features)}
        for k, head in enumerate(model.auxiliary_head):
            answers[f'aux{k}'] = head(features)
        sample = model.predict(image, with_logits=True)[0]
    compared = [name for name in answers if f'{tag}/{name}' in golden]
    assert compared == list(answers)[: len(compared)] and len(compared) >= 2
    for name in compared:
        np.testing.assert_allclose(answers[name], golden[f'{tag}/{name}'], atol=1e-4)
    pred, logits = sample.pred_sem_seg.data[0], sample.seg_logits.data
    assert_same_labels(pred, golden[f'{tag}/pred'], logits)


@pytest.mark.parametrize('mode', ['eval', 'train'])
@pytest.mark.parametrize('avg_non_ignore', [False, True])
@pytest.mark.parametrize('use_sigmoid', [True, False])
def test_losses_and_gradients(use_sigmoid, avg_non_ignore, mode):
    tag = 'sigmoid' if use_sigmoid else 'softmax'
    tag += '_avg_non_ignore' if avg_non_ignore else ''
    golden = json.loads((DATA / 'losses.json').read_text())[f'{tag}/{mode}']
    config = model_config()
    for head in (config.decode_head, *config.auxiliary_head):
        head.loss_decode.use_sigmoid = use_sigmoid
        head.loss_decode.avg_non_ignore = avg_non_ignore
    model = fill(MODELS.build(config)).train(mode == 'train')

    result = model.loss(
        image_batch(2, 64, 128), labelled_samples(label_batch(2, 64, 128))
    )
    total, _ = model.parse_losses(result)
    total.backward()

    norms = golden.pop('grad_norm')
    assert total.item() == pytest.approx(golden.pop('total'), rel=1e-5)
    assert {k: v.item() for k, v in result.items()} == pytest.approx(golden, rel=1e-5)
    # In sigmoid/train, float32 itself is that far off: float64 differs from the golden
    # norms by up to 2.3e-3 there, and by less than 2e-4 everywhere else.
    rel = 3e-3 if use_sigmoid and mode == 'train' else 1e-3
    parameters = dict(model.named_parameters())
    for name, norm in norms.items():
        assert float(parameters[name].grad.norm()) == pytest.approx(norm, rel=rel)


def test_slide():
    model = build(test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(40, 40)))
    with torch.no_grad():
        sample = model.predict(image_batch(1, 97, 161), with_logits=True)[0]
    golden = np.load(DATA / 'slide.npz')['pred']
    assert_same_labels(sample.pred_sem_seg.data[0], golden[0], sample.seg_logits.data)


def test_multi_scale_flip():
    golden = np.load(DATA / 'tta.npz')
    views = dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale_factor=ratio, keep_ratio=True)
                for ratio in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
            ],
            [
                dict(type='RandomFlip', prob=prob, direction='horizontal')
                for prob in (0.0, 1.0)
            ],
            [dict(type='PackSegInputs')],
        ],
    )
    image = uint8_image(96, 160)
    results = dict(img=image, img_shape=(96, 160), ori_shape=(96, 160))
    data = pseudo_collate([TRANSFORMS.build(views)(results)])
    tta = MODELS.build(dict(type='SegTTAModel', module=model_config()))
    fill(tta.module)
    tta.eval()
    with torch.no_grad():
        # the array holds, whatever its name, the last view: ratio 1.75, flipped
        last_view = {key: value[-1] for key, value in data.items()}
        batch = tta.module.data_preprocessor(last_view)
        sample = tta.module.predict(**batch, with_logits=True)[0]
        logits = sample.seg_logits.data[:, ::4, ::4]
        np.testing.assert_allclose(logits, golden['first_view_logits'], atol=1e-3)
        merged = tta.test_step(data, with_probability=True)[0]
    probability = merged.seg_logits.data
    torch.testing.assert_close(probability.sum(0), torch.ones(96, 160))
    assert torch.equal(probability.argmax(0)[None], merged.pred_sem_seg.data.long())
    assert_same_labels(merged.pred_sem_seg.data, golden['pred'], share=0.001)
