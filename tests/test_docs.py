"""README and docs/: their commands, Python blocks, links and quoted messages hold."""

import re
import shlex
import shutil
from argparse import ArgumentParser

import cv2
import pytest
from conftest import ROOT

from mmseg_fastscnn import apis
from mmseg_fastscnn.commands import VERBS, command
from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.datasets.toy_streets import draw_scene

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
COMMAND = re.compile(r'^(?:fastscnn (\w+)|python tools/(\w+)\.py) ?(.*)$', re.MULTILINE)
IN_TEXT = re.compile(r'`(?:fastscnn ([a-z_]+)|tools/(\w+)\.py) ([^`]+)`')
LINK = re.compile(r'\[[^]]*\]\((?!\w+:)([^)#\s]+)')


def blocks(language: str) -> list[tuple[str, str]]:
    """Return the blocks of a language, each after the name of its page."""
    pattern = re.compile(rf'^```{language}\n(.*?)^```', re.DOTALL | re.MULTILINE)
    return [
        (page.name, block)
        for page in PAGES
        for block in pattern.findall(page.read_text(encoding='utf-8'))
    ]


def test_every_command_is_one_that_its_parser_takes(monkeypatch):
    monkeypatch.setenv('DISPLAY', ':0')  # predict --show asks for one
    found = []
    for page, block in blocks('bash'):
        found += [
            (page, *words) for words in COMMAND.findall(block.replace('\\\n', ' '))
        ]
    for page in PAGES:
        found += [(page.name, *words) for words in IN_TEXT.findall(page.read_text())]
    assert len(found) > 40
    for page, verb, tool, words in found:
        verb = verb or dict(check_dataset='check').get(tool, tool)
        assert verb in VERBS, (page, verb)
        words = shlex.split(words, comments=True)
        try:
            command(verb).parse_args(ArgumentParser(), words)
        except SystemExit:
            pytest.fail(f'{page}: {verb} does not take {words}')


def test_every_python_block_runs(trained, tmp_path, monkeypatch):
    """With the files that the pages name: a checkpoint, a picture, a video, an ONNX."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'work_dirs/camvid').mkdir(parents=True)
    best = tmp_path / 'work_dirs/camvid/best_mIoU_iter_4000.pth'
    shutil.copy(trained[0] / 'iter_4.pth', best)
    cv2.imwrite('street.jpg', draw_scene(0, (64, 128))[0])
    write_video(tmp_path / 'drive.mp4')
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    found = blocks('python')
    assert len(found) >= 3
    for page, block in found:
        if 'street.onnx' in block:
            pytest.importorskip('onnxscript')
            write_onnx(best)
        if '_base_ = ' in block:
            config = tmp_path / re.match('# (.+)', block)[1]
            config.write_text(block)
            load_config(config)
        exec(compile(block, page, 'exec'), {})
    assert (tmp_path / 'shown.png').exists()


def write_video(path) -> None:
    """Write a video of three frames of 64x128."""
    kind = cv2.VideoWriter.fourcc(*'mp4v')
    video = cv2.VideoWriter(str(path), kind, 5, (128, 64))
    for k in range(3):
        video.write(draw_scene(k, (64, 128))[0])
    video.release()


def write_onnx(checkpoint) -> None:
    from mmseg_fastscnn.apis import init_model
    from mmseg_fastscnn.deploy.export import export
    from mmseg_fastscnn.deploy.torch_runtime import describe

    model = init_model(checkpoint, device='cpu')
    export(model, 'street.onnx', describe(model, 'labels', 'fp32', (64, 128)))


def test_what_stands_in_for_mmsegmentations_tools_exists():
    text = (ROOT / 'docs/from_mmsegmentation.md').read_text()
    verbs = set(re.findall(r'`fastscnn ([a-z_]+)', text))
    assert verbs <= set(VERBS) and len(verbs) >= 10
    for name in re.findall(r'`(\w+)`', text.split('`MMSegInferencer`')[1]):
        assert hasattr(apis, name), name
    for name in re.findall(r'`(\w+\.(?:py|sh))`', text.split('| `tools/train.py`')[1]):
        assert (ROOT / 'tools' / name).exists(), name


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in LINK.findall(page.read_text(encoding='utf-8')):
        assert (page.parent / target).exists(), target


def test_messages_are_those_of_the_code():
    code = ''.join(p.read_text() for p in (ROOT / 'mmseg_fastscnn').rglob('*.py'))
    rows = re.findall(r'^\| `(.+?)` \|', (ROOT / 'docs/errors.md').read_text(), re.M)
    assert len(rows) > 15
    assert [row for row in rows if row not in code] == []
