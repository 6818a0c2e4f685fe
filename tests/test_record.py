"""What a run records of its validations, against values computed another way."""

import json
import math
import shutil
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT, TOY
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook

from mmseg_fastscnn.commands.test import write_metrics
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.datasets import CityscapesDataset
from mmseg_fastscnn.datasets.loading import read_label
from mmseg_fastscnn.engine.record.calibration import calibration
from mmseg_fastscnn.engine.record.files import read_arrays, read_lines
from mmseg_fastscnn.engine.record.hook import ValidationRecordHook
from mmseg_fastscnn.engine.record.image_scores import boundary_counts, image_iou
from mmseg_fastscnn.engine.record.pictures import from_arrays
from mmseg_fastscnn.engine.runner import SegRunner
from mmseg_fastscnn.registry import METRICS

OPTIONS = {
    'train_cfg.max_iters': 4,
    'train_cfg.val_interval': 2,
    'default_hooks.checkpoint.interval': 2,
    'default_hooks.logger.interval': 1,
    'train_dataloader.batch_size': 2,
    'train_dataloader.num_workers': 0,
    'val_dataloader.num_workers': 0,
    'val_dataloader.batch_size': 2,  # of 5 images
    'randomness.seed': 5,
    'train_dataloader.dataset.pipeline.3.crop_size': (64, 64),
    'model.data_preprocessor.size': (64, 64),
}


class Watch(Hook):
    """Keeps each loss of training, and what validation computes at full size."""

    def __init__(self):
        self.losses, self.validated = [], {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(outputs['loss'].item())

    def before_val_epoch(self, runner):
        self.images = []

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        for sample, pixels in zip(outputs, data_batch['inputs'], strict=True):
            model = runner.model
            batch = model.data_preprocessor(dict(inputs=[pixels]))
            logits = model.inference(batch['inputs'])
            label = sample.gt_sem_seg.data.long()
            loss = F.cross_entropy(logits, label, ignore_index=255, reduction='sum')
            pred = sample.pred_sem_seg.data[0].numpy().copy()
            self.images.append((sample.rel_path, float(loss) / label.numel(), pred))

    def after_val_epoch(self, runner, metrics=None):
        self.validated[runner.iter] = self.images


def trained_run(streets, work_dir, resume=False, records=True, **options) -> Watch:
    config = load_config(ROOT / TOY, OPTIONS | options, str(streets), str(work_dir))
    config.resume = resume
    runner = SegRunner.from_cfg(config)
    if not records:
        kept = [h for h in runner.hooks if not isinstance(h, ValidationRecordHook)]
        assert len(kept) == len(runner.hooks) - 1
        runner.hooks[:] = kept
    watch = Watch()
    runner.register_hook(watch, 'VERY_LOW')
    runner.train()
    return watch


@pytest.fixture(scope='module', autouse=True)
def short_configs():
    """A config's text is formatted anew for each file, for a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, 'pretty_text', property(lambda config: 'model = dict()'))
        yield


@pytest.fixture(scope='module')
def recorded(streets, tmp_path_factory) -> tuple[Path, Watch]:
    work_dir = tmp_path_factory.mktemp('recorded')
    return work_dir, trained_run(streets, work_dir)


def test_recording_changes_no_loss_and_no_score(streets, recorded, tmp_path):
    work_dir, watch = recorded
    plain = trained_run(streets, tmp_path, records=False)
    assert watch.losses == plain.losses  # to the last bit
    assert not (tmp_path / 'record').exists()
    weights = [torch.load(d / 'iter_4.pth') for d in (work_dir, tmp_path)]
    for name, value in weights[0]['state_dict'].items():
        assert value.equal(weights[1]['state_dict'][name]), name
    for name in ('best_score', 'best_ckpt'):
        one, two = (w['message_hub']['runtime_info'][name] for w in weights)
        assert Path(str(one)).name == Path(str(two)).name


def test_what_is_recorded_of_a_validation(streets, recorded):
    work_dir, watch = recorded
    lines = read_lines(work_dir / 'record/validations.jsonl')
    assert [line['iter'] for line in lines] == [2, 4]
    arrays = read_arrays(work_dir, 'iter', 4)
    images, line = watch.validated[4], lines[-1]
    folders = dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val')
    data = CityscapesDataset(data_root=str(streets), data_prefix=folders)
    confusion = np.zeros((19, 19), np.int64)
    for k, (rel_path, _, pred) in enumerate(images):
        info = data.get_data_info(k)
        assert info['rel_path'] == rel_path
        label = read_label(info['seg_map_path'], data.label_map)
        of_image = np.zeros((19, 19), np.int64)
        np.add.at(of_image, (label[label < 19], pred[label < 19]), 1)
        confusion += of_image
        sums = [np.diag(of_image), of_image.sum(1), of_image.sum(0)]
        found = arrays['counts'][arrays['paths'].tolist().index(rel_path)]
        assert found.tolist() == np.stack(sums).tolist()
    assert arrays['matrix'].tolist() == confusion.tolist()
    assert line['images'] == 5 and len(line['per_class']) == 19
    hit = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hit
    iou = [row['IoU'] for row in line['per_class'].values()]
    expected = 100 * hit[union > 0] / union[union > 0]
    assert [v for v in iou if v is not None] == pytest.approx(expected.tolist())
    assert line['scores']['mIoU'] == pytest.approx(expected.mean())
    logged = {}
    for path in work_dir.rglob('scalars.json'):
        for text in path.read_text().splitlines():
            logged |= json.loads(text)
    assert logged['val/IoU/road'] == line['per_class']['road']['IoU']
    # the loss at the places of the logits is near that at all pixels
    mean = np.mean([loss for _, loss, _ in images])
    assert line['losses']['decode.loss_ce'] == pytest.approx(mean, rel=0.05)


def test_the_worst_images_and_some_fixed_ones_are_kept(recorded):
    work_dir, watch = recorded
    arrays = read_arrays(work_dir, 'iter', 4)
    scores = {
        str(p): image_iou(c)
        for p, c in zip(arrays['paths'], arrays['counts'], strict=True)
    }
    pictures = read_arrays(work_dir, 'pictures', 4)
    worst = from_arrays('worst', pictures)
    assert [r.name for r, _ in worst] == sorted(scores, key=scores.get)
    assert [r.iou for r, _ in worst] == sorted(scores.values())
    predicted = {path: pred for path, _, pred in watch.validated[4]}
    for result, image in [*worst, *from_arrays('shown', pictures)]:
        assert (result.pred == predicted[result.name]).all()
        assert image.shape == (64, 128, 3)
    shown = [
        [r.name for r, _ in from_arrays('shown', read_arrays(work_dir, 'pictures', k))]
        for k in (2, 4)
    ]
    assert shown[0] == shown[1] and len(shown[0]) == 3  # one per batch


def test_a_resumed_run_goes_on_with_its_record(streets, recorded, tmp_path):
    """From the checkpoint before: what came after it is found once more."""
    shutil.copytree(recorded[0], tmp_path, dirs_exist_ok=True)
    (tmp_path / 'last_checkpoint').write_text('iter_2.pth')
    path = tmp_path / 'record/validations.jsonl'
    first, last = read_lines(path)
    path.write_text('\n'.join(json.dumps(dict(first, iter=k)) for k in (2, 3, 4)))
    again = trained_run(streets, tmp_path, resume=True)
    assert len(again.losses) == 2
    lines = read_lines(path)
    assert [line['iter'] for line in lines] == [2, 4] and lines[0] == first
    assert lines[1]['scores'] == last['scores']
    assert lines[1]['losses'] == last['losses']
    starts = read_lines(tmp_path / 'record/starts.jsonl')
    assert [start['iter'] for start in starts] == [0, 2]
    assert starts[0]['seed'] == starts[1]['seed'] == 5
    assert starts[0]['data']['training']['images'] == 6


def test_a_record_that_cannot_be_written_stops_nothing(streets, tmp_path):
    (tmp_path / 'record').write_text('a file in its place')
    watch = trained_run(streets, tmp_path, **{'train_cfg.max_iters': 2})
    assert len(watch.losses) == 2
    (log,) = tmp_path.rglob('*.log')
    assert 'The record of this run is not written' in log.read_text()
    assert (tmp_path / 'record').read_text() == 'a file in its place'


@METRICS.register_module()
class Mixed(BaseMetric):
    """A user's own metric, whose results are of many kinds."""

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        numbers = dict(half=np.float32(0.5), third=torch.tensor([3.0]), none=np.nan)
        return dict(**numbers, size=len(results), rows=[1, 2], text='of a user')


def test_a_metric_may_give_other_things_than_numbers(streets, tmp_path):
    options = {
        'train_cfg.max_iters': 2,
        'val_evaluator': [dict(type='IoUMetric'), dict(type='Mixed')],
        'default_hooks.checkpoint.save_best': 'third',
    }
    trained_run(streets, tmp_path, **options)
    (line,) = read_lines(tmp_path / 'record/validations.jsonl')
    scores = {k: line['scores'][k] for k in list(line['scores'])[3:]}
    assert scores == dict(half=0.5, third=3.0, none=None, size=5.0)
    info = torch.load(tmp_path / 'iter_2.pth')['message_hub']['runtime_info']
    assert type(info['best_score']) is float and info['best_score'] == 3
    (log,) = tmp_path.rglob('*.log')
    assert 'best third so far: 3.0000' in log.read_text()


def test_a_test_writes_what_such_a_metric_gives(tmp_path):
    runner = SimpleNamespace(
        test_evaluator=SimpleNamespace(metrics=[]),
        test_dataloader=SimpleNamespace(dataset=range(3)),
        test_dtype=torch.float32,
    )
    args = Namespace(tta=False, weights='ema', config='a.py', checkpoint='a.pth')
    means = dict(half=np.float32(0.5), third=torch.tensor([3.0]), rows=[1, 2])
    write_metrics(tmp_path / 'metrics.json', runner, means, None, args)
    written = json.loads((tmp_path / 'metrics.json').read_text())
    assert (written['half'], written['third'], written['rows']) == (0.5, [3], [1, 2])


def test_boundary_iou_counts_as_its_definition():
    """With masks class by class, as the paper has it."""
    random = np.random.default_rng(0)
    small = random.integers(0, 4, (2, 6, 9), np.uint8)
    label, pred = (np.kron(m, np.ones((11, 9), np.uint8)) for m in small)
    label[20:30, 30:50] = 255
    distance = round(0.02 * math.hypot(*label.shape))
    counts = boundary_counts(label, pred, 4)

    def outline(mask: np.ndarray) -> np.ndarray:
        inner = np.pad(mask.astype(np.uint8), 1)
        inner = cv2.erode(inner, np.ones((3, 3), np.uint8), iterations=distance)
        return mask & ~inner[1:-1, 1:-1].astype(bool)

    for k in range(4):
        known = label != 255
        truth, found = outline(label == k) & known, outline(pred == k) & known
        expected = [(truth & found).sum(), truth.sum(), found.sum()]
        assert counts[:, k].tolist() == expected and expected[0] > 0


def test_the_temperature_that_was_taken_away_is_found():
    """Labels drawn from a softmax; the network's logits are three times as large."""
    torch.manual_seed(0)
    logits = torch.randn(20_000, 5) * 2
    label = torch.multinomial(logits.softmax(1), 1)[:, 0].to(torch.uint8)
    label[:100] = 255
    found = calibration(logits * 3, label, sigmoid=False)
    assert found['pixels'] == 19_900
    assert found['temperature'] == pytest.approx(3, rel=0.05)
    assert found['mended_ece'] < 0.02 < 0.1 < found['ece']
    right = (logits.argmax(1) == label)[100:].double().mean()
    bins = found['bins']
    mean = np.average(bins['accuracy'], weights=bins['pixels'])
    assert mean == pytest.approx(float(right))
    unlabelled = torch.full_like(label, 255)
    assert calibration(logits, unlabelled, sigmoid=False) == {}
    logits[100] = torch.nan  # as a run that diverges gives
    assert calibration(logits, label, sigmoid=False)['pixels'] == 19_899


def test_each_run_of_a_process_logs_into_its_own_folder(streets, tmp_path):
    for k in range(2):
        work_dir = tmp_path / str(k)
        config = load_config(ROOT / TOY, OPTIONS, str(streets), str(work_dir))
        SegRunner.from_cfg(config).visualizer.add_scalars({'run': k}, step=1)
        (file,) = work_dir.rglob('scalars.json')
        assert json.loads(file.read_text())['run'] == k
