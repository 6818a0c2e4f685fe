"""Pipelines of prediction: ms+flip, and what must not stand in them."""

import mmcv.transforms
import numpy as np
import pytest
import torch
from formulas import fill, model_config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from pairs import LOAD, dataset, write_pairs

from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.datasets import loading, test_pipeline
from mmseg_fastscnn.evaluation import IoUMetric
from mmseg_fastscnn.registry import COUNTERPARTS, MODELS, TRANSFORMS

init_default_scope('mmseg_fastscnn')
PACK = dict(type='PackSegInputs')
RESIZE = dict(type='Resize', scale=(96, 64), keep_ratio=True)
FLIP = dict(type='RandomFlip', prob=1.0, direction='vertical')
VIEWS = [
    [dict(type='Resize', scale_factor=ratio, keep_ratio=True) for ratio in (0.8, 1.2)],
    [dict(type='RandomFlip', prob=0.0), FLIP],
    [LOAD[1]],
    [PACK],
]


def evaluated(data) -> tuple[list[np.ndarray], dict[str, float]]:
    """Predict a data set by ms+flip: label maps, and the metric."""
    segmentor = model_config(num_classes=4)
    model = MODELS.build(dict(type='SegTTAModel', module=segmentor))
    fill(model.module).eval()
    metric = IoUMetric()
    metric.dataset_meta = data.metainfo
    maps = []
    for k in range(len(data)):
        with torch.no_grad():
            samples = model.test_step(pseudo_collate([data[k]]))
        maps.append(samples[0].pred_sem_seg.data.numpy())
        metric.process({}, [sample.to_dict() for sample in samples])
    return maps, metric.evaluate(len(data))


def test_one_label_is_decoded_once(tmp_path, monkeypatch):
    folder, reads = write_pairs(tmp_path), []
    read = loading.read_label
    monkeypatch.setattr(
        loading,
        'read_label',
        lambda path, *args: reads.append(path) or read(path, *args),
    )
    pipeline = [LOAD[0], dict(type='TestTimeAug', transforms=VIEWS)]
    ours = evaluated(dataset(folder, pipeline))
    assert len(reads) == len(set(reads)) == 5
    assert all(isinstance(step, dict) for steps in VIEWS for step in steps)
    mmcvs = [list(steps) for steps in VIEWS]
    pipeline[1] = mmcv.transforms.TestTimeAug(mmcvs)
    theirs = evaluated(dataset(folder, pipeline))
    assert len(reads) == 5 + 4 * 5
    for one, other in zip(ours[0], theirs[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert ours[1] == theirs[1] and 0 < ours[1]['mIoU'] < 100


@pytest.mark.parametrize(
    'pipeline, flipped, padded',
    [
        ([LOAD[0], RESIZE, LOAD[1], PACK], None, None),
        ([*LOAD, dict(type='Pad', size_divisor=32), FLIP], 'RandomFlip', None),
        ([LOAD[0], dict(type='Pad', size=(9, 9)), RESIZE], None, 'Resize'),
        ([LOAD[0], dict(type='TestTimeAug', transforms=VIEWS)], None, None),
        # the first view is not flipped
        (
            [*LOAD, dict(type='TestTimeAug', transforms=[*VIEWS[:2], [PACK]])],
            None,
            None,
        ),
        (
            [*LOAD, dict(type='TestTimeAug', transforms=[[FLIP], [PACK]])],
            *('RandomFlip', None),
        ),
        ([*LOAD, dict(type='RandomApply', transforms=FLIP)], 'RandomFlip', None),
    ],
)
def test_the_order_of_steps(pipeline, flipped, padded):
    assert test_pipeline.label_is_flipped(pipeline) == flipped
    assert test_pipeline.resized_after_padding(pipeline) == padded


def test_steps_of_training_are_found():
    toy = load_config('configs/fastscnn/fast_scnn_toy_streets.py')
    assert test_pipeline.training_steps(toy.train_dataloader.dataset.pipeline) == [
        *('RandomCrop', 'PhotoMetricDistortion')
    ]
    for pipeline in (toy.test_dataloader.dataset.pipeline, toy.tta_pipeline):
        assert test_pipeline.training_steps(pipeline) == []
    rotate = dict(type='RandomRotate', prob=0.5, degree=10)
    nested = [dict(type='RandomApply', transforms=[rotate])]
    assert test_pipeline.training_steps(nested) == ['RandomRotate']
    assert all(map(TRANSFORMS.get, test_pipeline.TRAINING_ONLY))


MMSEGMENTATION = """
    AdjustGamma Albu BioMedical3DPad BioMedical3DRandomCrop BioMedical3DRandomFlip
    BioMedicalGaussianBlur BioMedicalGaussianNoise BioMedicalRandomGamma CLAHE
    ConcatCDInput GenerateEdge LoadAnnotations LoadBiomedicalAnnotation
    LoadBiomedicalData LoadBiomedicalImageFromFile LoadDepthAnnotation LoadImageFromFile
    LoadImageFromNDArray LoadMultipleRSImageFromFile LoadOneDLAnnotations
    LoadSingleRSImageFromFile PackSegInputs PhotoMetricDistortion RGB2Gray RandomCrop
    RandomCutOut RandomDepthMix RandomFlip RandomMosaic RandomRotFlip RandomRotate
    Rerange Resize ResizeShortestEdge ResizeToMultiple SegRescale
    CenterCrop Normalize Pad RandomApply RandomChoice
    RandomChoiceResize RandomGrayscale RandomResize TestTimeAug
"""


def test_each_step_of_mmsegmentation_exists_or_has_a_counterpart():
    for name in MMSEGMENTATION.split():
        advice = COUNTERPARTS.get(name)
        assert (TRANSFORMS.get(name) is None) == (advice is not None), name
        assert advice is None or not advice.endswith('.')
    assert 'NoSuchStep' not in COUNTERPARTS
    assert 'TestTimeAug' in COUNTERPARTS['MultiScaleFlipAug']
    assert 'size_divisor' in COUNTERPARTS['ResizeToMultiple']
