"""Results are written beside what is read, never over it."""

import cv2
import numpy as np
import pytest
from mmengine.dataset import ConcatDataset

from mmseg_fastscnn.datasets import SegDataset
from mmseg_fastscnn.engine.predictions import PredictionHook, known_images


class FakeRunner:
    """What the hook needs of a runner that tests a data set."""

    def __init__(self, dataset):
        self.test_dataloader = type('Loader', (), dict(dataset=dataset))


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
    runner = FakeRunner(folder_of(tmp_path))
    before = everything_below(tmp_path)
    hook = PredictionHook(**{option: str(tmp_path / kind)})
    with pytest.raises(ValueError, match=r'would lie in .*(images|labels), where'):
        hook.before_test(runner)
    assert everything_below(tmp_path) == before


def test_what_is_no_result_is_not_replaced(tmp_path):
    runner = FakeRunner(folder_of(tmp_path / 'data'))
    thesis = tmp_path / 'out/0.png'
    thesis.parent.mkdir()
    thesis.write_bytes(b'years of work')
    with pytest.raises(ValueError, match=r'0\.png exists and is not a result'):
        PredictionHook(out_dir=str(thesis.parent)).before_test(runner)


def test_two_data_sets_do_not_share_a_result(tmp_path):
    parts = [folder_of(tmp_path / 'a', '0.png'), folder_of(tmp_path / 'b', '0.jpg')]
    runner = FakeRunner(ConcatDataset(parts))
    assert len(list(known_images(runner.test_dataloader.dataset))) == 2
    with pytest.raises(ValueError, match=r'Two images would give the result .*0\.png'):
        PredictionHook(out_dir=str(tmp_path / 'out')).before_test(runner)
    with pytest.raises(ValueError, match='Give them two folders'):
        PredictionHook(str(tmp_path / 'out'), str(tmp_path / 'b/../out'))
