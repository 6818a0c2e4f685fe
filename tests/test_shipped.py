"""The weights that come with the package, and what `publish_model --small` writes."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from conftest import ROOT, TOY, run
from mmengine.config import Config

from mmseg_fastscnn import FastSCNN
from mmseg_fastscnn.apis import init_model
from mmseg_fastscnn.checkpoint import read_checkpoint
from mmseg_fastscnn.checkpoint.shipped import SHIPPED_WEIGHTS
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.datasets.toy_streets import write_toy_streets

MADE_BY = 'configs/fastscnn/fast_scnn_many_streets.py'


def test_they_are_what_the_config_beside_them_makes():
    file = SHIPPED_WEIGHTS['streets']
    assert file.stat().st_size < 3e6
    content = read_checkpoint('streets')
    assert content['meta']['iter'] == 12000
    found = Config.fromstring(content['meta']['cfg'], '.py')
    config = load_config(ROOT / MADE_BY)
    config.optim_wrapper.type = 'AmpOptimWrapper'  # of --amp
    padding = config.model.data_preprocessor.pop('test_cfg')  # came later
    assert padding == dict(size_divisor=32)  # of which its scenes are a multiple
    for part in ('model', 'train_pipeline', 'optim_wrapper', 'param_scheduler'):
        assert found[part] == config[part]
    assert found.custom_hooks == config.custom_hooks
    assert found.train_dataloader.batch_size == config.train_dataloader.batch_size


def test_a_folder_is_trained_from_them_by_name(streets, tmp_path):
    data = tmp_path / 'drive'
    shutil.copytree(streets, data)
    said = run(
        *('tools/train.py', data, '--from', 'streets', '--iterations', 2),
        *('--seed', 0, '--work-dir', tmp_path / 'run'),
    )
    assert re.search('start +streets', said) and '266 tensors loaded' in said
    (config,) = (tmp_path / 'run').glob('*.py')
    config = load_config(config)
    expected = dict(type='MuonAdamW', lr=4e-3, weight_decay=0.01)
    assert config.optim_wrapper.optimizer == expected
    assert 'paramwise_cfg' not in config.optim_wrapper  # the backbone learns as fast
    assert config.model.decode_head.loss_decode.class_weight == 'fourth_root'
    told = r'street does not exist\. With the package come: streets'
    with pytest.raises(FileNotFoundError, match=told):
        read_checkpoint('street')


def test_a_file_of_that_name_is_named_with_its_folder(tmp_path, monkeypatch):
    torch.save({'own': torch.ones(1)}, tmp_path / 'streets')
    monkeypatch.chdir(tmp_path)
    assert len(read_checkpoint('streets')['state_dict']) == 266
    for file in ('./streets', Path('streets'), str(tmp_path / 'streets')):
        assert list(read_checkpoint(file)['state_dict']) == ['own']


def test_a_plain_module_starts_from_them():
    state = read_checkpoint('streets')['state_dict']
    model = FastSCNN(3, classes=['river', 'car', 'road'], weights='streets').segmentor
    name = 'backbone.global_feature_extractor.bottleneck1.0.conv.0.conv.weight'
    assert torch.equal(model.state_dict()[name], state[name].float())
    old = state['decode_head.conv_seg.weight'].float()
    new = model.decode_head.conv_seg.weight
    assert torch.equal(new[1:], old[[13, 0]])  # Cityscapes' car and road
    assert not any(torch.equal(new[0], row) for row in old)


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    """Root of scenes of the size that they were trained on, from other seeds."""
    root = tmp_path_factory.mktemp('scenes')
    write_toy_streets(root, (256, 512), num_train=1, num_val=4)
    return root


def test_they_know_generated_streets(scenes, tmp_path):
    said = run(
        *('tools/test.py', TOY, 'streets', '--data-root', scenes),
        *('--work-dir', tmp_path),
    )
    scores = dict(re.findall(r'(mIoU|aAcc): ([\d.]+)', said))
    assert float(scores['mIoU']) > 65 and float(scores['aAcc']) > 90


def test_small_files_have_half_the_bytes(trained, tmp_path):
    source = next(trained[0].glob('iter_*.pth'))
    run('tools/publish_model.py', source, tmp_path / 'a.safetensors', '--small')
    (file,) = tmp_path.iterdir()
    state, small = (read_checkpoint(f)['state_dict'] for f in (source, file))
    assert set(small) == {k for k in state if not k.startswith('auxiliary_head')}
    for name, value in small.items():
        half = state[name].half() if state[name].dim() > 1 else state[name]
        assert torch.equal(value, half), name
    image = torch.randn(1, 3, 64, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole, less = (
            init_model(f, device='cpu').network(image) for f in (source, file)
        )
    torch.testing.assert_close(less, whole, rtol=0, atol=0.01)


def test_a_plain_module_starts_from_other_channels(tmp_path):
    """The first convolution of a network of four channels."""
    name = 'backbone.learning_to_downsample.conv.conv.weight'
    state = FastSCNN(3).segmentor.state_dict()
    state[name] = torch.randn(32, 4, 3, 3)
    torch.save(dict(state_dict=state), tmp_path / 'four.pth')
    model = FastSCNN(3, weights=tmp_path / 'four.pth').segmentor
    torch.testing.assert_close(model.state_dict()[name], state[name][:, :3] * 4 / 3)
