import json
import math
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT
from formulas import label_batch

from mmseg_fastscnn.evaluation import IoUMetric

sys.path.insert(0, str(ROOT / 'benchmarks'))

from grid import seen_through_cells

DATA = Path(__file__).parent / 'data'


def samples(pred, label) -> list[dict]:
    return [
        dict(pred_sem_seg=dict(data=p[None]), gt_sem_seg=dict(data=t[None]))
        for p, t in zip(pred, label, strict=True)
    ]


def metric(num_classes: int, *names: str, **options) -> IoUMetric:
    result = IoUMetric(iou_metrics=names, **options)
    result.dataset_meta = dict(classes=[f'c{k}' for k in range(num_classes)])
    return result


def test_golden():
    label = label_batch(3, 96, 160)
    pred = label.clone()
    pred[:, ::3] = label.roll(3, dims=2)[:, ::3]
    pred[pred == 255] = 7
    ours = metric(19, 'mIoU', 'mDice', 'mFscore')
    ours.process({}, samples(pred[:2], label[:2]))  # in two batches
    ours.process({}, samples(pred[2:], label[2:]))
    golden = json.loads((DATA / 'metric.json').read_text())  # rounded to 2 decimals
    means = ours.evaluate(3)
    assert {k: means[k] for k in golden} == pytest.approx(golden, abs=0.0051)


def test_a_class_that_does_not_occur_is_left_out():
    ours = metric(3, 'mIoU')
    label = torch.tensor([[[0, 0, 1, 255]]], dtype=torch.uint8)
    pred = torch.tensor([[[0, 1, 1, 2]]])
    ours.process({}, samples(pred, label))
    means = ours.evaluate(1)
    assert means == pytest.approx({'aAcc': 200 / 3, 'mIoU': 50, 'mAcc': 75})
    assert ours.per_class['c0'] == {'IoU': 50, 'Acc': 50}
    assert math.isnan(ours.per_class['c2']['IoU'])
    ours.process({}, samples(label.long(), label))  # starts anew
    assert ours.evaluate(1)['mIoU'] == 100


def test_a_class_that_is_never_predicted_counts_as_zero():
    ours = metric(2, 'mFscore', 'mDice')
    label = torch.tensor([[[0, 1]]], dtype=torch.uint8)
    ours.process({}, samples(torch.zeros(1, 1, 2, dtype=torch.long), label))
    means = ours.evaluate(1)
    assert means['mFscore'] == means['mDice'] == pytest.approx(100 / 3)
    assert means['mIoU'] == 25


def test_images_counted_twice_are_an_error():
    ours = metric(2, 'mIoU')
    label = torch.zeros(3, 2, 2, dtype=torch.uint8)
    ours.process({}, samples(label.long(), label))
    with pytest.raises(
        RuntimeError, match='3 images were evaluated of a data set of 2'
    ):
        ours.evaluate(2)


def test_ids_outside_the_classes_are_an_error():
    fine = torch.tensor([[[0, 1, 1, 0]]], dtype=torch.uint8)
    for pred, label, last in [
        (fine, torch.tensor([[[0, 1, 7, 255]]], dtype=torch.uint8), 7),
        (torch.tensor([[[0, 2, 0, 0]]], dtype=torch.uint8), fine, 2),
    ]:
        ours = metric(2, 'mIoU')
        ours.process({}, samples(pred, label))
        with pytest.raises(ValueError, match=f'outside 0 to 1.*found 0 to {last}'):
            ours.evaluate(1)


def test_without_labels_nothing_is_measured():
    ours = metric(2, 'mIoU')
    ours.process({}, [dict(pred_sem_seg=dict(data=torch.zeros(1, 2, 2)))])
    assert ours.evaluate(1) == {} and ours.report() == {}


def test_unknown_metric():
    with pytest.raises(ValueError, match='mIou'):
        IoUMetric(iou_metrics=['mIou'])


LABEL = torch.tensor([[[0, 0, 1, 1, 1, 255]]], dtype=torch.uint8)
PRED = torch.tensor([[[0, 1, 1, 1, 0, 1]]])


def test_report_and_names():
    """What evaluate() returns has the names of `keys`; the report has JSON's null."""
    ours = metric(3, 'mFscore', prefix='val')
    ours.process({}, samples(PRED, LABEL))
    means = ours.evaluate(1)
    assert (
        list(means)
        == ours.keys
        == [
            *('val/mIoU', 'val/mAcc', 'val/mFscore', 'val/mPrecision', 'val/mRecall'),
            'val/aAcc',
        ]
    )
    report = json.loads(json.dumps(ours.report()))
    assert report['num_images'] == 1 and report['mIoU'] == means['val/mIoU']
    assert report['mIoU'] == pytest.approx(100 * (1 / 3 + 2 / 4) / 2)
    assert report['per_class']['c1']['Recall'] == pytest.approx(200 / 3)
    assert report['per_class']['c2']['IoU'] is None


def test_beta_weighs_recall():
    ours = metric(2, 'mFscore', beta=2)
    ours.process({}, samples(PRED, LABEL))
    ours.evaluate(1)
    assert ours.per_class['c0']['Fscore'] == pytest.approx(50)
    precision = recall = 2 / 3
    score = 5 * precision * recall / (4 * precision + recall)
    assert ours.per_class['c1']['Fscore'] == pytest.approx(100 * score)


def test_nan_to_num_stands_for_a_class_that_does_not_occur():
    ours = metric(3, nan_to_num=0)
    ours.process({}, samples(PRED, LABEL))
    assert ours.evaluate(1)['mIoU'] == pytest.approx(100 * (1 / 3 + 2 / 4) / 3)
    assert ours.per_class['c2']['IoU'] == 0


def test_another_ignored_label():
    ours = metric(2, ignore_index=0)
    ours.process({}, samples(PRED, LABEL))
    assert ours.evaluate(1)['aAcc'] == pytest.approx(200 / 3)


def test_counts_per_image():
    ours = metric(2, per_image=True)
    both = samples(PRED.repeat(2, 1, 1), torch.cat([LABEL, LABEL * 0]))
    for sample, name in zip(both, ['a/0.png', 'b/0.png'], strict=True):
        sample['rel_path'] = name
    ours.process({}, both)
    ours.evaluate(2)
    # correct, labelled and predicted, of matrices [[1, 1], [1, 2]] and [[2, 4], [0, 0]]
    assert ours.image_counts['a/0.png'].tolist() == [[1, 2], [2, 3], [2, 3]]
    assert ours.image_counts['b/0.png'].tolist() == [[2, 0], [6, 0], [2, 4]]
    assert ours.confusion.tolist() == [[3, 5], [1, 2]]


def prediction(folder: Path, name: str = 'x/0.jpg') -> list[dict]:
    """A predicted sample without a label; its image is in `folder`."""
    raw_ids = np.arange(0, 25600, 100).astype(np.uint16)
    facts = dict(img_path=str(folder / name), rel_path=name, raw_ids=raw_ids)
    return [dict(facts, pred_sem_seg=dict(data=PRED))]


def test_format_only_writes_raw_ids(tmp_path):
    ours = metric(2, output_dir=str(tmp_path / 'out'), format_only=True)
    for _ in range(2):  # the second replaces the results of the first
        ours.process({}, prediction(tmp_path / 'images'))
        assert ours.evaluate(1) == {} and ours.keys == []
    written = cv2.imread(str(tmp_path / 'out/x/0.png'), cv2.IMREAD_UNCHANGED)
    assert written.tolist() == (100 * PRED[0]).tolist() and written.dtype == np.uint16
    with pytest.raises(ValueError, match='set output_dir'):
        metric(2, format_only=True)


def test_results_replace_neither_inputs_nor_each_other(tmp_path):
    ours = metric(2, output_dir=str(tmp_path / 'out'))
    ours.process({}, prediction(tmp_path / 'images'))
    with pytest.raises(ValueError, match=r'Two results would be .*x/0\.png'):
        ours.process({}, prediction(tmp_path / 'others'))
    with pytest.raises(ValueError, match=r'would lie in .*images, where the data set'):
        metric(2, output_dir=str(tmp_path / 'images')).process(
            {}, prediction(tmp_path / 'images')
        )
    labels = prediction(tmp_path / 'images')
    labels[0]['seg_map_path'] = str(tmp_path / 'labels/x/0.png')
    with pytest.raises(ValueError, match=r'would lie in .*labels/x, where'):
        metric(2, output_dir=str(tmp_path / 'labels')).process({}, labels)
    assert not (tmp_path / 'images').exists() and not (tmp_path / 'labels').exists()
    # of a data set that has not been read yet
    cv2.imwrite(str(tmp_path / 'out/x/1.png'), np.ones((2, 2), np.uint8))
    with pytest.raises(ValueError, match=r'1\.png exists and is not a result'):
        ours.process({}, prediction(tmp_path / 'images', 'x/1.jpg'))
    assert cv2.imread(str(tmp_path / 'out/x/1.png')).sum() == 12


def test_table_has_a_line_a_class():
    from mmseg_fastscnn.evaluation import format_table

    table = format_table({'road': {'IoU': 97.123}, 'sky': {'IoU': np.nan}}, ['IoU'])
    assert table.splitlines()[1:] == ['road       97.12', 'sky          nan']


def test_what_the_grid_of_the_logits_allows():
    """Stripes of whole cells are seen as they are, a line of two pixels is not."""
    stripes = torch.arange(40).div(8, rounding_mode='floor').repeat(19, 1) % 3
    assert torch.equal(seen_through_cells(stripes, 3, 8), stripes)
    label = stripes.clone()
    label[:, 18:20] = 1
    label[0] = 255
    assert (seen_through_cells(label, 3, 8)[1:, 18:20] == 2).all()
    assert torch.equal(seen_through_cells(label, 3, 2)[2:], label[2:])
