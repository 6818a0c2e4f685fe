import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from formulas import label_batch

from mmseg_fastscnn.evaluation import IoUMetric

DATA = Path(__file__).parent / 'data'


def samples(pred, label) -> list[dict]:
    return [
        dict(pred_sem_seg=dict(data=p[None]), gt_sem_seg=dict(data=t[None]))
        for p, t in zip(pred, label, strict=True)
    ]


def metric(num_classes: int, *names: str) -> IoUMetric:
    result = IoUMetric(iou_metrics=names)
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


def test_without_labels_nothing_is_measured():
    ours = metric(2, 'mIoU')
    ours.process({}, [dict(pred_sem_seg=dict(data=torch.zeros(1, 2, 2)))])
    assert ours.evaluate(1) == {}


def test_unknown_metric():
    with pytest.raises(ValueError, match='mIou'):
        IoUMetric(iou_metrics=['mIou'])


def test_table_has_a_line_a_class():
    from mmseg_fastscnn.evaluation import format_table

    table = format_table({'road': {'IoU': 97.123}, 'sky': {'IoU': np.nan}}, ['IoU'])
    assert table.splitlines()[1:] == ['road       97.12', 'sky          nan']
