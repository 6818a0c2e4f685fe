"""What nobody reads, and what cannot be meant, is refused with its place."""

import re

import pytest
from conftest import ROOT, TOY, run

from mmseg_fastscnn.config import load_config

BASE = ROOT / TOY


@pytest.mark.parametrize(
    'option, value, message',
    [
        ('optim_wraper.type', 'x', "optim_wraper: nobody .* mean 'optim_wrapper'"),
        (
            'model.decode_head.num_clases',
            3,
            r'model\.decode_head\.num_clases: DepthwiseSeparableFCNHead has no .*'
            "mean 'num_classes'",
        ),
        ('model.backbone.type', 'FastSCN', r"type: 'FastSCN' is not .* 'FastSCNN'"),
        ('iterations', 3, 'iterations: is a variable, .* used it already'),
        (
            'train_dataloader.batchsize',
            3,
            "batchsize: train_dataloader .* 'batch_size'",
        ),
        ('default_hooks.checkpoint.max_keep_ckpt', 3, "no such key.* 'max_keep_ckpts'"),
        (
            'train_dataloader.dataset.pipeline.3.cat_max_ration',
            0.5,
            r"dataset\.pipeline\.3\.cat_max_ration: RandomCrop .* 'cat_max_ratio'",
        ),
        ('model.norm_cfg.momentm', 0.1, "SyncBatchNorm has .* 'momentum'"),
        ('param_scheduler.1.powr', 1, r"param_scheduler\.1\.powr: PolyLR .* 'power'"),
        ('env_cfg.cudnn_benchmrk', True, "env_cfg has .* 'cudnn_benchmark'"),
        ('model.test_cfg.crop', 3, r'model\.test_cfg\.crop: test_cfg has no such key'),
        (
            'model.num_classes',
            'eleven',
            r"EncoderDecoder needs int \| None here, not str 'eleven'",
        ),
        ('optim_wrapper.optimizer.lr', '1e-x', "AdamW needs .*float.* str '1e-x'"),
        (
            'train_cfg.max_iters',
            2.5,
            'IterBasedTrainLoop needs int here, not float 2.5',
        ),
    ],
)
def test_options(option, value, message):
    with pytest.raises(ValueError, match=message) as error:
        load_config(BASE, {option: value})
    assert 'set in --cfg-options' in str(error.value)


def test_numbers_that_mean_the_same_pass():
    options = {'train_cfg.max_iters': 2e3, 'optim_wrapper.optimizer.lr': 1}
    assert load_config(BASE, options).train_cfg.max_iters == 2000


@pytest.mark.parametrize(
    'text, message',
    [
        ("optim_wraper = dict(type='OptimWrapper')", 'optim_wraper: nobody reads'),
        ('crop_size = (64, 64)', 'crop_size: .* base file has used its own value'),
        ('model = dict(backbone=dict(in_chanels=4))', "in_chanels: .* 'in_channels'"),
        ("model = dict(num_classes='3')", r"needs int \| None here, not str '3'"),
    ],
)
def test_files(tmp_path, text, message):
    path = tmp_path / 'leaf.py'
    path.write_text(f"_base_ = ['{BASE}']\n{text}\n")
    with pytest.raises(ValueError, match=message) as error:
        load_config(path)
    assert str(error.value).endswith('leaf.py)')  # where it was set


def test_several_problems_are_told_at_once_each_with_its_file(tmp_path):
    (tmp_path / 'base.py').write_text(
        f"_base_ = ['{BASE}']\nmodel = dict(numclasses=3)\n"
    )
    (tmp_path / 'leaf.py').write_text("_base_ = ['base.py']\nwork_dirs = 'x'\n")
    with pytest.raises(ValueError) as error:
        load_config(tmp_path / 'leaf.py')
    assert re.search(
        r"work_dirs: .* 'work_dir'\? \(set in .*leaf\.py\)", str(error.value)
    )
    assert re.search(r'model\.numclasses: .* \(set in .*base\.py\)', str(error.value))


def test_variables_that_are_read_pass(tmp_path):
    path = tmp_path / 'leaf.py'
    path.write_text(
        f"_base_ = ['{BASE}']\nsize = {{{{_base_.crop_size}}}}\n"
        'model = dict(data_preprocessor=dict(size=size))\n'
    )
    assert load_config(path).model.data_preprocessor.size == (192, 384)


def test_a_written_config_reads_back(tmp_path):
    config = load_config(BASE)
    config.dump(tmp_path / 'dumped.py')
    again = load_config(tmp_path / 'dumped.py')
    assert again.model == config.model and again.iterations == config.iterations
    text = (tmp_path / 'dumped.py').read_text()
    (tmp_path / 'dumped.py').write_text(text.replace('optim_wrapper', 'optim_wraper'))
    with pytest.raises(ValueError, match=r"optim_wraper: .* 'optim_wrapper'"):
        load_config(tmp_path / 'dumped.py')


def test_print_config_says_where_a_value_comes_from():
    options = ['--cfg-options', 'model.num_classes=7']
    printed = run('tools/print_config.py', TOY, *options)
    assert 'num_classes=7' in printed and '{{' not in printed
    lines = run('tools/print_config.py', TOY, '--origin', *options).splitlines()
    assert 'model.num_classes = 7  # --cfg-options' in lines
    (line,) = [x for x in lines if x.startswith('model.norm_cfg.momentum')]
    assert line.endswith('_base_/models/fast_scnn_softmax.py')
    (line,) = [x for x in lines if x.startswith('model.backbone.type')]
    assert line.endswith('_base_/models/fast_scnn.py')
