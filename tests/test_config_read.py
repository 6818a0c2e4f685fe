"""A file that is no config is refused in one message, and YAML never runs code."""

import json
import sys

import pytest
from conftest import ROOT, TOY

from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.config.read import read_config

BASE = ROOT / TOY


@pytest.mark.parametrize(
    'name, content, message',
    [
        ('a.py', b'\x80\x02}q.', r'a\.py is not UTF-8 text'),
        ('a.py', b'resume = \0', r'a\.py is not UTF-8 text'),
        (
            'a.py',
            b'\xef\xbb\xbfresume = True\n',
            r'a\.py begins with a byte-order mark',
        ),
        ('a.txt', b'resume = True\n', r'a\.txt must end in \.py'),
        ('a.ZIP', b'PK', r'a\.ZIP is an archive; unpack it'),
        ('a.pth', b'PK', r'a\.pth is a checkpoint, .* --help shows the order'),
        ('a.py', b'resume = True\nmodel = dict(\n', r"a\.py.*'\(' was never.*line 2"),
        ('a.py', b'\nresume = yes\n', r"a\.py, line 2: NameError: name 'yes' is not"),
        ('a.py', b'import no_such\n', r'a\.py, line 1: ModuleNotFoundError: .*no_such'),
        (
            'a.py',
            b"custom_imports = dict(imports=['no_such'], allow_failed_imports=False)\n",
            r'a\.py: custom_imports: Failed to import no_such.* in PYTHONPATH',
        ),
        ('a.py', b"filename = 'x'\n", r'a\.py: KeyError: filename is reserved'),
        ('a.py', b"_base_ = 'a.py'\n", 'cannot be its own base: .*a.py -> .*a.py'),
        (
            'a.py',
            b'_base_ = files\n',
            r'a\.py: _base_ must be plain file names .*files',
        ),
        ('a.py', b'_base_ = 3\n', r'a\.py: _base_ must be a file or a list, not 3'),
        (
            'a.py',
            b"_base_ = 'b.py'\n",
            r'b\.py, which .*a\.py names in _base_, is no f',
        ),
        (
            'a.py',
            b'from mmengine.config import read_base\nwith read_base():\n    pass\n',
            r"a\.py, line 2: .*newer format .* _base_ = \['base\.py'\]",
        ),
        (
            'a.py',
            b'from torch.nn import ReLU\nmodel = dict(act_cfg=dict(type=ReLU))',
            r'model\.act_cfg\.type is .*ReLU.*\. Write the name',
        ),
        ('a.yaml', b'a: [', r'a\.yaml is not readable: '),
        ('a.yaml', b'- 1\n', r'a\.yaml holds no keys, but a list'),
        ('a.yaml', b'a: "{{ fileBasename }}"\n', r'a\.yaml: templates'),
        ('a.json', b'{"resume": ', r'a\.json is not readable: '),
    ],
)
def test_what_is_no_config(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_config(tmp_path / name)


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='is a folder; name a file in it'):
        load_config(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'did you mean fast_scnn_camvid\.py'):
        load_config(BASE.with_name('fast_scn_camvid.py'))


def test_an_error_names_the_base_file_that_has_it(tmp_path):
    (tmp_path / 'leaf.py').write_text("_base_ = './middle.py'\n")
    (tmp_path / 'middle.py').write_text("_base_ = ['./base.py']\n")
    (tmp_path / 'base.py').write_text('resume = 1 / 0\n')
    with pytest.raises(ValueError, match=r'base\.py, line 1: ZeroDivisionError'):
        load_config(tmp_path / 'leaf.py')
    (tmp_path / 'base.py').write_text('model = 3\n')
    (tmp_path / 'middle.py').write_text("_base_ = './base.py'\nmodel = dict()\n")
    with pytest.raises(
        ValueError, match=r'middle\.py: model is a dict here and int in'
    ):
        load_config(tmp_path / 'leaf.py')


@pytest.mark.parametrize('heir', [None, 'heir.yaml', 'heir.py'])
def test_yaml_never_runs_code(tmp_path, heir):
    victim = tmp_path / 'victim'
    attack = tmp_path / 'attack.yaml'
    attack.write_text(f'work_dir: !!python/object/apply:os.mkdir ["{victim}"]\n')
    path = attack
    if heir is not None:
        path = tmp_path / heir
        path.write_text(
            '_base_: attack.yaml' if heir[-1] == 'l' else '_base_ = "attack.yaml"'
        )
    with pytest.raises(ValueError, match=r'attack\.yaml is not readable: .*os\.mkdir'):
        load_config(path)
    # text that becomes a tag once mmengine has filled in a template
    attack.write_text(
        f"a: ['{{{{$A:x''}}}}, !!python/object/apply:os.mkdir [\"{victim}\"], '']\n"
    )
    with pytest.raises(ValueError, match=r'attack\.yaml: templates'):
        load_config(path)
    assert not victim.exists()


def test_bases_by_expression_and_by_template(tmp_path):
    path = tmp_path / 'leaf.py'
    (tmp_path / 'b.py').write_text(f"_base_ = '{BASE}'\n")
    for base in (f"'{BASE.parent}/' + '{BASE.name}'", "['{{fileDirname}}/b.py']"):
        path.write_text(f'_base_ = {base}\nmodel = dict(numclasses=3)\n')
        with pytest.raises(ValueError, match=r'model\.numclasses: .*leaf\.py\)'):
            load_config(path)
        path.write_text(f'_base_ = {base}\nmodel = dict(num_classes=3)\n')
        assert load_config(path).model.num_classes == 3
    (tmp_path / 'b.py').write_text("resume = True\nmodel = dict(type='EncoderDecoder')")
    assert load_config(path).resume  # read anew, since a base has changed


@pytest.mark.parametrize(
    'settings',
    [
        {'custom_hooks': [{'type': 'os.mkdir', 'path': 'HACKED'}]},
        {'model': {'backbone': {'type': 'os.mkdir', 'path': 'HACKED'}}},
        {'custom_hooks': [{'type': 'EMAHook', 'ema_type': 'os.mkdir'}]},
        {'optim_wrapper': {'constructor': 'os.mkdir'}},
        {'custom_imports': {'imports': ['antigravity']}},
    ],
)
@pytest.mark.parametrize('suffix', ['.yaml', '.json'])
def test_data_names_nothing_that_would_be_imported(tmp_path, settings, suffix):
    """mmengine would import a type with dots and call it: here os.mkdir."""
    hacked = tmp_path / 'hacked'
    text = json.dumps(settings).replace('HACKED', str(hacked))
    base, heir = tmp_path / f'config{suffix}', tmp_path / f'heir{suffix}'
    base.write_text(text)
    heir.write_text(json.dumps({'_base_': base.name}))
    for file in (base, heir):
        with pytest.raises(ValueError, match=rf'config{suffix}: .* is only data'):
            load_config(file)
    assert not hacked.exists() and 'antigravity' not in sys.modules


def test_a_misspelt_name_of_a_folder_or_config_is_named(tmp_path):
    (tmp_path / 'photos').mkdir()
    with pytest.raises(FileNotFoundError, match=r'no folder; did you mean photos\?'):
        read_config(tmp_path / 'phtos')
    with pytest.raises(FileNotFoundError, match=r'did you mean fast_scnn_camvid\.py\?'):
        read_config(tmp_path / 'fastscnn_camvid.py')
