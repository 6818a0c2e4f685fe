"""Unknown keys, and values that cannot be meant, are refused with their place."""

import contextlib
import copy
import inspect
import re
from collections.abc import Iterator

import pytest
from conftest import ROOT, TOY, run
from mmengine.config import Config
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.runner import Runner

from mmseg_fastscnn.config import load_config, places
from mmseg_fastscnn.config.dicts import problems_in
from mmseg_fastscnn.config.signatures import accepted, find_type
from mmseg_fastscnn.registry import COUNTERPARTS, REGISTRIES

BASE = ROOT / TOY


@pytest.fixture
def leaf(tmp_path):
    """Write a config that inherits from the toy one; return its path."""

    def write(text: str):
        path = tmp_path / 'leaf.py'
        path.write_text(f"_base_ = ['{BASE}']\n{text}\n")
        return path

    return write


@pytest.mark.parametrize(
    'option, value, message',
    [
        ('optim_wraper.type', 'x', "optim_wraper: unknown .* mean 'optim_wrapper'"),
        (
            'model.decode_head.num_clases',
            3,
            r'model\.decode_head\.num_clases: unknown key for DepthwiseSeparableFCNHead'
            "; did you mean 'num_classes'",
        ),
        ('model.backbone.type', 'FastSCN', r"type: 'FastSCN' is not .* 'FastSCNN'"),
        ('iterations', 3, 'iterations: is a variable, .* used it already'),
        ('train_dataloader.batchsize', 3, "key for train_dataloader.* 'batch_size'"),
        ('default_hooks.checkpoint.max_keep_ckpt', 3, "CheckpointHook.* 'max_keep_ck"),
        (
            'train_dataloader.dataset.pipeline.3.cat_max_ration',
            0.5,
            r"pipeline\.3\.cat_max_ration: .* RandomCrop.* 'cat_max_ratio'",
        ),
        ('model.norm_cfg.momentm', 0.1, "key for SyncBatchNorm.* 'momentum'"),
        ('param_scheduler.1.powr', 1, r"param_scheduler\.1\.powr: .* PolyLR.* 'power'"),
        ('env_cfg.cudnn_benchmrk', True, "key for env_cfg.* 'cudnn_benchmark'"),
        ('env_cfg.dist_cfg.timout', 9, "key for dist_cfg.* 'timeout'"),
        ('randomness', dict(sed=1), "key for randomness.* 'seed'"),
        ('compile', dict(bakend='inductor'), "key for compile.* 'backend'"),
        ('auto_scale_lr.base_batchsize', 3, "auto_scale_lr.* 'base_batch_size'"),
        # a key that a builder takes out, where another builder does not
        ('param_scheduler.0.priority', 3, 'priority: unknown key for LinearLR'),
        ('model.convert_to_iter_based', True, 'unknown key for EncoderDecoder'),
        ('model.backbone.requires_grad', True, 'unknown key for FastSCNN'),
        ('val_dataloader.sampler.paramwise_cfg', {}, 'unknown key for DefaultSampler'),
        ('train_cfg.by_epoch', True, 'unknown key for IterBasedTrainLoop'),
        ('val_cfg.runner', 3, r'val_cfg\.runner: unknown key'),
        # keys that no signature names
        ('optim_wrapper.paramwise_cfg', dict(custom_key={}), "mean 'custom_keys'"),
        (
            'optim_wrapper.paramwise_cfg',
            dict(custom_keys={'backbone': dict(lr_mul=0.1)}),
            r"custom_keys\.backbone\.lr_mul: unknown key .* 'lr_mult'",
        ),
        ('train_dataloader.dataset.metainfo', dict(clases='ab'), "mean 'classes'"),
        ('train_dataloader.dataset.data_prefix', dict(img='a'), r'prefix\.img: unkno'),
        ('default_hooks.checkpont', dict(interval=3), "mean 'checkpoint'"),
        ('default_hooks.mine', dict(interval=3), r'default_hooks\.mine: has no type'),
        ('default_hooks.mine', None, 'None removes a default hook; these are checkpo'),
        # keys that go on to another class
        ('custom_hooks', [dict(type='EMAHook', momentm=1)], "EMAHook.* 'momentum'"),
        ('custom_hooks', [dict(type='EMAHook', ema_type='EMA')], "'EMA' is not known"),
        (
            'train_dataloader.dataset.pipeline.2.keep_ration',
            True,
            "unknown key for RandomResize.* 'keep_ratio'",
        ),
        ('default_hooks.timer.interval', 3, 'unknown key for IterTimerHook'),
        # sliding windows
        ('model.test_cfg.crop', 3, r'model\.test_cfg\.crop: unknown key for test_cfg'),
        (
            'model.test_cfg.crop_size',
            512,
            r'crop_size: must be tuple\[int, int\] .* 512',
        ),
        # values
        ('model.num_classes', 'eleven', r"must be int \| None for Enc.*, not 'eleven'"),
        ('optim_wrapper.optimizer.lr', '1e-x', "must be .*float.* for Ad.* not '1e-x'"),
        ('train_cfg.max_iters', 2.5, 'must be int for IterBasedTrainLoop, not 2.5'),
        ('train_cfg.max_iters', float('inf'), 'must be int for IterBased.*, not inf'),
        ('train_cfg.val_interval', float('nan'), 'must be int for IterB.*, not nan'),
        ('resume', 'iter_100.pth', "resume: must be bool, not 'iter_100.pth'"),
        (
            'val_cfg',
            None,
            'is set and val_cfg is not: set all of val_datalo',
        ),
        ('model.auxiliary_head.7.channels', 3, 'cfg-options .*Index 7 exceeds'),
        ('model.num_classes.x', 3, 'cfg-options .*num_classes'),
    ],
)
def test_options(option, value, message):
    with pytest.raises(ValueError, match=message) as error:
        load_config(BASE, {option: value})
    assert '--cfg-options' in str(error.value) or value is None


def test_what_mmengine_takes_is_accepted():
    clip = dict(type='value', clip_value=0.5)
    options = {
        'train_cfg.max_iters': 2e3,  # numbers that mean the same
        'optim_wrapper.optimizer.lr': 1,
        'param_scheduler.0.convert_to_iter_based': True,
        'param_scheduler.0.by_epoch': True,
        'optim_wrapper.constructor': 'DefaultOptimWrapperConstructor',
        'optim_wrapper.paramwise_cfg': dict(
            norm_decay_mult=0.0,
            custom_keys={'backbone': dict(lr_mult=0.1, weight_decay=0.0)},
        ),
        'optim_wrapper.clip_grad': clip,
        'default_hooks.runtime_info': None,
        'default_hooks.stop': dict(
            type='EarlyStoppingHook', monitor='mIoU', priority='LOW'
        ),
        'train_dataloader.num_batch_per_epoch': 3,
        'train_dataloader.collate_fn': dict(type='default_collate'),
        'train_dataloader.pin_memory': True,
        'val_evaluator': [dict(type='IoUMetric'), dict(type='IoUMetric', prefix='b')],
        'test_evaluator': dict(_delete_=True, metrics=[dict(type='IoUMetric')]),
        'log_processor.window_size': 10,
        'log_level': 20,
        'model_wrapper_cfg': dict(find_unused_parameters=True),
        'compile': dict(backend='inductor', mode='max-autotune'),
        'env_cfg.dist_cfg.timeout': 1800,
        'model.data_preprocessor.type': 'SegDataPreProcessor',
        'model.train_cfg': {},
        'model.backbone.init_cfg': dict(
            type='Kaiming', layer='Conv2d', override=dict(name='global_extractor')
        ),
        'custom_hooks': [
            dict(type='ProfilerHook', on_trace_ready=dict(type='tb_trace', a=1))
        ],
    }
    config = load_config(BASE, options)
    assert config.train_cfg.max_iters == 2000
    assert config.optim_wrapper.clip_grad == clip
    options = {'train_cfg': dict(_delete_=True, by_epoch=True, max_epochs=3)}
    assert load_config(BASE, options).train_cfg.max_epochs == 3
    without = dict.fromkeys(('val_dataloader', 'val_cfg', 'val_evaluator'))
    assert load_config(BASE, without).val_dataloader is None
    options = {'model.auxiliary_head.0.num_classes': 2}
    heads = load_config(BASE, options).model.auxiliary_head
    assert heads[0].num_classes == 2 and 'num_classes' not in heads[1]


def test_keys_that_no_signature_names_are_those_that_mmengine_reads():
    source = inspect.getsource(DefaultOptimWrapperConstructor)
    read = set(re.findall(r"paramwise_cfg\.get\('(\w+)'", source))
    assert read == places.PARAMWISE_KEYS
    source = inspect.getsource(Runner.register_default_hooks)
    hooks = set(re.findall(r"(\w+)=dict\(type='\w+Hook'", source))
    assert hooks | {'visualization'} == places.DEFAULT_HOOKS
    source = inspect.getsource(Runner.setup_env)
    read = set(re.findall(r"env_cfg\.get\('(\w+)'", source))
    assert read == places.PLACES['.env_cfg'].keys


def test_the_keys_of_every_registered_class_are_known():
    open_ended = set()
    for registry in REGISTRIES:
        registry.import_from_location()
        known = {**registry.parent.module_dict, **registry.module_dict}
        open_ended |= {name for name, cls in known.items() if accepted(cls, {}).others}
    # which settings say whose keys they take
    assert open_ended == {'TorchvisionDataset', 'ZeroRedundancyOptimizer'}
    settings = dict(optimizer_type='SGD')
    found = accepted(find_type('ZeroRedundancyOptimizer'), settings)
    assert 'momentum' in found.keys and not found.others


def test_classes_of_users_may_take_what_they_like():
    class Own:
        def __init__(self, one, **kwargs):
            self.settings = kwargs

    class Heir(Own):
        def __init__(self, two, **kwargs):
            super().__init__(two, **kwargs)

    assert accepted(Heir, {}).others and {'one', 'two'} <= set(accepted(Heir, {}).keys)
    option = {'custom_hooks': [dict(type=Heir, one=1, two=2, three=3)]}
    assert load_config(Config.fromfile(BASE), option).custom_hooks[0].three == 3


def test_padding_of_test_images_has_two_keys():
    path = ('model', 'data_preprocessor')
    settings = dict(type='SegDataPreProcessor', test_cfg=dict(size_divisor=32))
    assert problems_in(settings, path) == []
    settings['test_cfg'] = dict(size_div=32)
    ((where, what),) = problems_in(settings, path)
    assert where == (*path, 'test_cfg', 'size_div') and 'size_divisor' in what


@pytest.mark.parametrize(
    'text, message',
    [
        ("optim_wraper = dict(type='OptimWrapper')", 'optim_wraper: unknown key'),
        ('crop_size = (64, 64)', 'crop_size: .* base file, which has used its own'),
        ('model = dict(backbone=dict(in_chanels=4))', "in_chanels: .* 'in_channels'"),
        ("model = dict(num_classes='3')", r"must be int \| None .*, not '3'"),
        (
            'model = dict(auxiliary_head=[dict(num_classes=2)])',
            r"auxiliary_head\.0: has no type\. A list replaces the base file's whole "
            r'list.* model=dict\(num_classes=N\) reaches every head.* '
            r'--cfg-options model\.auxiliary_head\.0\.KEY=VALUE',
        ),
        ('train_cfg = dict(_delete_=True, max_iters=3)', 'train_cfg: has no type'),
    ],
)
def test_files(leaf, text, message):
    with pytest.raises(ValueError, match=message) as error:
        load_config(leaf(text))
    assert str(error.value).endswith('leaf.py)')  # where it was set


def test_a_dict_in_place_of_none(leaf):
    clip = dict(max_norm=1)
    path = leaf(f'optim_wrapper = dict(clip_grad={clip})')
    assert load_config(path).optim_wrapper.clip_grad == clip
    path.with_name('base.py').write_text(
        leaf('optim_wrapper = dict(clip_grad=None)').read_text()
    )
    path.write_text(f"_base_ = 'base.py'\noptim_wrapper = dict(clip_grad={clip})\n")
    with pytest.raises(ValueError, match=r'leaf.py: clip_grad is a dict here and None'):
        load_config(path)
    path.write_text(path.read_text().replace('{', "{'_delete_': True, "))
    assert load_config(path).optim_wrapper.clip_grad == clip
    options = {'optim_wrapper.clip_grad.max_norm': 1}
    config = load_config(path.with_name('base.py'), options)
    assert config.optim_wrapper.clip_grad == clip


def test_a_type_that_is_missing_here_says_what_to_use_instead(monkeypatch):
    monkeypatch.setitem(COUNTERPARTS, 'RandomFly', 'use RandomFlip')
    option = {'train_dataloader.dataset.pipeline.4.type': 'RandomFly'}
    with pytest.raises(ValueError, match="'RandomFly' is not known here; use RandomFl"):
        load_config(BASE, option)


def test_a_config_from_python_is_checked_and_left_as_it_was():
    config = Config.fromfile(BASE)
    loaded = load_config(config, {'model.num_classes': 7})
    assert (loaded.model.num_classes, config.model.num_classes) == (7, 19)
    config.model.num_clases = 3
    with pytest.raises(ValueError, match=r"num_clases: .*'num_classes'.*streets\.py\)"):
        load_config(config)
    config = Config(dict(model=dict(type='EncoderDecoder', num_clases=3)))
    with pytest.raises(ValueError, match=r"'num_classes'\? \(set in Python\)"):
        load_config(config)


def test_a_wrong_value_anywhere_is_no_crash():
    plain = load_config(BASE).to_dict()
    kinds = [None, 3, 'x', [], {}, [{}], [[1]], {'type': 3}, {'type': ['a']}, {3: 4}]
    for k, path in enumerate(list(paths_in(plain))[::3]):
        changed = copy.deepcopy(plain)
        inside = changed
        for key in path[:-1]:
            inside = inside[key]
        if isinstance(inside, tuple):
            continue
        inside[path[-1]] = kinds[k % len(kinds)]
        with contextlib.suppress(ValueError):
            load_config(Config(changed))


def paths_in(value: object, path: tuple = ()) -> Iterator[tuple]:
    """Paths of all values inside of a dict or list, those of dicts included."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in items:
        yield (*path, key)
        if isinstance(child, dict | list | tuple):
            yield from paths_in(child, (*path, key))


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


def test_variables_that_are_read_pass(leaf):
    path = leaf(
        'size = {{_base_.crop_size}}\nmodel = dict(data_preprocessor=dict(size=size))'
    )
    assert load_config(path).model.data_preprocessor.size == (192, 384)


@pytest.mark.parametrize('name', ['dumped.py', 'dumped.yaml', 'dumped.json'])
def test_a_written_config_reads_back(tmp_path, name):
    config, path = load_config(BASE), tmp_path / name
    config.dump(path)
    again = load_config(path)
    assert again.model.backbone.keys() == config.model.backbone.keys()
    assert again.iterations == config.iterations
    if name != 'dumped.json':  # which knows no tuples
        assert again.model == config.model
    path.write_text(path.read_text().replace('optim_wrapper', 'optim_wraper'))
    with pytest.raises(ValueError, match=r"optim_wraper: .* 'optim_wrapper'"):
        load_config(path)


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


def test_options_that_nobody_reads_are_refused_everywhere(tmp_path):
    """In a config without a file, as a folder's, and without a base."""
    whole = load_config(BASE)
    path = tmp_path / 'whole.py'
    path.write_text(whole.pretty_text)
    for config in (whole, path):
        with pytest.raises(ValueError, match=r"optim_wraper: unknown key.*'optim_wrap"):
            load_config(config, {'optim_wraper.optimizer.lr': 0.1})
        found = load_config(config, {'optim_wrapper.optimizer.lr': 0.125})
        assert found.optim_wrapper.optimizer.lr == 0.125
