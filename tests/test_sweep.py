"""`fastscnn sweep`: runs that can be stopped, and the table of what they reached."""

import json
import os
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from conftest import CPU, ROOT, TOY, run, small_run

from mmseg_fastscnn.engine.sweep.lock import locked
from mmseg_fastscnn.engine.sweep.plan import planned_runs, recipes_of
from mmseg_fastscnn.engine.sweep.runs import Process, forwarded_signals
from mmseg_fastscnn.report.comparison import Spread
from mmseg_fastscnn.report.run_files import read_run, score
from mmseg_fastscnn.report.sweep_table import paired_p, student, table
from mmseg_fastscnn.results import is_ours

SWEEP = [sys.executable, '-m', 'mmseg_fastscnn', 'sweep']


@pytest.mark.parametrize(
    'freedom, t', [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262)]
)
def test_students_distribution(freedom, t):
    """The two-sided 5 % points of printed tables."""
    assert student(t, freedom) == pytest.approx(0.95, abs=1e-4)


def test_the_table_pairs_seeds():
    scores = dict(a=[50, 54, 52], b=[51, 56, 54], c=[60], e=[60, 64.1, 62])
    rows = rows_of({k: {'': scores.get(k, [])} for k in 'abcde'})
    assert rows[2] == [
        'a',
        '3',
        '52.00 ± 2.00',
        '50.00, 54.00, 52.00',
        '2.0',
        '40',
        '',
        '',
    ]
    # the differences 1, 2, 2: t = 5 with two degrees of freedom
    assert rows[3][-2:] == ['+1.67 ± 0.58', '0.038']
    assert rows[4][-2:] == ['+10.00', ''] and rows[5][:2] == ['d', '0']
    # 10, 10.1, 10: t = 301, p = 1 - t / sqrt(t * t + 2)
    assert rows[6][-2:] == ['+10.03 ± 0.06', '1.1e-05']


def test_equal_differences_have_no_p():
    rows = rows_of({'a': {'': [50, 51]}, 'b': {'': [50.5, 51.5]}})
    assert rows[3][-2:] == ['+0.50 ± 0.00', '']
    assert 0 < paired_p(Spread(80, 1e-9), 11) < 1e-12  # which rounding would make 0


def test_a_seed_counts_with_its_mean_over_the_folds():
    """Folds differ by far more than seeds, so they must not be in the spread."""
    plain = dict(dusk=[40, 41, 42], day=[50, 51, 49])
    new = dict(dusk=[41, 43, 42], day=[53, 52])
    rows = rows_of(dict(plain=plain, new=new))
    assert [row[0] for row in rows[2:]] == [
        *('plain, dusk', 'new, dusk', 'plain, day', 'new, day'),
        *('plain, mean of 2 folds', 'new, mean of 2 folds'),
    ]
    assert rows[2][1:4] == ['3', '41.00 ± 1.00', '40.00, 41.00, 42.00']
    assert rows[3][-2] == '+1.00 ± 1.00'  # 1, 2, 0
    assert rows[6][1:4] == ['3', '45.50 ± 0.50', '45.00, 46.00, 45.50']
    # of the seeds 0 and 1, as the third lacks a fold: 47 - 45 and 47.5 - 46
    assert rows[7][1:4] == ['2', '47.25 ± 0.35', '47.00, 47.50']
    assert rows[7][-2] == '+1.75 ± 0.35'


def rows_of(scores: dict[str, dict[str, list[float]]]) -> list[list[str]]:
    """Return the cells of the table of mIoU by recipe, fold and seed."""
    facts = [
        dict(recipe=recipe, fold=fold, seed=seed, miou=miou, minutes=2, iterations=40)
        for recipe, folds in scores.items()
        for fold, values in folds.items()
        for seed, miou in enumerate(values)
    ]
    parts = [(recipe, fold) for recipe in scores for fold in scores[recipe]]
    return [re.split(r' *\| *', row)[1:-1] for row in table(parts, facts)]


def test_recipes_are_named_by_what_differs(tmp_path):
    recipes = recipes_of(['x/a.py', 'b.py'], ['m.betas=(0.9,0.99),(0.8,0.9)', 'lr=.1'])
    assert [recipe.name for recipe in recipes][1:3] == [
        'a_betas=_0.8_0.9_lr=.1',
        'b_betas=_0.9_0.99_lr=.1',
    ]
    assert recipes[0].settings == ('m.betas=(0.9,0.99)', 'lr=.1')
    with pytest.raises(ValueError, match=r'called a: x/a\.py and y/a\.py\. Rename'):
        recipes_of(['x/a.py', 'y/a.py'], [])
    same_name = r'called a_size=_1_2_: a\.py m\.size=\[1,2\] and a\.py m\.size=\(1,2\)'
    with pytest.raises(ValueError, match=same_name):
        recipes_of(['a.py'], ['m.size=[1,2],(1,2)'])
    with pytest.raises(ValueError, match=r'--grid lr=\.1,\.1 has a value twice'):
        recipes_of(['a.py'], ['lr=.1,.1'])
    with pytest.raises(ValueError, match=r'--grid lr=\.1, is not of the form'):
        recipes_of(['a.py'], ['lr=.1,'])
    recipes = recipes_of([config_of(tmp_path)], ['lr=.1,.2'])
    runs = planned_runs(recipes, [], [3, 4, 3], 'out', 25, ['--amp'])
    assert [run.seed for run in runs] == [3, 3, 4, 4]
    assert runs[0].words[-2:] == ('--minutes', '25') and '--amp' in runs[0].words


def config_of(folder, **settings) -> str:
    """Write a config with changed settings, and return its path."""
    settings = dict(_base_=str(ROOT / TOY), **settings)
    file = folder / 'a.py'
    file.write_text(''.join(f'{key} = {value!r}\n' for key, value in settings.items()))
    return str(file)


def plan(folder, out, grid=(), train=(), **settings):
    """Return the one run of a sweep with `config_of`."""
    recipes = recipes_of([config_of(folder, **settings)], grid)
    (planned,) = planned_runs(recipes, [], [0], out, None, list(train))
    return planned


def test_nothing_of_a_user_becomes_a_part_of_a_sweep(tmp_path):
    recipes, names = recipes_of([config_of(tmp_path)], []), ('x/f.txt', 'y/f.txt')
    for name in names:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text('lr=.1\n')
    with pytest.raises(ValueError, match='two files have one name'):
        folds = [str(tmp_path / name) for name in names]
        planned_runs(recipes, folds, [0], 'out', None, [])
    out = tmp_path / 'out'
    planned = plan(tmp_path, out)
    assert planned.state() is None
    planned.folder.mkdir(parents=True)
    (planned.folder / 'iter_4.pth').touch()
    with pytest.raises(ValueError, match='it is no run of a sweep'):
        planned.state()
    planned.write_state(1.0, 0)
    assert planned.is_done()
    with pytest.raises(ValueError, match=r'a\.py has changed since .* was trained'):
        plan(tmp_path, out, compile=True).is_done()
    with pytest.raises(ValueError, match=r'a\.py has changed since this sweep began'):
        Process(planned, None, to_file=False)
    names = tmp_path / 'train.list'
    names.write_text('street_1\n')
    data = dict(data_root=str(tmp_path), ann_file='train.list')
    in_words = dict(grid=['ann_file=train.list'], train=['--data-root', str(tmp_path)])
    in_config = dict(train_dataloader=dict(dataset=data))
    in_list = dict(
        load_from=str(tmp_path),
        default_hooks=dict(checkpoint=dict(save_best=['train.list'])),
    )
    for number, named in enumerate([in_words, in_config, in_list]):
        out = tmp_path / f'lists_{number}'
        planned = plan(tmp_path, out, **named)
        planned.write_state(1.0, 0)
        assert planned.is_done()
        names.write_text(f'street_{number + 2}\n')
        with pytest.raises(ValueError, match=r'train\.list has changed since'):
            plan(tmp_path, out, **named).is_done()
    soft = tmp_path / 'soft'
    soft.mkdir()
    for teacher in ('one', 'another'):
        (soft / 'index.json').write_text(teacher)
        planned = plan(
            tmp_path,
            tmp_path / 's',
            train_dataloader=dict(dataset=dict(soft_labels=str(soft))),
        )
        if teacher == 'one':
            planned.write_state(1.0, 0)
            assert planned.is_done()
    with pytest.raises(ValueError, match=r'index\.json has changed since'):
        planned.is_done()
    for content in ('[]', '[{"recipe": "a"}]'):
        (tmp_path / 'sweep.json').write_text(content)
        assert not is_ours(tmp_path / 'sweep.json')
    (tmp_path / 'sweep.md').write_text('# My sweep\n')
    assert not is_ours(tmp_path / 'sweep.md')
    (tmp_path / 'sweep.md').write_text(next(table([('a', '')], [])))
    assert is_ours(tmp_path / 'sweep.md')


def test_a_hangup_reaches_the_runs_and_nohup_holds():
    got = []
    run_of_sweep = SimpleNamespace(process=SimpleNamespace(send_signal=got.append))
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        active = [run_of_sweep]
        with forwarded_signals(active) as came:
            for number in (signal.SIGUSR1, signal.SIGHUP):
                signal.raise_signal(number)
            active.clear()
        assert came == got == [signal.SIGHUP]
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_folder_is_of_one_sweep_at_a_time(tmp_path):
    with locked(tmp_path, shared=True), locked(tmp_path, shared=True):  # of an array
        with pytest.raises(ValueError, match='works in'), locked(tmp_path, False):
            pass
        left = subprocess.Popen(['sleep', '60'], close_fds=False)
    with pytest.raises(ValueError, match='works in'), locked(tmp_path, False):
        pass
    left.kill()
    left.wait()
    planned = plan(tmp_path, tmp_path / 'out')  # two tasks of an array have one number
    with locked(planned.folder, False), pytest.raises(ValueError, match='works in'):
        Process(planned, None, to_file=False)
    assert planned.state() is None
    with locked(tmp_path, shared=False):
        said = run('tools/sweep.py', TOY, '--out', tmp_path, ok=False)
        assert f'works in {tmp_path}. Wait for its end' in said


def test_a_sweep_goes_on_where_it_was_stopped(streets, tmp_path):
    out = tmp_path / 'sweep'
    grid = [*small_run(2)[1:], 'model.width=0.25,0.5']
    command = [*SWEEP, TOY, '--seeds', '0', '--out', out, '--grid', *grid]
    fold = tmp_path / 'first.txt'
    fold.write_text('val_dataloader.dataset.indices=[0,1]\n')
    command += ['--folds', fold]
    words = [*map(str, command), '--', '--data-root', str(streets)]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    # as a terminal has it: a shell's `&` has the tests, and what they start, ignore it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        words, env={**os.environ, **CPU}, cwd=ROOT, **pipes
    ) as process:
        signal.signal(signal.SIGINT, before)
        for line in process.stdout:
            if line.startswith('Run 2 of 2'):
                process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    states = [json.loads(f.read_bytes()) for f in out.glob('*/*/sweep_run.json')]
    assert sorted(state['status'] == 0 for state in states) == [False, True]

    said = run(*words)
    assert 'Run 2 of 2' in said and 'Run 1 of 2' not in said
    facts = json.loads((out / 'sweep.json').read_text())
    for fact in facts:
        record = read_run(out / fact['recipe'] / f'first_seed_{fact["seed"]}')
        assert fact['miou'] == score(record.validations[-1])
    first, second = (fact['miou'] for fact in facts)
    rows = (out / 'sweep.md').read_text().splitlines()
    assert rows[2] in said and f'width=0.25, first | 1 | {first:.2f} |' in rows[2]
    assert f'| {second - first:+.2f} |' in rows[3]
    said = run(*command[:3], 'compare', out, '--html', tmp_path / 'page.html')
    assert re.search(rf'mIoU +{first:.2f} ', said)
    for file in (out / facts[0]['recipe']).glob('*/record/starts.jsonl'):
        file.unlink()  # as if it could not be written
    said = run(*words)
    assert 'first_seed_0 is left out: it has no mIoU' in said
    assert [f['recipe'] for f in json.loads((out / 'sweep.json').read_text())] == [
        facts[1]['recipe']
    ]
    (out / 'sweep.json').write_text(json.dumps(facts))
    said = run(*words, '--amp', ok=False)
    assert 'has a run with other arguments' in said
    check_front(out)


def check_front(out) -> None:
    """A network that is slower and worse is not on the front."""
    facts = json.loads((out / 'sweep.json').read_text())
    for fact, miou in zip(facts, (50, 40), strict=True):
        fact['miou'] = miou
    (out / 'sweep.json').write_text(json.dumps(facts))
    options = ['--format', '.pth', '--rounds', '2', '--repeat', '2']
    run('benchmarks/pareto.py', out, *options)
    rows = (out / 'pareto.md').read_text().splitlines()[2:]
    cells = [re.split(r' *\| *', row.split('_width=')[1])[:-1] for row in rows]
    assert float(cells[0][2].split()[0]) <= float(cells[1][2].split()[0])
    narrow, wide = sorted(cells)
    assert narrow[1:2] + narrow[3:5] == ['101,603', '50.00', '1']
    assert wide[1:2] + wide[3:5] == ['368,587', '40.00', '1']
    assert narrow[5] == 'yes' and wide[5] == ('yes' if cells[0] is wide else '')


def test_wrong_words(tmp_path):
    said = run('tools/sweep.py', TOY, '--', '--cfg-opt', 'a=1', ok=False)
    assert '--cfg-opt stands after --' in said
    said = run('tools/sweep.py', TOY, '--', '--dry-run', ok=False)
    assert '--dry-run stands after --' in said
    said = run('tools/sweep.py', TOY, '--folds', tmp_path, ok=False)
    assert f'--folds {tmp_path} cannot be read as text' in said
    said = run('tools/sweep.py', tmp_path, ok=False)
    assert f'{tmp_path} is a folder, and a sweep takes config files' in said
    said = run('tools/sweep.py', TOY, '--grid', 'lr', ok=False)
    assert '--grid lr is not of the form KEY=A,B' in said
    said = run(
        'tools/sweep.py', TOY, '--out', tmp_path, SLURM_ARRAY_TASK_ID='3', ok=False
    )
    assert '--array=0-2' in said
