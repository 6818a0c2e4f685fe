"""`from mmseg_fastscnn import FastSCNN`: the same network, losses and answers."""

import json
import sys

import cv2
import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT, run
from torch.utils.data import DataLoader

from mmseg_fastscnn import FastSCNN
from mmseg_fastscnn.apis import inference_model, init_model
from mmseg_fastscnn.datasets import CityscapesDataset

NOTEBOOK = ROOT / 'examples/quickstart.ipynb'


@pytest.fixture(scope='module')
def checkpoint(trained):
    return trained[0] / 'iter_4.pth'


@pytest.fixture(scope='module')
def street(streets):
    return next((streets / 'leftImg8bit/val').rglob('*.png'))


def pairs(streets) -> CityscapesDataset:
    steps = ('LoadImageFromFile', 'LoadAnnotations', 'ToImageAndLabel')
    return CityscapesDataset(
        data_root=str(streets),
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=[dict(type=step) for step in steps],
    )


def test_images_go_where_a_module_around_it_went():
    """Moved by a parent, a model is not asked; the meta device stands for a GPU."""
    model = FastSCNN(3)
    torch.nn.Sequential(model).to('meta')
    inputs = model._inputs(torch.zeros(2, 3, 64, 96))
    assert inputs.device.type == 'meta' and inputs.shape == (2, 3, 64, 96)


def test_a_plain_loop_trains(streets):
    """With a DataLoader of (image, label); its loss is that of the run's model."""
    torch.manual_seed(0)
    model = FastSCNN(num_classes=19)
    images, labels = next(iter(DataLoader(pairs(streets), batch_size=3)))
    assert images.shape == (3, 3, 64, 128) and labels.dtype == torch.int64
    path = pairs(streets).get_data_info(0)['img_path']
    np.testing.assert_array_equal(
        images[0].permute(1, 2, 0), cv2.imread(path)[..., ::-1]
    )
    model.eval()  # no dropout
    logits = model(images)
    assert logits.shape == (3, 19, 64, 128)
    torch.testing.assert_close(model(images / 255), logits, atol=1e-4, rtol=1e-4)
    head = model.segmentor.decode_head
    terms = torch.nn.functional.binary_cross_entropy_with_logits
    target = torch.nn.functional.one_hot(labels.clamp(max=19), 20)[..., :19]
    known = (labels != 255)[:, None].expand_as(logits)
    expected = terms(logits, target.permute(0, 3, 1, 2).float(), reduction='none')
    decode = head.loss(model.segmentor.extract_feat(model._inputs(images)), labels)
    assert float(decode['loss_ce']) == pytest.approx(
        float((expected * known).mean()), rel=1e-4
    )
    first = model.train().loss(images, labels)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(5):
        optimizer.zero_grad()
        loss = model.loss(images, labels)
        loss.backward()
        optimizer.step()
    assert float(loss) < 0.95 * float(first)


def test_every_form_of_an_image_gives_the_same_labels(checkpoint, street, tmp_path):
    model = FastSCNN.load(checkpoint, device='cpu')
    found = model(str(street))
    reference = init_model(checkpoint, device='cpu')
    expected = inference_model(reference, str(street)).pred_sem_seg.data[0]
    np.testing.assert_array_equal(found.labels, expected)
    image = cv2.imread(str(street))
    rgb = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)
    forms = [PIL.Image.open(street), image, rgb, rgb / 255]
    for form in forms:
        np.testing.assert_array_equal(model(form).labels, expected)
    np.testing.assert_array_equal(
        model.predict(image[..., ::-1], channel_order='rgb').labels, expected
    )
    assert model.classes[0] == found.classes[0] == 'road'
    assert sum(found.shares().values()) == pytest.approx(1)
    found.save(tmp_path / 'shown.png')
    shown = cv2.imread(str(tmp_path / 'shown.png'))
    colours = np.array(found.palette)[found.labels][..., ::-1]
    assert np.abs(shown[:64] - (image / 2 + colours / 2)).max() <= 1
    assert len(shown) > 64  # the legend
    in_notebook = np.frombuffer(found._repr_png_(), np.uint8)
    np.testing.assert_array_equal(cv2.imdecode(in_notebook, cv2.IMREAD_COLOR), shown)
    assert len(repr(found)) < 999  # no pixels
    with pytest.raises(ValueError, match='not a result'):
        found.save(street)
    with pytest.raises(ValueError, match='trainable=True'):
        model.loss(rgb[None], torch.zeros(1, 64, 128))
    for other in (image[..., 0], rgb[None, None]):
        with pytest.raises(ValueError, match=r'give an array \(H, W, 3\) or a tensor'):
            model.predict(other)


def test_labels_that_are_no_classes_are_refused():
    model, images = FastSCNN(3), torch.rand(2, 3, 64, 64)
    labels = torch.zeros(2, 64, 64, dtype=torch.long)
    labels[0] = 255
    assert model.loss(images, labels).isfinite()
    for value in (-100, 3, 256):  # 256 was class 0
        labels[0, 0, 0] = value
        with pytest.raises(ValueError, match='give integers 0 to 2, and 255 where'):
            model.loss(images, labels)
    for shape in ((2, 1, 64, 64), (2, 32, 32), (1, 64, 64)):
        with pytest.raises(ValueError, match=r'must be \(N, H, W\), \(2, 64, 64\)'):
            model.loss(images, torch.zeros(shape, dtype=torch.long))


def test_a_loaded_model_trains_further(checkpoint, streets):
    model = FastSCNN.load(checkpoint, device='cpu', trainable=True)
    images, labels = next(iter(DataLoader(pairs(streets), batch_size=2)))
    before = model.loss(images, labels)
    before.backward()
    assert all(p.grad is not None for p in model.parameters())
    labels_before = model.eval()(images[0]).labels
    expected = inference_model(
        init_model(checkpoint, device='cpu'),
        images[0].flip(0).permute(1, 2, 0).contiguous().numpy(),
    )
    same = labels_before == expected.pred_sem_seg.data[0].numpy()
    assert same.mean() > 0.999  # batch normalisation is folded in one of them


def test_images_of_any_size_where_a_config_pads_them(checkpoint):
    model = FastSCNN.load(checkpoint, device='cpu', trainable=True).eval()
    random = torch.Generator().manual_seed(0)
    image = torch.randint(256, (1, 3, 50, 70), dtype=torch.uint8, generator=random)
    labels = torch.randint(19, (1, 50, 70), generator=random)
    logits = model(image)
    assert logits.shape == (1, 19, 50, 70)
    found = model.predict(image[0]).labels
    np.testing.assert_array_equal(found, logits[0].argmax(0))
    expected = F.cross_entropy(logits, labels)
    features = model.segmentor.extract_feat(model._inputs(image))
    for head in model.segmentor.auxiliary_head:
        padded = F.interpolate(head(features), (64, 96), mode='bilinear')
        expected = expected + 0.4 * F.cross_entropy(padded[..., :50, :70], labels)
    torch.testing.assert_close(model.loss(image, labels), expected)


def test_the_notebook_runs(tmp_path):
    """In a process where no scope was set before."""
    cells = json.loads(NOTEBOOK.read_text())['cells']
    code = '\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'code')
    script = tmp_path / 'notebook.py'
    script.write_text(f'import os; os.chdir({str(tmp_path)!r})\n{code}\n')
    said = run(sys.executable, script, PYTHONPATH=str(ROOT), MPLBACKEND='Agg')
    first, *_, last = map(float, said.split('losses: ')[1].splitlines()[0].split())
    assert last < first
    assert (tmp_path / 'street.png').exists()
