"""Validation during training uses the network's inference form."""

import copy

import pytest
import torch
from conftest import ROOT, TOY
from formulas import fill, image_batch, model_config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from test_golden import assert_same_labels

from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.engine.inference_form import inference_copy
from mmseg_fastscnn.models.row_bands import RowBands
from mmseg_fastscnn.registry import MODELS, RUNNERS

init_default_scope('mmseg_fastscnn')


class Watch(Hook):
    """What `runner.model` is, when; fails after an image if told to."""

    priority = 'VERY_LOW'

    def __init__(self, fails: bool):
        self.fails = fails
        self.during, self.after = [], []

    def after_val_iter(self, runner, *args, **kwargs):
        self.during.append(copy.deepcopy(runner.model.backbone.first_conv.weight))
        assert any(isinstance(part, RowBands) for part in runner.model.modules())
        assert not any('BatchNorm' in str(type(m)) for m in runner.model.modules())
        if self.fails:
            raise OSError('no more images')

    def after_val_epoch(self, runner, *args, **kwargs):
        self.after.append(runner.model)


@pytest.mark.parametrize('fails', [False, True])
def test_the_copy_validates_and_the_trained_model_is_saved(streets, tmp_path, fails):
    options = {
        'train_cfg.max_iters': 2,
        'train_cfg.val_interval': 1,
        'default_hooks.checkpoint.interval': 1,
        'train_dataloader.batch_size': 2,
        'train_dataloader.num_workers': 0,
        'val_dataloader.num_workers': 0,
        'custom_hooks': [dict(type='EMAHook', momentum=0.5)],
    }
    config = load_config(ROOT / TOY, options, str(streets), str(tmp_path))
    config.experiment_name = tmp_path.name
    runner = RUNNERS.get('SegRunner').from_cfg(config)
    trained, watch = runner.model, Watch(fails)
    runner.register_hook(watch)
    if fails:
        with pytest.raises(OSError, match='no more images'):
            runner.train()
    else:
        runner.train()
        assert watch.after == [trained, trained]
        saved = torch.load(tmp_path / 'iter_2.pth', weights_only=True)['state_dict']
        assert set(saved) == set(trained.state_dict())
        name = 'backbone.learning_to_downsample.conv.'
        scale = saved[f'{name}bn.weight'] / torch.sqrt(
            saved[f'{name}bn.running_var'] + 1e-5
        )
        # the file holds the averaged weights, and these were validated
        folded = saved[f'{name}conv.weight'] * scale[:, None, None, None]
        torch.testing.assert_close(watch.during[-1], folded)
    assert runner.model is trained
    assert not any(isinstance(part, RowBands) for part in trained.modules())


def test_the_copy_gives_the_same_labels(monkeypatch):
    monkeypatch.setattr('mmseg_fastscnn.models.row_bands.BAND_BYTES', 1)
    model = fill(MODELS.build(model_config()))
    folded = inference_copy(model)
    assert model.training and len(model.auxiliary_head) == 2
    assert not folded.training and len(folded.auxiliary_head) == 0
    image = image_batch(1, 97, 161)
    with torch.no_grad():
        whole = model.eval().predict(image, with_logits=True)[0]
        ours = folded.predict(image)[0]
    assert_same_labels(
        ours.pred_sem_seg.data[0],
        whole.pred_sem_seg.data[0].numpy(),
        whole.seg_logits.data,
    )
