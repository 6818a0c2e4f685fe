"""The entrance of all commands: what is a user's mistake, and what a fault of ours."""

import numpy as np
import pytest

from mmseg_fastscnn.checkpoint import read_checkpoint
from mmseg_fastscnn.commands.entrance import mistake, run_command
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


def test_a_mistake_ends_a_command_with_its_message(capsys):
    with pytest.raises(SystemExit) as ended:
        run_command(lambda: read_checkpoint('none.pth'))
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and 'none.pth does not exist' in said
