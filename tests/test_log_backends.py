"""TensorBoard, W&B and MLflow get what the JSON log gets, at the same steps."""

import json
import sys

import pytest
from conftest import TOY, run, small_run
from mmengine.config import Config

from mmseg_fastscnn.commands.entrance import run_command
from mmseg_fastscnn.engine.log import backends as log_backends
from mmseg_fastscnn.engine.log.backends import (
    MLflowVisBackend,
    WandbVisBackend,
    complete_backends,
)


def test_tensorboard_has_loss_rate_and_the_iou_of_each_class(streets, tmp_path):
    reader = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator'
    )
    run(
        *['tools/train.py', TOY, '--data-root', streets, '--work-dir', tmp_path],
        *small_run(),
        'visualizer.vis_backends.0.type=TensorboardVisBackend',
    )
    (log,) = tmp_path.glob('*/vis_data')
    events = reader.EventAccumulator(str(log))
    events.Reload()
    found = {
        (name, event.step): event.value
        for name in events.Tags()['scalars']
        for event in events.Scalars(name)
    }
    lines = map(json.loads, (log / 'scalars.json').read_text().splitlines())
    logged = {(k, line['step']): v for line in lines for k, v in line.items()}
    logged = {key: value for key, value in logged.items() if key[0] != 'step'}
    assert {('loss', 1), ('lr', 4), ('mIoU', 4), ('val/IoU/road', 4)} <= found.keys()
    assert found == {
        key: pytest.approx(value, rel=1e-6) for key, value in logged.items()
    }
    (line,) = map(json.loads, (tmp_path / 'record/validations.jsonl').open())
    assert found['mIoU', 4] == pytest.approx(line['scores']['mIoU'], rel=1e-6)
    for name, row in line['per_class'].items():
        if row['IoU'] is not None:
            assert found[f'val/IoU/{name}', 4] == pytest.approx(row['IoU'], rel=1e-6)


def test_wandb_draws_over_the_step_of_the_run(tmp_path):
    class Recorder:
        """W&B, as far as it is called here."""

        def __init__(self):
            self.rows, self.axes = [], []

        def init(self, dir):
            assert dir == str(tmp_path)

        def define_metric(self, name, step_metric=None):
            self.axes.append((name, step_metric))

        def log(self, row, commit):
            self.rows.append(row)

    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'wandb', recorder)
        backend = WandbVisBackend(str(tmp_path))
        backend.add_scalars({'loss': 0.5}, step=400, file_path='x.json')
        backend.add_scalar('mIoU', 50.0, 800)
    assert recorder.rows == [dict(loss=0.5, step=400), dict(mIoU=50.0, step=800)]
    assert ('*', 'step') in recorder.axes


def test_mlflow_takes_any_class_name_and_config(tmp_path):
    mlflow = pytest.importorskip('mlflow')
    backend = MLflowVisBackend(str(tmp_path / 'vis data'))
    label_map = {0: 0, 255: 255}
    backend.add_config(Config(dict(work_dir=str(tmp_path), label_map=label_map)))
    backend.add_scalars({'val/IoU/wall (other), stone': 12.5, 'loss': 0.5}, step=4)
    backend.close()
    client = mlflow.MlflowClient(f'sqlite:///{tmp_path}/vis data/mlflow.db')
    experiment = client.get_experiment_by_name('mmseg_fastscnn')
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.data.params['label_map.255'] == '255'
    assert found.data.metrics == {'val/IoU/wall _other__ stone': 12.5, 'loss': 0.5}
    assert client.get_metric_history(found.info.run_id, 'loss')[0].step == 4
    assert (tmp_path / 'vis data/mlflow').is_dir()


@pytest.mark.parametrize('kind', ['Tensorboard', 'Wandb', 'MLflow'])
def test_a_package_that_is_missing_is_named(kind, monkeypatch, capsys):
    monkeypatch.setattr(log_backends, 'find_spec', lambda name: None)
    backends = [dict(type='LocalVisBackend'), dict(type=f'{kind}VisBackend')]
    with pytest.raises(SystemExit) as ended:
        run_command(lambda: complete_backends(backends))
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count('\n') == 1
    assert f"needs {kind.lower()}: pip install '.[{kind.lower()}]'" in said


def test_the_json_log_is_always_there(monkeypatch):
    monkeypatch.setitem(log_backends.NEEDED, 'WandbVisBackend', 'pytest')
    local, other = dict(type='LocalVisBackend'), dict(type='WandbVisBackend')
    assert complete_backends(None) == [local]
    assert complete_backends(other) == [local, other]
    assert complete_backends([other, local]) == [other, local]


def test_a_folder_that_is_called_like_a_package_is_not_one(tmp_path, monkeypatch):
    (tmp_path / 'nowhere_else').mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(log_backends.NEEDED, 'WandbVisBackend', 'nowhere_else')
    with pytest.raises(ImportError, match='needs nowhere_else'):
        complete_backends([dict(type='WandbVisBackend')])
