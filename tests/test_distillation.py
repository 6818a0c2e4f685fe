"""Soft labels: what is written, where they lie after the pipeline, what they teach."""

import json
import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT, TOY, run, small_run
from exported import write_checkpoint
from mmengine.registry import init_default_scope
from pairs import AFTER, CROP, LOAD, RESIZE, dataset

from mmseg_fastscnn.apis import init_model
from mmseg_fastscnn.checkpoint import read_checkpoint
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.datasets.soft_labels import SoftLabels, places_of_cells
from mmseg_fastscnn.deploy.soft_labels import Teachers, write_soft_labels
from mmseg_fastscnn.engine.startup_data import soft_labels_fit
from mmseg_fastscnn.models.decode_heads import FCNHead
from mmseg_fastscnn.models.distillation import (
    DistillationLoss,
    SoftTargets,
)
from mmseg_fastscnn.registry import DATASETS

init_default_scope('mmseg_fastscnn')
STUDENT = """
_base_ = [{base!r}]
train_dataloader = dict(dataset=dict(soft_labels={folder!r}))
model = dict(decode_head=dict(loss_decode=[
    dict(type='CrossEntropyLoss', avg_non_ignore=True),
    dict(type='DistillationLoss', loss_weight=2.0),
]))
optim_wrapper = dict(optimizer=dict(lr=0.02))
"""


def test_the_loss_is_the_divergence():
    """In double precision, cell by cell; cells of the padding do not count."""
    random = np.random.default_rng(0)
    logits = torch.tensor(random.normal(size=(2, 5, 3, 4)) * 3, dtype=torch.float32)
    soft = random.dirichlet(np.ones(5), (2, 3, 4)).transpose(0, 3, 1, 2)
    soft[0, 2] = 0.0
    soft[0] /= soft[0].sum(0)
    soft[1, :, 2] = soft[1, :, :, 3] = 0  # padding
    temperature, weight = 3.0, 0.7
    z = logits.double().numpy() / temperature
    q = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    counted = 12 + 6
    terms = np.where(soft > 0, soft * np.log(np.maximum(soft, 1e-300) / q), 0)
    factor = weight * temperature**2 / counted
    slope = factor / temperature * (q * soft.sum(1, keepdims=True) - soft)
    targets = SoftTargets(torch.tensor(soft).float(), temperature, (24, 32))
    logits.requires_grad_()
    loss = DistillationLoss(loss_weight=weight)(logits, targets)
    loss.backward()
    assert loss.item() == pytest.approx(factor * terms.sum(), rel=1e-5)
    np.testing.assert_allclose(logits.grad.numpy(), slope, atol=1e-6)


@pytest.mark.parametrize(
    'align_corners, size, places',
    [
        (False, (16, 32), [3.5, 11.5, 19.5, 27.5]),
        (True, (16, 32), [3.5, 10.333, 20.667, 27.5]),  # the ends are clamped
        (False, (16, 30), [3.5, 10.75, 18.25, 25.75]),
    ],
)
def test_the_places_of_logits(align_corners, size, places):
    ramp = (torch.arange(4) * 8 + 3.5).expand(1, 1, 2, 4)  # the pixel of each cell
    found = SoftTargets(ramp, 1.0, size).at_logits((2, 4), align_corners)
    torch.testing.assert_close(found[0, 0, 0], torch.tensor(places), atol=1e-3, rtol=0)


def test_places_after_resize_crop_and_flip():
    """An image twice as large, cropped from (8, 16) on, flipped: by hand."""
    results = dict(
        img_shape=(16, 24),
        scale_factor=(2.0, 2.0),
        crop_start=(8, 16),
        flip=True,
        flip_direction='horizontal',
    )
    rows, columns = places_of_cells(results)
    assert rows.tolist() == [0.25, 0.75] and columns.tolist() == [1.75, 1.25, 0.75]


class Ramps:
    """A teacher that sees the first two channels of a frame: its probabilities."""

    description = SimpleNamespace(
        classes=('a', 'b', 'c', 'd'),
        output='logits',
        threshold=None,
        align_corners=False,
        parts=(),
        padded=lambda size: size,
    )

    def network_size(self, shape: tuple[int, int]) -> tuple[int, int]:
        return shape

    def run(self, frame: np.ndarray) -> np.ndarray:
        x, y = cv2.resize(
            frame, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA
        )[..., :2].transpose(2, 0, 1)
        return np.log(np.stack([x, y, 510.0 - x - y, 0 * x]) / 510 + 1e-30)


@pytest.fixture
def ramps(tmp_path):
    """A folder of ramps, across and down, with their soft labels; and the teacher."""
    for kind in ('images', 'labels'):
        (tmp_path / 'data' / kind).mkdir(parents=True)
    for k, (h, w) in enumerate([(96, 160), (120, 168)]):
        image = np.zeros((h, w, 3), np.uint8)
        image[..., 0] = np.rint(np.linspace(10, 245, w))
        image[..., 1] = np.rint(np.linspace(10, 245, h))[:, None]
        cv2.imwrite(str(tmp_path / f'data/images/{k}.png'), image)
        cv2.imwrite(str(tmp_path / f'data/labels/{k}.png'), image[..., 0] // 64)
    (tmp_path / 'ramps.pth').write_text('a teacher')
    teachers = Teachers(
        {str(tmp_path / 'ramps.pth'): Ramps()}, Ramps.description.classes
    )
    data = dataset(tmp_path, [*LOAD, AFTER[-1]])
    infos = {info['rel_path']: info for info in map(data.get_data_info, range(2))}
    kept = write_soft_labels(tmp_path / 'soft', teachers, infos, 3, print)
    assert kept == pytest.approx(1)
    return tmp_path


@pytest.mark.parametrize('fuse, packed', [(False, None), (True, None), (True, 'copy')])
def test_soft_labels_go_with_the_image(ramps, fuse, packed):
    """What the teacher saw in a cell is what the image has there, at any crop."""
    flip = dict(type='RandomFlip', prob=0.7, direction=['horizontal', 'vertical'])
    pad = dict(type='Pad', size=(72, 88))
    data = dataset(
        ramps,
        [*LOAD, RESIZE, dict(CROP, crop_size=(64, 76)), flip, pad, AFTER[-1]],
        fuse=fuse,
        packed=packed and str(ramps / packed),
        soft_labels=str(ramps / 'soft'),
    )
    np.random.seed(0)
    errors = []
    for k in range(60):
        loaded = data[k % 2]
        sample = loaded['data_samples']
        height, width = (length // 8 for length in sample.img_shape)
        whole = loaded['inputs'][:2, : 8 * height, : 8 * width].numpy()
        image = whole.reshape(2, height, 8, width, 8).mean((2, 4))
        soft = sample.soft_sem_seg.data.numpy()
        np.testing.assert_allclose(soft.sum(0), 1, atol=1e-5)
        seen = 510 * soft[:2, :height, :width]
        inside = (seen > 25).all(0) & (seen < 230).all(0)  # not clamped at a border
        errors.append((seen - image)[:, inside].ravel())
    errors = np.concatenate(errors)
    assert len(errors) > 2000
    assert abs(errors.mean()) < 0.4 and np.abs(errors).max() < 4  # of 235 levels


def test_what_soft_labels_cannot_follow(ramps):
    def refused(*steps, of: str):
        with pytest.raises(ValueError, match=f'through the steps {of}'):
            dataset(ramps, [*LOAD, *steps], soft_labels='soft')

    rotate = dict(type='RandomRotate', prob=1.0, degree=5)
    refused(RESIZE, rotate, *AFTER, of='RandomRotate[.]')
    refused(CROP, RESIZE, *AFTER, of='LoadImage.*RandomCrop, RandomResize')
    swap = dict(AFTER[0], swap_seg_labels=[(0, 1)])
    refused(RESIZE, swap, AFTER[-1], of='LoadImage')
    refused(RESIZE, of='LoadImage')


def test_soft_labels_of_something_else_are_refused(ramps):
    def refused(match: str, classes=('a', 'b', 'c', 'd'), data=None):
        data = data or dataset(ramps, [*LOAD, AFTER[-1]])
        infos = [data.get_data_info(k) for k in range(len(data))]
        with pytest.raises((ValueError, FileNotFoundError), match=match) as caught:
            SoftLabels(ramps / 'soft').check(infos, classes)
        advice = f'Write them: tools/soft_labels.py TEACHER CONFIG --out {ramps}/soft'
        assert str(caught.value).endswith(advice)

    data = dataset(ramps)
    SoftLabels(ramps / 'soft').check([data.get_data_info(1)], 'abcd')  # a part of them
    refused('for the classes a, b, c, d, and the training data has a, b', ('a', 'b'))
    shutil.copytree(ramps / 'data', ramps / 'more/data')
    shutil.copy(ramps / 'data/images/0.png', ramps / 'more/data/images/2.png')
    shutil.copy(ramps / 'data/labels/0.png', ramps / 'more/data/labels/2.png')
    refused('no soft labels of .*2.png', data=dataset(ramps / 'more'))
    teacher = ramps / 'ramps.pth'
    teacher.write_text('trained again')
    refused('ramps.pth has changed since it gave the soft labels')
    teacher.unlink()  # its labels are good without it
    image = ramps / 'data/images/1.png'
    before = image.read_bytes()
    cv2.imwrite(str(image), 255 - cv2.imread(str(image)))
    refused('1.png is not the image that')
    image.write_bytes(before)
    file = ramps / 'soft/labels.bin'
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    data = dataset(ramps, [*LOAD, AFTER[-1]], soft_labels=str(ramps / 'soft'))
    assert data[0]['data_samples'].soft_sem_seg.shape == (12, 20)
    with pytest.raises(ValueError, match=r'labels.bin is damaged at 1.png'):
        data[1]
    file.write_bytes(content[:-1])
    refused('are damaged')
    (ramps / 'soft/index.json').unlink()
    refused('There are no soft labels in')


def test_teachers_that_give_no_numbers_write_nothing(ramps):
    data, classes = dataset(ramps, [*LOAD, AFTER[-1]]), Ramps.description.classes
    infos = {info['rel_path']: info for info in map(data.get_data_info, range(2))}
    teachers = Teachers({str(ramps / 'ramps.pth'): Ramps()}, classes, 1e-42)
    with pytest.raises(ValueError, match=r'no numbers for .*png: .* 1e-42 is too low'):
        write_soft_labels(ramps / 'soft', teachers, infos, 3, print)
    SoftLabels(ramps / 'soft').check(infos.values(), classes)  # those before stay


def test_the_mean_of_teachers():
    frame = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    classes, logits = ('a', 'b', 'c', 'd'), [0.0, 1.0, 2.0, 5.0]

    def model(values):
        values = np.tile(np.float32(values)[:, None, None], (1, 2, 3))
        return SimpleNamespace(
            description=Ramps.description,
            network_size=lambda shape: shape,
            run=lambda _: values,
        )

    models = dict(a=model(logits), b=model(logits[::-1]))
    found = Teachers(models, classes, temperature=2.0)(frame)
    one = np.exp(np.array(logits) / 2) / np.exp(np.array(logits) / 2).sum()
    expected = torch.tensor((one + one[::-1]) / 2).float()[:, None, None]
    torch.testing.assert_close(found, expected.expand(4, 2, 3))
    models['b'].description = SimpleNamespace(
        **{**vars(Ramps.description), 'output': 'labels'}
    )
    with pytest.raises(
        ValueError, match=r'^b gives labels, and soft labels are made of'
    ):
        Teachers(models, classes)
    with pytest.raises(ValueError, match=r'^a has the classes a, b, c, d, and the'):
        Teachers(models, classes[:2])


def test_a_loss_without_soft_labels_and_the_reverse():
    loss = dict(type='DistillationLoss')
    with pytest.raises(ValueError, match='stands beside a loss of the labels'):
        FCNHead(4, 4, 3, loss_decode=loss)
    ce = dict(type='CrossEntropyLoss')
    head = FCNHead(4, 4, 3, num_convs=0, concat_input=False, loss_decode=[loss, ce])
    features, label = [torch.randn(2, 4, 4, 5)], torch.zeros(2, 32, 40).byte()
    with pytest.raises(ValueError, match='the training images have no soft labels'):
        head.loss(features, label)
    soft = SoftTargets(torch.full((2, 3, 4, 5), 1 / 3), 1.0, (32, 40))
    assert head.loss(features, label, soft).keys() == {
        'loss_soft',
        'loss_ce',
        'acc_seg',
    }


def test_soft_labels_and_no_loss_of_them(ramps):
    data = dataset(ramps, [*LOAD, AFTER[-1]], soft_labels=str(ramps / 'soft'))
    plain, loss = FCNHead(4, 4, 3), FCNHead(4, 4, 3)
    loss.loss_decode.append(DistillationLoss())
    said = []
    for model, images in [(plain, data), (loss, dataset(ramps)), (loss, data)]:
        runner = SimpleNamespace(
            model=model,
            train_dataloader=SimpleNamespace(dataset=images),
            logger=SimpleNamespace(info=lambda text, *values: None),
        )
        said.append([(f.stops, f.text[:36]) for f in soft_labels_fit(runner)])
    assert said == [
        [(False, 'soft labels are read and no loss lea')],
        [(True, 'The model has a DistillationLoss, an')],
        [],
    ]


def test_a_student_learns_from_a_teacher(streets, tmp_path):
    """The command line, from a wider teacher to a student, resumed to the same bits."""
    wide = tmp_path / 'wide.py'
    wide.write_text(
        f'_base_ = [{str(ROOT / TOY)!r}]\n'
        'model = dict(width=1.25, backbone=dict(num_blocks=(1, 1, 1)))\n'
    )
    plain = write_checkpoint(tmp_path / 'plain.pth', wide)
    content = read_checkpoint(plain)
    content['meta']['cfg'] = load_config(wide).pretty_text
    teacher = tmp_path / 'teacher.pth'
    torch.save(dict(content), teacher)
    out, root = tmp_path / 'soft', ['--data-root', streets]
    write = ['tools/soft_labels.py', teacher, TOY, '--out', out, '--top', 19, *root]
    said = run(*write)
    assert 'The 19 classes kept of 19 have 100.00 % of the probability' in said
    student = tmp_path / 'student.py'
    student.write_text(STUDENT.format(base=str(ROOT / TOY), folder=str(out)))
    config = load_config(student, data_root=str(streets))

    # within 8-bit rounding of what the teacher thinks
    model = init_model(wide, teacher, device='cpu')
    settings = config.train_dataloader.dataset
    steps = [*LOAD, AFTER[-1]]
    sample = DATASETS.build(dict(settings, pipeline=steps))[0]
    batch = model.data_preprocessor(dict(inputs=[sample['inputs']]))
    with torch.no_grad():
        expected = model(batch['inputs']).softmax(1)[0]
    found = sample['data_samples'].soft_sem_seg.data
    assert found.shape == expected.shape == (19, 8, 16)
    torch.testing.assert_close(found, expected, atol=1.5 / 255, rtol=0)

    def train(name, *more, ok=True):
        command = ['tools/train.py', student, '--work-dir', tmp_path / name]
        return run(*command, '--seed', 0, *root, *small_run(12), *more, ok=ok)

    said = train('run')
    assert f'{out}: soft labels of 6 images by {teacher} (' in said
    (log,) = (tmp_path / 'run').glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    losses = [x['decode.loss_soft'] for x in lines if 'decode.loss_soft' in x]
    assert len(losses) == 12 and losses[-1] < 0.8 * losses[0], losses

    shutil.copytree(tmp_path / 'run', tmp_path / 'half')
    for file in (tmp_path / 'half').glob('*iter_12.pth'):
        file.unlink()
    (tmp_path / 'half/last_checkpoint').write_text(str(tmp_path / 'half/iter_6.pth'))
    train('half', '--resume')
    ends = [read_checkpoint(tmp_path / f'{n}/iter_12.pth') for n in ('run', 'half')]
    for name, value in ends[0]['state_dict'].items():
        assert value.equal(ends[1]['state_dict'][name]), name

    shutil.rmtree(out)
    said = train('missing', ok=False)
    assert f'There are no soft labels in {out}. Write them: tools/soft' in said
