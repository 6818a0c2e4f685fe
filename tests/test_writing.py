"""Files are written whole or not at all."""

import pytest

from mmseg_fastscnn.writing import whole_file


def test_a_file_is_replaced_only_when_the_new_one_is_complete(tmp_path):
    path = tmp_path / 'new folder/file.bin'
    with whole_file(path) as file:
        file.write(b'first')
        assert not path.exists()
    with pytest.raises(OSError, match='full'), whole_file(path) as file:
        file.write(b'half of the sec')
        raise OSError('full')
    assert path.read_bytes() == b'first'
    with whole_file(path) as file:
        file.write(b'second')
    assert path.read_bytes() == b'second'
    assert [inside.name for inside in path.parent.iterdir()] == ['file.bin']
