"""The commands, their help, and what is a user's mistake and what a fault of ours."""

import os
import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser

import numpy as np
import pytest
import torch
from conftest import ROOT, TOY, run

from mmseg_fastscnn import commands
from mmseg_fastscnn.checkpoint import read_checkpoint
from mmseg_fastscnn.commands import VERBS, command
from mmseg_fastscnn.commands.entrance import mistake, run_command
from mmseg_fastscnn.commands.options import names_of
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.engine.runner import SegRunner
from mmseg_fastscnn.pictures import panel


def error_of(function, *args) -> Exception:
    with pytest.raises(Exception) as caught:
        function(*args)
    return caught.value


def test_what_the_package_raises_itself_is_a_mistake(tmp_path):
    missing, broken = tmp_path / 'none.pth', tmp_path / 'broken.pth'
    broken.write_bytes(b'text')
    assert mistake(error_of(read_checkpoint, missing)).endswith('does not exist.')
    assert 'broken.pth is no PyTorch' in mistake(error_of(read_checkpoint, broken))


def test_what_the_system_refuses_is_a_mistake(tmp_path):
    error = error_of((tmp_path / 'no folder/file').write_text, '')
    assert 'No such file' in mistake(error) and 'no folder/file' in mistake(error)


def test_what_fails_inside_is_a_fault_of_ours():
    pictures = [np.zeros((2, 3, 3)), np.zeros((4, 3, 3))]
    error = error_of(panel, pictures)
    assert isinstance(error, ValueError) and mistake(error) is None
    assert mistake(error_of({}.__getitem__, 'key')) is None
    with pytest.raises(ValueError, match='dimension'):
        run_command(lambda: panel(pictures))


@pytest.mark.parametrize(
    ('key', 'value', 'said'),
    [
        ('optim_wrapper.optimizer.lr', -1, 'AdamW .*Invalid learning rate: -1'),
        ('train_dataloader.dataset.pipeline.4.prob', 3, 'RandomFlip .*probs must be'),
        ('train_dataloader.num_workers', -1, 'DataLoader .*num_workers.*non-negative'),
        ('param_scheduler.1.end', 5, 'PolyLR .*end should be larger than begin'),
        ('model.decode_head.dropout_ratio', 3, 'Dropout|Head.*dropout probability'),
        ('train_cfg.val_interval', 0, r'train_cfg\.val_interval is 0; it must be 1'),
        ('train_cfg.max_iters', -3, r'train_cfg\.max_iters is -3; it must be 1'),
    ],
)
def test_a_setting_that_a_class_refuses_is_a_mistake(
    key, value, said, streets, tmp_path
):
    config = load_config(
        'fast_scnn_toy_streets.py', {key: value}, str(streets), str(tmp_path)
    )
    error = error_of(lambda: SegRunner.from_cfg(config).train())
    assert re.search(said, mistake(error) or 'a fault of ours')


def test_a_mistake_ends_a_command_with_its_message(capsys):
    with pytest.raises(SystemExit) as ended:
        run_command(lambda: read_checkpoint('none.pth'))
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and 'none.pth does not exist' in said


@pytest.mark.parametrize('verb', VERBS)
def test_help_has_an_example(verb, capsys):
    parser = ArgumentParser(description=command(verb).__doc__)
    with pytest.raises(SystemExit):
        command(verb).parse_args(parser, ['--help'])
    said = ' '.join(capsys.readouterr().out.split())
    assert f'Example: fastscnn {verb} ' in said


def test_every_tool_runs_a_verb():
    tools = list((ROOT / 'tools').glob('*.py'))
    assert len(tools) > 10
    for tool in tools:
        verb = 'check' if tool.stem == 'check_dataset' else tool.stem
        assert f"run('{verb}')" in tool.read_text() and verb in VERBS


def test_help_imports_nothing_heavy():
    code = (
        'import sys\n'
        'from mmseg_fastscnn.__main__ import overview\n'
        'print(overview())\n'
        'print({"torch", "mmengine", "numpy", "cv2"} & {*sys.modules})\n'
    )
    said = run(sys.executable, '-c', code)
    assert said.splitlines()[-1] == 'set()'
    assert all(f'\n  {verb} ' in said for verb in VERBS)


@pytest.mark.parametrize(
    'words, before, policy',
    [
        ('train config.py', None, 'passive'),
        ('train config.py', 'active', 'active'),
        ('test model.pth', None, 'passive'),
        ('predict model.pth street.png', None, None),
    ],
)
def test_threads_sleep_while_they_wait(words, before, policy, monkeypatch):
    verb, *words = words.split()
    monkeypatch.setattr(command(verb), 'main', lambda args: None)
    monkeypatch.setattr(os, 'environ', {**os.environ})
    os.environ.pop('OMP_WAIT_POLICY', None)
    if before is not None:
        os.environ['OMP_WAIT_POLICY'] = before
    commands.run(verb, words)
    assert os.environ.get('OMP_WAIT_POLICY') == policy


def test_files_of_one_name_are_told_apart():
    assert names_of(['a/model.onnx', 'a/wide.onnx']) == ['model.onnx', 'wide.onnx']
    assert names_of(['a/model.onnx', 'b/model.onnx']) == [
        'a/model.onnx',
        'b/model.onnx',
    ]


def test_an_unknown_verb_is_a_mistake():
    said = run(sys.executable, '-m', 'mmseg_fastscnn', 'trian', ok=False)
    assert "no verb 'trian'; did you mean train?" in said


def test_a_misspelt_option_is_named_without_all_others(capsys):
    with pytest.raises(SystemExit):
        commands.run('train', ['photos', ''], 'fastscnn train')
    assert 'unrecognized arguments:  (see' in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        commands.run('train', ['photos', '--minuts', '3'], 'fastscnn train')
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        'fastscnn train: unrecognized arguments: --minuts 3; did you mean --minutes? '
        '(see fastscnn train --help)\n'
    )


def test_an_installed_package_finds_the_shipped_configs(tmp_path):
    """What `pip install` would copy, in an empty folder."""
    build = ['setup.py', '-q', 'build', '--build-base', tmp_path / 'b']
    run(*build, 'build_py', '--build-lib', tmp_path / 'site')
    (tmp_path / 'empty').mkdir()
    done = subprocess.run(
        [
            sys.executable,
            *['-m', 'mmseg_fastscnn', 'print_config', 'fast_scnn_camvid.py'],
        ],
        cwd=tmp_path / 'empty',
        env={**os.environ, 'PYTHONPATH': str(tmp_path / 'site')},
        capture_output=True,
        text=True,
    )
    assert "dataset_type = 'CamVidDataset'" in done.stdout, done.stderr
    configs = {path.relative_to(ROOT) for path in ROOT.glob('configs/**/*.py')}
    package = tmp_path / 'site/mmseg_fastscnn'
    assert {p.relative_to(package) for p in package.glob('configs/**/*.py')} == configs


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ('train {toy} --cfg-options train_cfg.max_iters 10', 'max_iters is not of the'),
        (
            'train {toy} --cfg-options optimizer.lr=1',
            'here it is optim_wrapper.optimizer',
        ),
        ('train {toy} --cfg-options train_cfg.max_iter=3', 'set in --cfg-options'),
        ('train {toy} --work-dir {file}/run', 'cannot be written to (Not a directory)'),
        ('train {toy} --work-dir {file}/run --dry-run', 'cannot be written to'),
        (
            'train {toy} --load-from {model}.onnx --data-root {data}',
            'is an exported file, for prediction',
        ),
        (
            'train {toy} --load-from {empty} --data-root {data}',
            'is a folder; there are none in it',
        ),
        ('train {heir}', 'a config of the package mmdetx, which is not installed'),
        ('test {toy}', 'is a config; name a checkpoint after it'),
        ('test {toy} {model}.pth --out all.pkl', 'it is a folder for label PNGs'),
        ('test {bare}', 'holds no config. Give the one that it was trained with'),
        ('predict {model}.pth {heir2} {data}', 'defines no model'),
        ('compare {empty}x', 'is no folder; give work dirs of runs'),
    ],
)
def test_a_wrong_word_is_named(words, said, shallow, streets, tmp_path):
    empty, file = tmp_path / 'empty', tmp_path / 'file'
    empty.mkdir()
    file.touch()
    bare, heir, heir2 = (tmp_path / name for name in ('bare.pth', 'a.py', 'b.py'))
    torch.save(read_checkpoint(shallow / 'random.pth')['state_dict'], bare)
    heir.write_text("_base_ = 'mmdetx::_base_/default_runtime.py'\n")
    heir2.write_text('log_level = "INFO"\n')
    shutil.copy(shallow / 'random.pth', tmp_path / 'model.pth')
    shutil.copy(shallow / 'model.onnx', tmp_path / 'model.onnx')
    paths = dict(toy=ROOT / TOY, model=tmp_path / 'model', file=file, empty=empty)
    paths |= dict(bare=bare, heir=heir, heir2=heir2, data=streets)
    verb, *words = [word.format(**paths) for word in words.split()]
    heard = run(f'tools/{verb}.py', *words, ok=False)
    assert said in heard and 'Traceback' not in heard
    assert not (tmp_path / 'run').exists()
