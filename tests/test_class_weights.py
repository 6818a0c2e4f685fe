"""Class weights that are counted from the labels."""

import re

import numpy as np
import pytest
import torch
from conftest import ROOT, TOY, free_port, run, small_run
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.hooks import EMAHook
from PIL import Image

from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.datasets import CityscapesDataset
from mmseg_fastscnn.datasets.cityscapes import CLASSES
from mmseg_fastscnn.datasets.class_weights import balanced_weights, class_pixel_counts
from mmseg_fastscnn.engine.runner import SegRunner


def streets_data(root, split: str, **options) -> CityscapesDataset:
    prefix = dict(img_path=f'leftImg8bit/{split}', seg_map_path=f'gtFine/{split}')
    return CityscapesDataset(str(root), prefix, **options)


def counted(root, split: str) -> np.ndarray:
    """Pixels of each class, and labelled pixels of the images that have it."""
    total = np.zeros((2, 19), int)
    for path in (root / 'gtFine' / split).rglob('*_labelIds.png'):
        raw = np.asarray(Image.open(path))
        pixels = np.array([(raw == label_id).sum() for _, label_id, _ in CLASSES])
        total += np.stack([pixels, np.where(pixels > 0, pixels.sum(), 0)])
    return total


def test_every_label_is_counted(streets):
    train, val = streets_data(streets, 'train'), streets_data(streets, 'val')
    expected = counted(streets, 'train')
    assert (class_pixel_counts(train, threads=3) == expected).all()
    parts = [class_pixel_counts(train, part, 4) for part in range(4)]
    assert (sum(parts) == expected).all() and (parts[0] != parts[1]).any()
    assert (class_pixel_counts(RepeatDataset(train, 3)) == 3 * expected).all()
    both = class_pixel_counts(ConcatDataset([train, val]))
    assert (both == expected + counted(streets, 'val')).all()


def test_an_ignored_class_is_not_counted(streets):
    everything = class_pixel_counts(streets_data(streets, 'val'))
    found = class_pixel_counts(streets_data(streets, 'val', ignore_index=0))
    assert everything[0, 0] > 0 and (found[:, 0] == 0).all()
    assert (found[0, 1:] == everything[0, 1:]).all()
    (road_everywhere,) = {everything[1, 0]}  # so each image has that many fewer
    assert found[1].max() <= road_everywhere - everything[0, 0]


def test_labels_that_are_repeated_count_as_often(streets):
    train = streets_data(streets, 'train')
    train.get_cat_ids = lambda index: [0] if index < 5 else [1]
    balanced = ClassBalancedDataset(train, oversample_thr=2 / 3)
    assert balanced.repeat_indices == [0, 1, 2, 3, 4, 5, 5]
    again = streets_data(streets, 'train')
    once = class_pixel_counts(again, part=5, parts=6)  # the last of 6 images
    expected = class_pixel_counts(again) + once
    assert (class_pixel_counts(balanced) == expected).all()


def test_labels_are_needed(streets):
    data = CityscapesDataset(str(streets), dict(img_path='leftImg8bit/train'))
    with pytest.raises(ValueError, match='no label file for sample 0'):
        class_pixel_counts(data)


def test_balanced_weights():
    counts = np.array([[600, 0, 300, 100], [1000, 0, 600, 1000]])
    enet = [1 / np.log(1.62), 1, 1 / np.log(1.32), 1 / np.log(1.12)]
    assert balanced_weights(counts, 'auto') == pytest.approx(enet)
    assert balanced_weights(counts, 'enet') == pytest.approx(enet)
    median = [0.5 / 0.6, 1, 1, 0.5 / 0.1]  # frequencies 0.6, none, 0.5, 0.1
    assert balanced_weights(counts, 'median_frequency') == pytest.approx(median)
    # shares 1/16, 81/256, 159/256, whose powers of -0.25 are 2, 4/3 and 1.1265
    shares = np.array([[16, 81, 159], [256, 256, 256]])
    mean = 2 / 16 + 4 / 3 * 81 / 256 + 1.126464 * 159 / 256
    root = [2 / mean, 4 / 3 / mean, 1.126464 / mean]
    assert balanced_weights(shares, 'fourth_root') == pytest.approx(root, rel=1e-5)
    with pytest.raises(ValueError, match="class_weight is 'atuo'; it must be"):
        balanced_weights(counts, 'atuo')


def trained(class_weight, streets, work_dir) -> SegRunner:
    """Train 3 steps with averaged weights, and validate them."""
    average = dict(type='EMAHook', momentum=0.1, update_buffers=True)
    loss = dict(type='CrossEntropyLoss', class_weight=class_weight)
    settings = {
        'custom_hooks': [average],
        'model.decode_head.loss_decode': loss,
        'train_cfg.max_iters': 3,
        'train_cfg.val_interval': 3,
        'train_dataloader.num_workers': 0,
        'val_dataloader.num_workers': 0,
        'randomness': dict(seed=0),
    }
    config = load_config(TOY, settings, str(streets), str(work_dir))
    runner = SegRunner.from_cfg(config)
    runner.train()
    return runner


def test_averaged_weights_are_those_of_given_class_weights(streets, tmp_path):
    """The average is a copy of the model: what is counted must be there before."""
    given = balanced_weights(counted(streets, 'train'), 'enet').tolist()
    runs = [
        trained(weights, streets, tmp_path / str(k))
        for k, weights in enumerate(['auto', given])
    ]
    averages = [
        next(hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook))
        for runner in runs
    ]
    for one, other in (averages, [runner.model for runner in runs]):
        assert one.state_dict().keys() == other.state_dict().keys()
        for name, value in one.state_dict().items():
            torch.testing.assert_close(value, other.state_dict()[name], rtol=0, atol=0)
    # the auxiliary heads come after the weights in the model
    name = 'auxiliary_head.0.convs.0.bn.running_mean'
    assert not torch.equal(averages[0].module.state_dict()[name], torch.zeros(32))
    checkpoint, options = tmp_path / '0/iter_3.pth', ['--data-root', streets]
    assert 'mIoU' in run('tools/test.py', checkpoint, *options)  # which counts nothing


CONFIG = """
_base_ = ['{base}']
loss = dict(type='CrossEntropyLoss', class_weight='auto')
model = dict(
    decode_head=dict(loss_decode=dict(_delete_=True, **loss)), auxiliary_head=None
)
custom_hooks = [dict(type='ClassWeightHook')]
"""


def test_two_processes_count_before_they_train(streets, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.format(base=ROOT / TOY))
    options = ['--work-dir', tmp_path, '--data-root', streets, *small_run(2)]
    printed = run('tools/dist_train.sh', config, 2, *options, PORT=free_port())
    assert printed.count("class_weight='auto'") == 1
    weights = balanced_weights(counted(streets, 'train'), 'enet')
    for (name, *_), weight in zip(CLASSES, weights, strict=True):
        (shown,) = re.findall(rf'^  {name} +[\d.]+ % +([\d.]+)$', printed, re.M)
        assert float(shown) == pytest.approx(weight, abs=6e-4)
    assert 'Iter(train) [2/2]' in printed
