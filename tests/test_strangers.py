"""Files from strangers: damage is found, and what does not fit is named."""

import hashlib
import json
import sys
import zipfile

import numpy as np
import pytest
import torch
from conftest import ROOT, TOY, run
from mmengine.config import Config
from safetensors.torch import load_file, save_file

from mmseg_fastscnn.apis import inference_model, init_model
from mmseg_fastscnn.checkpoint import read_checkpoint, write_weights
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.config.only_data import parse_config
from mmseg_fastscnn.config.text import QuickConfig
from mmseg_fastscnn.engine.resume.check import check_state

sys.path.insert(0, str(ROOT / 'benchmarks'))

import fuzz_checkpoints


def weights(value: float = 1.0) -> dict:
    return dict(
        state_dict={'a.weight': torch.full((300,), value), 'b': torch.tensor(7)},
        meta={},
    )


def rezipped(path, change) -> None:
    """Write a zip file anew, with right check sums and one changed member."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, 'w') as file:
        for name, content in members.items():
            file.writestr(name, change(content) if name.endswith('data/0') else content)


def flip(content: bytes) -> bytes:
    return content[:3] + bytes([content[3] ^ 64]) + content[4:]  # of an exponent


def test_one_bit_of_a_weight_is_found(tmp_path):
    path = tmp_path / 'bit.pth'
    torch.save(weights(), path)
    data = path.read_bytes()
    at = data.index(np.float32([1, 1]).tobytes()) + 3
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    assert (torch.load(path)['state_dict']['a.weight'] != 1).any()  # without a word
    with pytest.raises(ValueError, match=r"bit\.pth .*Bad CRC-32 .*data/0'"):
        read_checkpoint(path)


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_our_files_carry_a_hash_in_any_container(tmp_path, suffix):
    path = write_weights(tmp_path / f'ours{suffix}', weights())
    content = read_checkpoint(path)
    by_hand = hashlib.sha256(b'a.weight\0torch.float32\0[300]\0')
    by_hand.update(np.ones(300, '<f4').tobytes())
    by_hand.update(b'b\0torch.int64\0[]\0' + np.int64([7]).tobytes())
    assert content['meta']['sha256'] == {'state_dict': by_hand.hexdigest()}
    again = write_weights(tmp_path / f'again{suffix}', content)  # as publishing does
    assert read_checkpoint(again)['meta']['sha256'] == content['meta']['sha256']
    if suffix == '.pth':
        rezipped(path, flip)
    else:
        values = np.float32([1] * 300).tobytes()
        data = path.read_bytes()
        path.write_bytes(data.replace(values, flip(values)))
    with pytest.raises(ValueError, match=rf'ours{suffix} is not usable: The sha256 of'):
        read_checkpoint(path)


def test_training_writes_the_hash(trained):
    content = read_checkpoint(trained[0] / 'iter_2.pth')
    assert set(content['meta']['sha256']) == {'state_dict'}


def test_weights_that_are_not_finite_are_named(tmp_path):
    path = tmp_path / 'nan.pth'
    for part, value in [('state_dict', float('nan')), ('optimizer', float('inf'))]:
        content = weights()
        content['optimizer'] = dict(state={0: dict(exp_avg=torch.zeros(5))})
        place = content['state_dict'], content['optimizer']['state'][0]
        (place[0]['a.weight'] if part == 'state_dict' else place[1]['exp_avg'])[1] = (
            value
        )
        torch.save(content, path)
        with pytest.raises(ValueError, match=rf'nan\.pth .*{part}\..* has 1 of'):
            read_checkpoint(path)


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(state_dict={'a': 'text'}), 'has no tensors; its keys are ..a'),
        (dict(state_dict={'a': torch.ones(1), 'b': 3}), "has 3 as 'b', where a tensor"),
        (dict(state_dict={1: torch.ones(1)}), 'state_dict is a dict of 1, not named'),
        (dict(state_dict=None), 'has no tensors'),
        (dict(meta=[1]), 'meta is a list of 1, not a dict'),
        (dict(meta=dict(seed='x')), "meta.seed is the text 'x', not an integer"),
        (dict(meta=dict(dataset_meta=dict(classes=3))), 'classes is 3, not a list of'),
        (dict(message_hub=dict(log_scalars=[])), 'log_scalars is a list of 0, not a'),
        (dict(x=torch.eye(2).to_sparse()), 'refused: it holds .*rebuild_sparse_tensor'),
        (dict(x=torch.eye(2) * 1j), 'refused: it holds .*ComplexFloatStorage'),
        (dict(x=torch.zeros(1).expand(10**12)), 'claim many times the bytes'),
        (dict(x='\ud800'), 'is no PyTorch checkpoint, or a damaged one'),
    ],
)
def test_a_checkpoint_of_another_structure_is_named(tmp_path, change, message):
    path = tmp_path / 'odd.pth'
    torch.save({**weights(), **change}, path)
    with pytest.raises(ValueError, match=rf'odd\.pth .*{message}'):
        read_checkpoint(path)


def test_containers_in_themselves_and_bombs_end_soon(tmp_path):
    path, itself, shared = tmp_path / 'bomb.pth', [], [0]
    itself.append(itself)
    for _ in range(40):  # 2 ** 40 values in a few bytes
        shared = [shared, shared]
    for value, message in [(itself, 'nested deeper'), (shared, 'more than 2,000,000')]:
        torch.save({**weights(), 'x': value}, path)
        with pytest.raises(ValueError, match=rf'bomb\.pth .*{message}'):
            read_checkpoint(path)
    torch.save(weights(), path)
    with zipfile.ZipFile(path, 'a', zipfile.ZIP_DEFLATED) as file:
        file.writestr('zeros', bytes(10**7))
    with pytest.raises(ValueError, match='claim more bytes than the file has'):
        read_checkpoint(path)


# --- resume --------------------------------------------------------------------------


def run_state() -> tuple[dict, tuple]:
    """Return what a run resumes from, and its model, optimizer and schedulers."""
    content = fuzz_checkpoints.content()
    return content, fuzz_checkpoints.small_run()


@pytest.mark.parametrize(
    'way, value, message',
    [
        (
            ('optimizer', 'param_groups'),
            [],
            'has 0 groups of parameters, this run has 1',
        ),
        (
            ('optimizer', 'param_groups', 0, 'lr'),
            'x',
            "lr is the text 'x', not a finite",
        ),
        (('optimizer', 'param_groups', 0, 'lr'), float('nan'), 'lr is nan'),
        (('optimizer', 'param_groups', 0, 'params'), [0], 'params is a list of 1'),
        (
            ('optimizer', 'state', 0, 'exp_avg'),
            torch.ones(2),
            r'exp_avg is a float32 t',
        ),
        (('optimizer', 'state', 0), None, 'state.0 is None, of no parameter'),
        (
            ('optimizer', 'param_groups', 0, 'muon'),
            True,
            "has 'muon', this run has not",
        ),
        (('optimizer', 'state', 99), {}, 'state.99 is a dict of 0, of no parameter'),
        (('param_schedulers', 0, 'last_step'), '1', "last_step is the text '1'"),
        (('param_schedulers', 0, 'base_values'), 3, 'base_values is 3, not a list'),
        (('ema_state_dict', 'module.x'), torch.ones(1), "has 'module.x', the model"),
        (('ema_state_dict', 'module.backbone.bn.bias'), torch.ones(9), r'shape \[9\]'),
        (('meta', 'iter'), 2**40, 'meta.iter is 1099511627776'),
    ],
)
def test_a_state_that_does_not_fit_the_run_is_named(way, value, message):
    content, parts = run_state()
    check_state(content, 'run.pth', *parts)
    place = content
    for key in way[:-1]:
        place = place[key]
    place[way[-1]] = value
    with pytest.raises(
        ValueError, match=rf'run\.pth does not fit this run: .*{message}'
    ):
        check_state(content, 'run.pth', *parts)


# --- configs -------------------------------------------------------------------------


def test_a_checkpoint_of_training_is_enough_for_a_model(trained):
    path = trained[0] / 'iter_4.pth'
    alone, both = (
        init_model(path, device='cpu'),
        init_model(ROOT / TOY, path, device='cpu'),
    )
    assert alone.dataset_meta == both.dataset_meta
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    one, other = (inference_model(m, image).pred_sem_seg.data for m in (alone, both))
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    'text, message',
    [
        ("import os\nos.mkdir('HACKED')", 'line 1: Import is no literal'),
        ("model = __import__('os').mkdir('HACKED')", 'line 1: Call is no literal'),
        ("model = dict(type='os.mkdir', path='HACKED')", "type is 'os.mkdir'"),
        ("default_scope = 'evil'", "default_scope is 'evil'"),
        ("custom_imports = dict(imports=['antigravity'])", 'would run modules'),
        ('model = other', 'line 1: Name is no literal'),
        ('model = [0] * 10**9', 'line 1: BinOp is no literal'),
        ('a = [0]\n' + 'a = [a, a]\n' * 40, 'more than 100,000 values'),
        ('model = dict(', 'is not readable .SyntaxError'),
    ],
)
def test_the_config_in_a_checkpoint_is_not_run(tmp_path, text, message):
    hacked, path = tmp_path / 'hacked', tmp_path / 'evil.pth'
    content = weights()
    content['meta']['cfg'] = text.replace('HACKED', str(hacked))
    torch.save(content, path)
    with pytest.raises(ValueError, match=rf'The config in .*evil\.pth.*{message}'):
        init_model(path)
    assert not hacked.exists()
    torch.save(weights(), path)
    with pytest.raises(ValueError, match=r'evil\.pth holds no config\. Give the one'):
        init_model(path)


def test_names_in_a_config_that_we_write_run_nothing(tmp_path):
    """mmengine fills in templates before it reads a file, in strings, too."""
    hacked, file = tmp_path / 'hacked', tmp_path / 'written.py'
    names = [
        *('{{$X:', f"}}}}'a'if[__import__('os').mkdir('{hacked}')]else'',#"),
        *('{{ fileDirname }}', '{{{$HOME:x}}}', '{{{{', "it's {{", '\\{{'),
    ]
    config = QuickConfig(dict(classes=names, label_map={'{{$X:y}}': 1}))
    file.write_text(config.pretty_text)
    read = Config.fromfile(file)
    assert read.classes == names and read.label_map == {'{{$X:y}}': 1}
    assert not hacked.exists()
    file.write_text(f"_base_ = ['{ROOT / TOY}']\nexperiment_name = '{{\\x7b$X:y}}}}'")
    printed = run('tools/print_config.py', file)  # may be saved as a config, too
    assert r"experiment_name = '{\x7b$X:y}}'" in printed and '{{' not in printed


@pytest.mark.parametrize(
    'text, message',
    [
        ("vis_backends = [dict(type='LocalVisBackend', config_save_file={})]", None),
        ("custom_hooks = [dict(type='CheckpointHook', out_dir={})]", None),
        ("test_evaluator = dict(type='IoUMetric', output_dir={})", None),
        (
            "test_evaluator = [dict(type='DumpResults', out_file_path={})]",
            "metric 'DumpResults', which might write",
        ),
    ],
)
def test_the_config_in_a_checkpoint_does_not_choose_what_is_written(
    trained, tmp_path, text, message
):
    path, mine = tmp_path / 'evil.pth', tmp_path / 'mine.py'
    mine.write_text('mine')
    content = torch.load(trained[0] / 'iter_4.pth', weights_only=True)
    content['meta']['cfg'] += text.format(repr(str(mine))) + '\n'
    if 'vis' in text:
        content['meta']['cfg'] += "visualizer = dict(type='Visualizer', "
        content['meta']['cfg'] += 'vis_backends=vis_backends)\n'
    torch.save(content, path)
    said = run(
        'tools/test.py', path, '--work-dir', tmp_path / 'out', ok=message is None
    )
    assert message is None or message in said
    assert mine.read_text() == 'mine'
    assert {p.name for p in tmp_path.iterdir()} - {'out'} == {'evil.pth', 'mine.py'}


@pytest.mark.parametrize('folder', ['mmseg_0x', 'mmseg_1x'])
def test_texts_of_mmsegmentation_are_read_without_being_run(folder):
    config = Config.fromfile(ROOT / f'tests/data/{folder}/fast_scnn.py')
    parsed = parse_config(config.pretty_text, 'text')
    assert parsed.to_dict() == config.to_dict()


@pytest.mark.parametrize(
    'name, content, message',
    [
        # which mmengine made os.mkdir of
        (
            'os.mkdir.json',
            {'custom_hooks': [{'type': '{{ fileBasenameNoExtension }}'}]},
            'templates',
        ),
        ('a.json', {'default_scope': 'evil'}, "default_scope is 'evil'"),
        ('a.yaml', {'model': {'_scope_': 'evil'}}, "_scope_ is 'evil'"),
        ('a.yaml', {'_base_': 'evil.py'}, "_base_ names 'evil.py', which is a program"),
        ('a.yaml', {'_base_': 'mmdet::x.py'}, '_base_ names .* which is a program'),
        ('a.json', {'_base_': 'a\0.json'}, '_base_ must be a file or a list'),
        ('a.yaml', {1: 2}, 'the key 1 is no text'),
        ('a.yaml', 'a: &a [*a]', 'more than 100,000 values'),
        ('a.yaml', '- ' * 9999, 'nested deeper than 50'),
        ('a.json', '{"a":' + '[' * 99999, 'is not readable'),
    ],
)
def test_data_runs_nothing(tmp_path, monkeypatch, name, content, message):
    (tmp_path / 'evil').mkdir()
    for file in ('evil.py', 'evil/registry.py'):
        (tmp_path / file).write_text(f'open({str(tmp_path / "hacked")!r}, "w")')
    monkeypatch.syspath_prepend(tmp_path)
    text = content if isinstance(content, str) else json.dumps(content)
    if content == {1: 2}:
        text = '1: 2'
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=rf'{name}.*{message}'):
        load_config(tmp_path / name)
    assert not (tmp_path / 'hacked').exists()


def test_a_yaml_config_on_our_own_base_is_read(tmp_path):
    (tmp_path / 'a.yaml').write_text(f'_base_: {ROOT / TOY}\n')
    assert load_config(tmp_path / 'a.yaml').model.type == 'EncoderDecoder'


def test_safetensors_of_others_are_read_as_before(tmp_path):
    save_file(weights()['state_dict'], tmp_path / 'theirs.safetensors')
    content = read_checkpoint(tmp_path / 'theirs.safetensors')
    assert torch.equal(content['state_dict']['a.weight'], torch.ones(300))
    ours = write_weights(tmp_path / 'ours.safetensors', content)
    assert load_file(ours).keys() == content['state_dict'].keys()
