"""What is compared before the first step, and what is said of it."""

import shutil
from copy import deepcopy

import cv2
import numpy as np
import pytest
from conftest import TOY, run, small_run
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook

from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.datasets import SegDataset, sample_facts
from mmseg_fastscnn.datasets.doctor.findings import learnable
from mmseg_fastscnn.engine import startup
from mmseg_fastscnn.engine.dry_run import dry_run
from mmseg_fastscnn.engine.runner import SegRunner
from mmseg_fastscnn.registry import METRICS

SMALL = {
    'train_dataloader.batch_size': 2,
    'train_dataloader.num_workers': 0,
    'val_dataloader.num_workers': 0,
}
EPOCHS = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=2)
IN_ORDER = dict(_delete_=True, type='DefaultSampler', shuffle=True)


class Enough(Exception):
    pass


class StopBeforeTheFirstStep(Hook):
    priority = 'LOWEST'

    def before_train(self, runner) -> None:
        raise Enough


def start(streets, work_dir, options: dict) -> str:
    """Start a run, stop it before its first step, and return its log."""
    options = deepcopy({**SMALL, **options})  # `_delete_` is taken out of it
    config = load_config(TOY, options, str(streets), str(work_dir))
    runner = SegRunner.from_cfg(config)
    runner.register_hook(StopBeforeTheFirstStep())
    with pytest.raises(Enough):
        runner.train()
    (log,) = work_dir.glob('*/*.log')
    return log.read_text()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'train_cfg': EPOCHS}, 'first epoch never ends. Set sampler='),
        (
            {'train_dataloader.sampler': IN_ORDER, 'train_dataloader.batch_size': 5},
            'last batch of 6 images in batches of 5 has one image',
        ),
        ({'train_dataloader.batch_size': 1}, 'The batch has one image'),
        (
            {
                'train_dataloader.sampler': IN_ORDER,
                'train_dataloader.batch_size': 8,
                'train_dataloader.drop_last': True,
            },
            'no batch: there are 6 images for each process, the batch has 8',
        ),
        (
            {
                'train_cfg': EPOCHS,
                'train_dataloader.sampler': IN_ORDER,
                'train_dataloader.batch_size': 8,
                'train_dataloader.drop_last': True,
            },
            'no batch: there are 6 images for each process, the batch has 8',
        ),
        (
            {'model.auxiliary_head.0.num_classes': 3},
            r'model\.auxiliary_head\.0 has num_classes=3, the training data 19 classes',
        ),
        (
            {'model.data_preprocessor.size': (64, 384)},
            r'crop_size in the training pipeline is \(192, 384\), .*size \(64, 384\)',
        ),
        (
            {'default_hooks.checkpoint.save_best': 'mFscore'},
            "save_best is 'mFscore', but validation gives mIoU, mAcc, aAcc",
        ),
        (
            {
                'val_dataloader.dataset.pipeline': [
                    dict(type='LoadImageFromFile'),
                    dict(type='LoadAnnotations'),
                    dict(type='Resize', scale=(64, 32)),
                    dict(type='PackSegInputs'),
                ]
            },
            r'the label of .* is \(32, 64\), its image \(64, 128\)',
        ),
        (
            {
                'val_dataloader.dataset.pipeline': [
                    dict(type='LoadImageFromFile'),
                    dict(type='RandomCrop', crop_size=(32, 32)),
                    dict(type='PackSegInputs'),
                ]
            },
            'RandomCrop in the pipeline of val_dataloader is a step of training',
        ),
        (
            {'model.decode_head.ignore_index': 3},
            r'model\.decode_head 3, .*train_dataloader\.dataset 255',
        ),
        (
            {
                'train_dataloader.dataset.metainfo': dict(classes=['road']),
                'val_dataloader.dataset.metainfo': dict(classes=['road']),
                'model.num_classes': 1,
            },
            r"of the classes \['road'\] only \['road'\] occur in the 6 training labels",
        ),
    ],
)
def test_what_cannot_work_stops_the_run(streets, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        start(streets, tmp_path, options)
    assert not list(tmp_path.glob('*.pth'))


def test_masks_of_0_and_255_are_said_to_have_one_class(tmp_path):
    """Half of each mask is 255, which is ignored unless label_map says otherwise."""
    mask = np.repeat(np.uint8([[0], [255]]), 32, 0).repeat(64, 1)
    for folder, pixels in (
        ('images', np.zeros((64, 64, 3), np.uint8)),
        ('masks', mask),
    ):
        (tmp_path / folder).mkdir()
        for name in ('a.png', 'b.png'):
            cv2.imwrite(str(tmp_path / folder / name), pixels)
    data = dict(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        metainfo=dict(classes=['background', 'thing']),
    )
    (finding,) = learnable(sample_facts(SegDataset(**data)))
    assert finding.stops and "label_map={0: 0, 255: 1} reads 255 as 'thing'" in (
        finding.text
    )
    assert "only ['background'] occur in the 2 training labels" in finding.text
    right = SegDataset(**data, label_map={0: 0, 255: 1})
    assert list(learnable(sample_facts(right))) == []


def test_the_files_are_looked_at_before_the_first_step(streets, tmp_path):
    """A validation image that is a training image, and a label of another size."""
    root = tmp_path / 'streets'
    shutil.copytree(streets, root)
    train, val = (sorted(root.glob(f'leftImg8bit/{s}/*/*')) for s in ('train', 'val'))
    shutil.copy(train[2], val[1])
    log = start(root, tmp_path / 'doubtful', {})
    assert 'Doubtful: 1 of 5 validation images are training images, too' in log
    assert f'{val[1]} is {train[2]}' in log
    label = sorted(root.glob('gtFine/train/*/*_labelIds.png'))[3]
    cv2.imwrite(str(label), cv2.imread(str(label), cv2.IMREAD_UNCHANGED)[:50])
    with pytest.raises(ValueError, match=r'labels do not lie on .*is 50x128 \(h x w\)'):
        start(root, tmp_path / 'stopped', {})


def test_all_findings_come_together(streets, tmp_path):
    options = {
        'train_dataloader.batch_size': 1,
        'default_hooks.checkpoint.save_best': 'IoU',
    }
    with pytest.raises(ValueError, match=r'(?s)one image.*\n.*save_best is') as found:
        start(streets, tmp_path, options)
    assert len(str(found.value).splitlines()) == 2


def test_what_is_doubtful_is_said(streets, tmp_path):
    options = {
        'param_scheduler.1.by_epoch': True,
        'model.data_preprocessor.size': (1920, 3840),
        'model.test_cfg': dict(mode='slide', crop_size=(64, 64), stride=(32, 32)),
        'optim_wrapper.paramwise_cfg': dict(custom_keys={'bakcbone': dict(lr_mult=2)}),
        'train_cfg.max_iters': 50,
    }
    log = start(streets, tmp_path, options)
    for line in [
        'PolyLR in param_scheduler counts epochs (by_epoch=True) and the run',
        'the schedule of the learning rate is for 30 iterations (end in param_schedul',
        'RandomCrop.crop_size in the training pipeline is (192, 384), model.data_pre',
        'RandomCrop.crop_size in the training pipeline is (192, 384), model.test_cfg',
        "optim_wrapper.paramwise_cfg.custom_keys has 'bakcbone', which no param",
    ]:
        assert f'Doubtful: {line}' in log, line
    assert '99.0 % of each image would be padding' in log and 'Traceback' not in log


def test_an_epoch_run_is_described_in_epochs(streets, tmp_path):
    options = {
        'train_cfg': EPOCHS,
        'train_dataloader.sampler': IN_ORDER,
        'param_scheduler': [
            dict(type='LinearLR', start_factor=0.1, begin=0, end=3, by_epoch=False),
            dict(type='PolyLR', begin=0, end=2, by_epoch=True),
        ],
    }
    log = start(streets, tmp_path, options)
    assert '2 epochs of 3 iterations from epoch 0' in log
    assert 'every 1 epochs' in log and 'Doubtful' not in log


@METRICS.register_module()
class CountingMetric(BaseMetric):
    """A user's own metric; it does not say which values it gives."""

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return dict(count=len(results))


def test_a_metric_of_the_user_starts_and_the_labels_are_looked_at_once(
    streets, tmp_path, monkeypatch
):
    looks = []

    def look(*args):
        looks.append(args)
        return sample_facts(*args)

    monkeypatch.setattr(startup, 'sample_facts', look)
    start(
        *(streets, tmp_path),
        {
            'val_evaluator': dict(_delete_=True, type='CountingMetric'),
            'default_hooks.checkpoint.save_best': 'count',
        },
    )
    assert len(looks) == 1


def test_every_data_set_is_asked_for_its_ignored_id(streets, tmp_path):
    config = load_config(TOY, SMALL, str(streets), str(tmp_path))
    one = config.train_dataloader.dataset
    parts = [dict(one, ignore_index=7), one]  # the first one differs
    config.train_dataloader.dataset = dict(type='ConcatDataset', datasets=parts)
    with pytest.raises(ValueError, match=r'train_dataloader\.dataset 7, train_datal'):
        SegRunner.from_cfg(config).train()


def test_a_config_can_resume_by_itself(streets, trained, tmp_path):
    """`resume=True` in the config, as mmengine reads it, and nothing left to train."""
    for path in (trained[0] / 'iter_4.pth', trained[0] / 'last_checkpoint'):
        shutil.copy(path, tmp_path)
    options = {**SMALL, 'train_cfg.max_iters': 4, 'train_cfg.val_interval': 4}
    config = load_config(TOY, options, str(streets), str(tmp_path))
    config.resume = True
    runner = SegRunner.from_cfg(config)
    runner.train()
    assert runner.iter == 4
    with pytest.raises(ValueError, match='has taken all 4 iterations already'):
        dry_run(runner.cfg)


def test_a_dry_run_takes_one_step_and_leaves_nothing(streets, tmp_path):
    work_dir = tmp_path / 'run'
    printed = run(
        *['tools/train.py', TOY, '--data-root', streets, '--work-dir', work_dir],
        *['--dry-run', *small_run()],
    )
    assert 'One step: loss ' in printed and 'decode.loss_ce ' in printed
    assert 'One validation batch: 1 images' in printed
    assert 'Nothing was written' in printed and not work_dir.exists()


@pytest.mark.parametrize(
    'scale, padding, said',
    [
        ((90, 45), None, True),
        ((96, 32), None, False),
        ((90, 45), dict(size_divisor=32), False),
    ],
)
def test_validation_images_that_stretch_the_coarse_maps(
    streets, tmp_path, scale, padding, said
):
    steps = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=scale)]
    steps += [dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    options = {
        'val_dataloader.dataset.pipeline': steps,
        'model.data_preprocessor.test_cfg': padding,
    }
    log = start(streets, tmp_path, options)
    line = (
        'Coarse maps lie over validation images such as the first, 45x90 (h x w), other'
    )
    assert (line in log) == said
