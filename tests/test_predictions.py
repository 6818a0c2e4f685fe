"""Results are written beside what is read, never over it."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from conftest import TOY, run
from mmengine.dataset import ConcatDataset

from mmseg_fastscnn.datasets import SegDataset
from mmseg_fastscnn.datasets.parts import infos_of
from mmseg_fastscnn.engine.predictions import PredictionHook, ResultCheckHook
from mmseg_fastscnn.evaluation import IoUMetric
from mmseg_fastscnn.results import is_ours, write_picture


def check(dataset, *metrics, **folders) -> None:
    """Check where the results of a test would go, as before its first batch."""
    runner = SimpleNamespace(
        test_dataloader=SimpleNamespace(dataset=dataset),
        test_evaluator=SimpleNamespace(metrics=metrics),
        hooks=[PredictionHook(**{k: str(path) for k, path in folders.items()})],
    )
    ResultCheckHook().before_test(runner)


def folder_of(path, name='0.png') -> SegDataset:
    for kind in ('images', 'labels'):
        (path / kind).mkdir(parents=True)
    cv2.imwrite(str(path / 'images' / name), np.zeros((8, 8, 3), np.uint8))
    cv2.imwrite(str(path / 'labels/0.png'), np.zeros((8, 8), np.uint8))
    return SegDataset(
        data_root=str(path),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=['a', 'b']),
    )


def everything_below(path) -> dict:
    return {p: p.read_bytes() for p in path.rglob('*') if p.is_file()}


@pytest.mark.parametrize('option', ['out_dir', 'show_dir'])
@pytest.mark.parametrize('kind', ['images', 'labels', 'images/below'])
def test_folders_of_the_data_are_refused(tmp_path, option, kind):
    dataset = folder_of(tmp_path)
    before = everything_below(tmp_path)
    with pytest.raises(ValueError, match=r'would lie in .*(images|labels), where'):
        check(dataset, **{option: tmp_path / kind})
    assert everything_below(tmp_path) == before


def test_what_is_no_result_is_not_replaced(tmp_path):
    dataset = folder_of(tmp_path / 'data')
    out = tmp_path / 'out'
    out.mkdir()
    check(dataset, IoUMetric(output_dir=str(out)), show_dir=tmp_path / 'show')
    (out / '0.png').write_bytes(b'years of work')
    for place in (dict(out_dir=out), dict(show_dir=out)):
        with pytest.raises(ValueError, match=r'0\.png exists and is not a result'):
            check(dataset, **place)
    with pytest.raises(ValueError, match=r'0\.png exists and is not a result'):
        check(dataset, IoUMetric(output_dir=str(out)))
    (out / '0.png').unlink()
    (out / '0.png').symlink_to(tmp_path / 'nowhere')
    with pytest.raises(ValueError, match='outside of'):
        check(dataset, out_dir=out)


def test_two_results_do_not_share_a_file(tmp_path):
    parts = [folder_of(tmp_path / 'a', '0.png'), folder_of(tmp_path / 'b', '0.jpg')]
    assert len(list(infos_of(ConcatDataset(parts)))) == 2
    out = tmp_path / 'out'
    with pytest.raises(ValueError, match=r'Two results would be written to .*0\.png'):
        check(ConcatDataset(parts), out_dir=out)
    with pytest.raises(ValueError, match='a folder of its own'):
        check(parts[0], out_dir=out, show_dir=tmp_path / 'b/../out')
    with pytest.raises(ValueError, match='a folder of its own'):
        check(parts[0], IoUMetric(output_dir=str(out)), out_dir=out)


def test_a_file_is_ours_by_its_content(tmp_path):
    picture = np.zeros((8, 8, 3), np.uint8)
    for name in ('a.png', 'a.jpg'):
        path = tmp_path / name
        cv2.imwrite(str(path), picture + 9)
        before = path.read_bytes()
        with pytest.raises(ValueError, match='exists and is not a result'):
            write_picture(path, picture)
        assert path.read_bytes() == before
        path.unlink()
        for _ in range(2):  # over our own
            write_picture(path, picture)
        assert cv2.imread(str(path)).tolist() == picture.tolist()
    for text in ('{"mIoU": 50}', '[1, 2]', '3', 'notes'):
        (tmp_path / 'metrics.json').write_text(text)
        assert not is_ours(tmp_path / 'metrics.json')


def test_scores_replace_no_file_of_the_user(tmp_path):
    mine = tmp_path / 'metrics.json'
    mine.write_text('{"my": "notes"}')
    said = run('tools/test.py', TOY, 'any.pth', '--work-dir', tmp_path, ok=False)
    assert 'metrics.json exists and is not a result' in said
    assert mine.read_text() == '{"my": "notes"}'
    assert list(tmp_path.iterdir()) == [mine]
