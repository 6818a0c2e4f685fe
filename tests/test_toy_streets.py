"""Toy streets: scenes follow from the seed, and the writer never loses a file."""

import numpy as np
import pytest

from mmseg_fastscnn.datasets.cityscapes import CLASSES, LABEL_IDS
from mmseg_fastscnn.datasets.toy_streets import draw_scene, write_toy_streets

SIZE = (64, 128)


def contents(root) -> dict[str, bytes]:
    files = (path for path in root.rglob('*') if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_seed_decides():
    first, again, other = (draw_scene(seed, SIZE) for seed in (3, 3, 4))
    for one, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, different)


def test_every_class_occurs():
    labels = [draw_scene(seed, (128, 256))[1] for seed in range(40)]
    found = set(np.unique(labels))
    assert {label_id for _, label_id, _ in CLASSES} <= found <= set(LABEL_IDS)


def test_writes_layout_once(tmp_path):
    write_toy_streets(tmp_path, SIZE, 2, 1)
    names = ('train/toy/toy_000000', 'train/toy/toy_000001', 'val/toy/toy_000000')
    images = {f'leftImg8bit/{name}_000019_leftImg8bit.png' for name in names}
    labels = {f'gtFine/{name}_000019_gtFine_labelIds.png' for name in names}
    assert contents(tmp_path).keys() == images | labels | {'toy_streets.json'}
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    write_toy_streets(tmp_path, SIZE, 2, 1)
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}


def test_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / 'thesis.tex').write_text('mine')
    with pytest.raises(ValueError, match=r'thesis\.tex'):
        write_toy_streets(tmp_path, SIZE, 1, 1)
    assert contents(tmp_path) == {'thesis.tex': b'mine'}


def test_interrupted_call_is_completed(tmp_path):
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_toy_streets(tmp_path / 'broken', SIZE, 2, 1, interrupt)
    for name in ('broken', 'whole'):
        write_toy_streets(tmp_path / name, SIZE, 2, 1)
    assert contents(tmp_path / 'broken') == contents(tmp_path / 'whole')
