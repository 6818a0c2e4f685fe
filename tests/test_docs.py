"""README and docs/: their words for commands, their links and quoted messages hold."""

import re
import shlex
from argparse import ArgumentParser

import pytest
from conftest import ROOT

from mmseg_fastscnn import apis
from mmseg_fastscnn.commands import VERBS, command

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
