import logging
import sys

import pytest
import torch

from mmseg_fastscnn.runner import set_aside_broken_torchvision


def test_a_torchvision_that_fails_is_set_aside(tmp_path, monkeypatch, caplog):
    broken = tmp_path / 'torchvision'
    broken.mkdir()
    (broken / '__init__.py').write_text(
        "raise RuntimeError('operator x does not exist')"
    )
    info = tmp_path / 'torchvision-0.99.1.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: torchvision\nVersion: 0.99.1\n'
        'Requires-Dist: numpy\nRequires-Dist: torch (==2.99.0)\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [n for n in sys.modules if n.split('.')[0] == 'torchvision']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'torchvision', None)  # so that it is undone
    del sys.modules['torchvision']

    for _ in range(2):  # said once
        set_aside_broken_torchvision(logging.getLogger('run'))
    (record,) = caplog.records
    message = record.getMessage()
    assert (
        f'fails with torch {torch.__version__} (operator x does not exist)' in message
    )
    assert 'torchvision==0.99.1 with torch==2.99.0' in message
    with pytest.raises(ModuleNotFoundError):
        import torchvision  # noqa: F401
