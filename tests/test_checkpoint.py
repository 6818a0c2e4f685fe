"""Checkpoints of any origin are read safely, and what is wrong with them is said."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import run
from formulas import fill, formula_tensor, image_batch, model_config
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.registry import init_default_scope
from safetensors.torch import save_file

from mmseg_fastscnn.checkpoint import load_weights, read_checkpoint
from mmseg_fastscnn.engine.resume.parts import plain_hub
from mmseg_fastscnn.registry import MODELS

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parent / 'data'
CLASSES, PALETTE = ('road', 'sky'), [(1, 2, 3), (4, 5, 6)]
init_default_scope('mmseg_fastscnn')


@pytest.fixture(scope='module')
def state() -> dict:
    """As in the released Cityscapes checkpoint: the golden names, by formula."""
    names = json.loads((DATA / 'state_dict_19.json').read_text())
    return {
        name: formula_tensor(name, torch.zeros(shape) if shape else torch.tensor(0))
        for name, shape in names.items()
    }


def format_0x(state):
    meta = dict(CLASSES=CLASSES, PALETTE=PALETTE, config='model = dict()', iter=9)
    return dict(state_dict=state, meta=meta, optimizer=dict(state={}, param_groups=[]))


def format_1x(state):
    scalars = {'train/loss': HistoryBuffer([1.0, 2.5], [1, 1])}
    hub = dict(
        log_scalars=scalars, runtime_info=dict(eta=np.float64(3)), resumed_keys={}
    )
    meta = dict(dataset_meta=dict(classes=CLASSES, palette=PALETTE), iter=9, epoch=0)
    return dict(state_dict=state, meta=meta, message_hub=hub, param_schedulers=[{}])


def parallel(state):
    return {f'module.{name}': value for name, value in state.items()}


@pytest.mark.parametrize('form', [dict, format_0x, format_1x, parallel, 'safetensors'])
def test_every_format_gives_the_same_weights(tmp_path, state, form):
    path = tmp_path / 'file.pth'
    if form == 'safetensors':
        path = tmp_path / 'file.safetensors'
        save_file(state, path)
    else:
        torch.save(form(state), path)
    content = read_checkpoint(path)
    model = MODELS.build(model_config())
    report = load_weights(model, content['state_dict'], strict=True)
    assert str(report) == '282 tensors loaded'
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    if form in (format_0x, format_1x):
        meta = content['meta']['dataset_meta']
        assert (meta['classes'], meta['palette']) == (CLASSES, PALETTE)


@pytest.mark.parametrize('origin', ['mmengine', 'mmcv 1'])
def test_averaged_weights_are_a_choice(tmp_path, state, origin):
    raw = {
        k: v + 1 if v.is_floating_point() and 'running' not in k else v
        for k, v in state.items()
    }
    if origin == 'mmengine':
        content = dict(state_dict=state)
        content['ema_state_dict'] = {'steps': torch.tensor(5), **parallel(raw)}
    else:
        buffers = {
            f'ema_{name.replace(".", "_")}': raw[name]
            for name, _ in MODELS.build(model_config()).named_parameters()
        }
        content = dict(state_dict={**state, **buffers})
    path = tmp_path / 'ema.pth'
    torch.save(content, path)
    for weights, expected in (('ema', state), ('raw', raw)):
        found = read_checkpoint(path, weights)['state_dict']
        assert set(found) == set(expected)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    torch.save(state, path)
    with pytest.raises(ValueError, match=r'ema\.pth has no averaged weights'):
        read_checkpoint(path, 'raw')


def test_tramac_gives_its_own_answers_here(tmp_path):
    names = json.loads((DATA / 'tramac_state_dict_19.json').read_text())
    theirs = {
        name: formula_tensor(name, torch.zeros(shape) if shape else torch.tensor(0))
        for name, shape in names.items()
    }
    torch.save(theirs, tmp_path / 'fast_scnn_citys.pth')
    config = Config.fromfile(ROOT / 'configs/_base_/models/fast_scnn_paper.py').model
    model = MODELS.build(config).eval()
    content = read_checkpoint(tmp_path / 'fast_scnn_citys.pth')
    report = load_weights(model, content['state_dict'], strict=True)
    assert str(report) == '276 tensors loaded'
    golden = np.load(DATA / 'tramac_forward.npz')
    for h, w in [(64, 128), (96, 160)]:
        with torch.no_grad():
            logits = model.inference(image_batch(1, h, w))[..., ::4, ::4]
            aux = model.auxiliary_head(model.extract_feat(image_batch(1, h, w)))
        aux = F.interpolate(aux, (h, w), mode='bilinear', align_corners=True)
        for ours, name in [(logits, 'logits'), (aux[..., ::4, ::4], 'aux')]:
            theirs = golden[f'{h}x{w}/full_res_{name}']
            np.testing.assert_allclose(ours, theirs, atol=1e-4)
    with pytest.raises(ValueError, match='does not fill the model'):
        load_weights(MODELS.build(model_config()), content['state_dict'], strict=True)


def test_what_mmengine_wrote_becomes_plain_values(tmp_path, state):
    torch.save(format_1x(state), tmp_path / 'run.pth')
    hub = read_checkpoint(tmp_path / 'run.pth')['message_hub']
    values, counts = hub['log_scalars']['train/loss']
    assert (values.tolist(), counts.tolist()) == ([1, 2.5], [1, 1])
    assert type(hub['runtime_info']['eta']) is float
    ours = plain_hub(format_1x({})['message_hub'])
    torch.save(ours, tmp_path / 'hub.pth')  # which needs no allow-list
    loaded = torch.load(tmp_path / 'hub.pth', weights_only=True)
    assert loaded['log_scalars']['train/loss'][0].tolist() == [1, 2.5]
    assert loaded['runtime_info'] == hub['runtime_info']


class Attack:
    """A pickle that would make a folder when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


class GetattrAttack(Attack):
    def __reduce__(self):
        return getattr, (HistoryBuffer, '__init__')


@pytest.mark.parametrize('attack', [Attack, GetattrAttack])
def test_a_pickle_that_runs_code_is_refused_and_has_not_run(tmp_path, state, attack):
    path, name = tmp_path / 'evil.pth', 'mkdir' if attack is Attack else 'getattr'
    for zipped in (True, False):  # today's format, and that of torch before 1.6
        content = dict(state_dict=state, meta=attack(tmp_path / 'hacked'))
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(
            ValueError, match=rf'evil\.pth is refused: it holds .*{name}'
        ):
            read_checkpoint(path)
        assert not (tmp_path / 'hacked').exists()


def test_damaged_files_are_named(tmp_path, state):
    path = tmp_path / 'file.pth'
    torch.save(state, path)
    whole = path.read_bytes()
    for content, message in [
        (whole[: len(whole) // 2], 'is cut short: its end is missing after 3,0'),
        (b'\n<!DOCTYPE html><p>404</p>', "is a web page, .* b'<!DOCTYPE'"),
        (b'', r'is no PyTorch checkpoint, or a damaged one \(0 bytes\)'),
        (b'text', r'is no PyTorch checkpoint, or a damaged one \(4 bytes\)'),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf'file\.pth {message}'):
            read_checkpoint(path)
    for content, message in [([1], 'holds a list'), (dict(a=1), 'has no tensors')]:
        torch.save(content, path)
        with pytest.raises(ValueError, match=message):
            read_checkpoint(path)
    broken = tmp_path / 'file.safetensors'
    broken.write_bytes(b'12345678')
    with pytest.raises(ValueError, match=r'file\.safetensors is no safetensors file'):
        read_checkpoint(broken)
    with pytest.raises(ValueError, match=r"is a folder; name a file: \['file\.pth'\]"):
        read_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'none\.pth does not exist'):
        read_checkpoint(tmp_path / 'none.pth')


def test_a_name_with_a_hash_must_keep_its_promise(tmp_path, state):
    path = tmp_path / 'weights.pth'
    torch.save(state, path)
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    good, bad = (tmp_path / f'weights-{part}.pth' for part in (sha[:8], '0cec9937'))
    good.write_bytes(path.read_bytes())
    bad.write_bytes(path.read_bytes())
    assert len(read_checkpoint(good)['state_dict']) == 282
    dated = tmp_path / 'weights-20261122.pth'
    dated.write_bytes(path.read_bytes())
    assert len(read_checkpoint(dated)['state_dict']) == 282
    with pytest.raises(
        ValueError, match=f'begins with 0cec9937, the file has {sha[:8]}'
    ):
        read_checkpoint(bad)


def test_other_classes_start_fresh_and_are_reported(state):
    model = MODELS.build(model_config(num_classes=7))
    before = model.decode_head.conv_seg.weight.clone()
    report = load_weights(model, {**state, 'extra': torch.zeros(1)}, strict=False)
    assert len(report.loaded) == 276 and len(report.other_shape) == 6
    assert torch.equal(model.decode_head.conv_seg.weight, before)
    name = 'backbone.feature_fusion.dwconv.conv.weight'
    assert torch.equal(model.state_dict()[name], state[name])
    assert '276 tensors loaded; 6 have another shape' in str(report)
    assert '1 of the file are not in the model' in str(report)
    said = 'does not fill the model: it has 19 classes, and the model 7'
    with pytest.raises(ValueError, match=said):
        load_weights(model, state, strict=True)


def test_a_file_of_another_network_is_refused(state):
    other = {f'encoder.{name}': value for name, value in state.items()}
    with pytest.raises(ValueError, match='another network'):
        load_weights(fill(MODELS.build(model_config())), other, strict=False)


def test_publishing_and_converting_write_clean_files(tmp_path, state):
    source = tmp_path / 'run.pth'
    torch.save(format_1x(state), source)
    printed = run('tools/publish_model.py', source, tmp_path / 'out/model.pth')
    (published,) = (tmp_path / 'out').iterdir()
    sha = hashlib.sha256(published.read_bytes()).hexdigest()
    assert published.name == f'model-{sha[:8]}.pth' and str(published) in printed
    printed = run('tools/convert_checkpoint.py', source, tmp_path / 'clean.pth')
    assert '282 tensors, 2 classes' in printed
    for path in (published, tmp_path / 'clean.pth'):
        content = torch.load(path, weights_only=True)
        assert set(content) == {'state_dict', 'meta'}
        assert content['meta']['dataset_meta']['classes'] == CLASSES
        assert all(torch.equal(content['state_dict'][k], v) for k, v in state.items())
    again = run('tools/convert_checkpoint.py', source, tmp_path / 'clean.pth', ok=False)
    assert 'clean.pth exists' in again
