"""`benchmarks/gpu.py` without a GPU: its steps, and what it does when one fails."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / 'benchmarks'))
import gpu

CPU = ['--device', 'cpu', '--quick']
PARTS = [
    'machine',
    'roofline/prediction b1',
    'cuda_graph',
    'label_map',
    'cross_entropy',
    'golden',
    'b1 graph',
    'b1 eager f',
]
PARTS += ['b32 product float32', 'b32 graph float32', 'setup', 'feeding/png']


def crash(at) -> dict:
    os.abort()


def hang(at) -> dict:
    (at.out / 'new').write_text(str(os.getpid()))
    (at.out / 'new').rename(at.out / 'pid')
    time.sleep(600)


def meet(at, me: str, other: str) -> dict:
    """Wait for the step beside this one."""
    (at.out / me).touch()
    until((at.out / other).exists)
    return dict(calls=(at.out / 'calls').read_text())


def count_calls(at) -> dict:
    with (at.out / 'calls').open('a') as file:
        file.write('x')
    return dict(calls=1)


def rows(out) -> dict:
    return json.loads((out / 'results.json').read_text())['rows']


def test_the_steps_run(tmp_path):
    gpu.main([*CPU, '--out', str(tmp_path), '--steps', *PARTS])
    found = rows(tmp_path)
    status = {name: row['status'] for name, row in found.items()}
    assert status.pop('setup/peer') == 'not seen'
    assert set(status.values()) == {'done'} and len(status) >= 10, found
    assert found['correct/cross_entropy']['cases'] > 50
    assert found['prediction/b1 graph float32']['copying_images_per_s'] > 0
    table = (tmp_path / 'table.md').read_text()
    assert '| label_map, 0.7 of the memory bandwidth | ' in table
    # the peer's, feeding from a packed copy, and a graph's in float16
    assert table.count('not measured') == 6
    counted = found['roofline/prediction b1 graph float16']
    assert 90 < counted['operators'] < 100 and counted['joined_gb'] < counted['gb']
    assert '| prediction b1 eager float32 | ' in table


def test_a_failed_step_spoils_only_its_row(tmp_path):
    place = __name__
    steps = [
        gpu.Step('test/crash', f'{place}:crash'),
        gpu.Step('test/hang', f'{place}:hang', limit=2),
        gpu.Step('test/count', f'{place}:count_calls'),
    ]
    for _ in range(2):  # the second call leaves the finished row alone
        gpu.main([*CPU, '--out', str(tmp_path)], steps)
        found = rows(tmp_path)
        status = [found[step.name]['status'] for step in steps]
        assert status == ['crashed', 'overran', 'done']
        assert '-6' in found['test/crash']['why']
    assert (tmp_path / 'calls').read_text() == 'x'
    again = gpu.to_do(steps[::-1], {'test/hang': found['test/hang']}, None)
    assert [step.name for step in again] == ['test/count', 'test/crash', 'test/hang']


def test_steps_that_time_nothing_run_beside_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, 'BESIDE', 2)
    place = f'{__name__}:meet'
    steps = [
        gpu.Step('test/alone', f'{__name__}:count_calls'),
        gpu.Step('test/one', place, dict(me='1', other='2'), 20, beside=True),
        gpu.Step('test/two', place, dict(me='2', other='1'), 20, beside=True),
        gpu.Step('test/last', f'{__name__}:count_calls'),
    ]
    gpu.main([*CPU, '--out', str(tmp_path)], steps)
    found = rows(tmp_path)
    assert [row['status'] for row in found.values()] == ['done'] * 4
    assert {found['test/one']['calls'], found['test/two']['calls']} == {'x'}
    assert (tmp_path / 'calls').read_text() == 'xx'


def test_a_kill_ends_the_step_too(tmp_path):
    code = f'import sys; sys.path[:0] = {sys.path}; import gpu, {__name__} as test; '
    code += f'gpu.main({[*CPU, "--out", str(tmp_path)]}, '
    code += f"[gpu.Step('test/hang', '{__name__}:hang')])"
    main = subprocess.Popen([sys.executable, '-c', code])
    until((tmp_path / 'pid').exists)
    main.kill()
    main.wait()
    step = int((tmp_path / 'pid').read_text())
    until(lambda: not Path(f'/proc/{step}').exists())


def until(true) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_without_a_gpu_one_sentence(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    with pytest.raises(SystemExit) as ended:
        gpu.main(['--out', str(tmp_path / 'none')])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count('\n') == 1
    assert 'No CUDA device' in said and not (tmp_path / 'none').exists()


def test_results_of_another_machine_are_refused(tmp_path):
    report = dict(machine=dict(device='another'), rows={})
    (tmp_path / 'results.json').write_text(json.dumps(report))
    with pytest.raises(SystemExit, match='of another machine'):
        gpu.main([*CPU, '--out', str(tmp_path)], [])
