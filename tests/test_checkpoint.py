"""Checkpoints are read safely, and whatever is wrong with them is said."""

import os

import pytest
import torch
from formulas import fill
from mmengine.logging import HistoryBuffer
from mmengine.registry import init_default_scope
from test_golden import model_config

from mmseg_fastscnn.checkpoint import load_weights, read_checkpoint
from mmseg_fastscnn.registry import MODELS

init_default_scope('mmseg_fastscnn')


@pytest.fixture(scope='module')
def state() -> dict:
    return fill(MODELS.build(model_config())).state_dict()


def test_every_format_gives_the_same_weights(tmp_path, state):
    history = HistoryBuffer([1.0, 2.5], [1, 1])
    parallel = {f'module.{name}': value for name, value in state.items()}
    files = [
        state,
        dict(state_dict=state, meta=dict(dataset_meta=dict(classes=('a',)))),
        dict(
            state_dict=parallel, message_hub=dict(log_scalars={'train/loss': history})
        ),
    ]
    for content in files:
        torch.save(content, tmp_path / 'file.pth')
        read = read_checkpoint(tmp_path / 'file.pth')
        model = MODELS.build(model_config())
        report = load_weights(model, read['state_dict'], strict=True)
        assert len(report.loaded) == 282 and not report.unexpected
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name]), name
    assert read['message_hub']['log_scalars']['train/loss'].mean() == 1.75
    assert read['meta'] == {}


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
    for content in (whole[: len(whole) // 2], b'<html>not found</html>', b''):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r'file\.pth is no PyTorch checkpoint'):
            read_checkpoint(path)
    with pytest.raises(FileNotFoundError, match=r'none\.pth does not exist'):
        read_checkpoint(tmp_path / 'none.pth')
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match='holds a list'):
        read_checkpoint(path)


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
    with pytest.raises(ValueError, match='does not fill the model'):
        load_weights(model, state, strict=True)


def test_a_file_of_another_network_is_refused(state):
    other = {f'encoder.{name}': value for name, value in state.items()}
    with pytest.raises(ValueError, match='another network'):
        load_weights(MODELS.build(model_config()), other, strict=False)
