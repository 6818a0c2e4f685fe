"""What the shipped configs say."""

import pytest
from conftest import ROOT
from mmengine.registry import init_default_scope

from mmseg_fastscnn.config import all_datasets, load_config
from mmseg_fastscnn.config.text import as_text, config_text
from mmseg_fastscnn.registry import DATASETS, MODELS

CONFIGS = sorted((ROOT / 'configs/fastscnn').glob('*.py'))
REPRODUCTION = ROOT / 'configs/fastscnn/fast_scnn_lr0.12_8x4_160k_cityscapes.py'
init_default_scope('mmseg_fastscnn')


def steps(pipeline) -> dict:
    return {step.pop('type'): step for step in map(dict, pipeline)}


def test_the_reproduction_config_is_the_published_run():
    config = load_config(REPRODUCTION)
    train = config.train_dataloader
    assert steps(train.dataset.pipeline) == {
        'LoadImageFromFile': {},
        'LoadAnnotations': {},
        'RandomResize': dict(
            scale=(2048, 1024), ratio_range=(0.5, 2.0), keep_ratio=True
        ),
        'RandomCrop': dict(crop_size=(512, 1024), cat_max_ratio=0.75),
        'RandomFlip': dict(prob=0.5),
        'PhotoMetricDistortion': {},
        'PackSegInputs': {},
    }
    assert (train.batch_size, config.auto_scale_lr) == (
        4,
        dict(enable=True, base_batch_size=32),
    )
    assert config.optim_wrapper.type == 'OptimWrapper'
    assert config.optim_wrapper.optimizer == dict(
        type='SGD', lr=0.12, momentum=0.9, weight_decay=4e-5
    )
    assert config.param_scheduler == [
        dict(
            type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=160_000, by_epoch=False
        )
    ]
    assert config.train_cfg.max_iters == 160_000
    assert config.train_cfg.val_interval == 16_000
    checkpoint = config.default_hooks.checkpoint
    assert (checkpoint.interval, checkpoint.save_best) == (16_000, 'mIoU')
    model = config.model
    assert model.norm_cfg == dict(type='SyncBN', requires_grad=True, momentum=0.01)
    preprocessor = model.data_preprocessor
    assert preprocessor.mean == [123.675, 116.28, 103.53]
    assert preprocessor.std == [58.395, 57.12, 57.375]
    assert preprocessor.size == (512, 1024)
    heads = [model.decode_head, *model.auxiliary_head]
    losses = [dict(head.loss_decode) for head in heads]
    assert [loss.pop('loss_weight') for loss in losses] == [1.0, 0.4, 0.4]
    assert losses == [dict(type='CrossEntropyLoss', use_sigmoid=True)] * 3
    built = MODELS.build(model)
    for head in (built.decode_head, *built.auxiliary_head):
        assert not head.loss_decode[0].avg_non_ignore and head.dropout.p == 0.1


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_every_config_fits_together(path):
    config = load_config(path)
    model = MODELS.build(config.model)
    crop = steps(config.train_dataloader.dataset.pipeline)['RandomCrop']['crop_size']
    assert tuple(config.model.data_preprocessor.size) == tuple(crop)
    for dataset in all_datasets(config):
        kind = DATASETS.get(dataset.type)
        classes = dataset.get('metainfo', kind.METAINFO)['classes']
        assert len(classes) == model.num_classes
    assert config.param_scheduler[-1].end == config.train_cfg.max_iters
    assert config.default_hooks.checkpoint.save_best == 'mIoU'
    assert config.default_hooks.checkpoint.max_keep_ckpts == 3
    base = config.auto_scale_lr.base_batch_size
    assert base % config.train_dataloader.batch_size == 0
    for loader in (config.val_dataloader, config.test_dataloader):
        assert loader.sampler.round_up is False
    assert config.tta_model.type == 'SegTTAModel'
    doc = path.read_text().split('"""')[1]
    assert 'tools/train.py' in doc or 'dist_train.sh' in doc  # how to run it


def test_data_root_moves_every_data_set(tmp_path):
    path = tmp_path / 'two_sets.py'
    path.write_text(
        f"_base_ = ['{CONFIGS[0]}']\n"
        "one = dict(type='CamVidDataset', data_root='a')\n"
        'train_dataloader = dict(dataset=dict(_delete_=True, '
        "type='ConcatDataset', datasets=[one, dict(one, data_root='b')]))\n"
    )
    config = load_config(path, data_root='elsewhere')
    found = [d.data_root for d in all_datasets(config) if 'data_root' in d]
    assert found == ['elsewhere'] * 4
    nothing = tmp_path / 'nothing.py'
    nothing.write_text('resume = True\n')
    with pytest.raises(ValueError, match='no data set'):
        load_config(nothing, data_root='elsewhere')


def test_camvid_config_reads_the_frames(camvid):
    config = load_config(CONFIGS[0], data_root=str(camvid[0]))
    assert 'camvid' in CONFIGS[0].name
    data = DATASETS.build(config.train_dataloader.dataset)
    item = data[0]
    assert item['inputs'].shape[0] == 3
    assert item['data_samples'].gt_sem_seg.data.shape[1:] == item['inputs'].shape[1:]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_the_text_of_a_config_gives_its_values(path):
    config, values = load_config(path), {}
    text = config_text(config)
    exec(text, {}, values)
    assert values == config.to_dict()
    assert max(map(len, text.splitlines())) <= 88
    odd = dict(label_map={(1, 2, 3): 0, 7: (1,)}, class_names={'a b': [], 'if': {}})
    assert eval(as_text(odd)) == odd
