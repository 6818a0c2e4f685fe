"""Hooks of mkdocs: pages that lie outside of docs/, and the links between all pages."""

import os
import re
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = {  # file of the project: page of the site
    'README.md': 'index.md',
    'SECURITY.md': 'security.md',
    'CHANGELOG.md': 'changelog.md',
    'benchmarks/README.md': 'benchmarks.md',
    'configs/fastscnn/README.md': 'results.md',
}
LINK = re.compile(r'(!?)\[([^]]*)\]\((?!\w+:)([^)#\s]*)(#[^)]*)?\)')


def on_files(files: Files, config) -> Files:
    """Add the pages that lie outside of docs/."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding='utf-8')
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page, config, files: Files) -> str:
    """Let links lead to pages of the site; show other files of the project by name.

    Raises:
        FileNotFoundError: A link leads to no file of the project.
    """
    sources = {target: source for source, target in PAGES.items()}
    source = sources.get(page.file.src_uri, f'docs/{page.file.src_uri}')

    def link(match: re.Match) -> str:
        mark, text, target, place = match.groups(default='')
        if not target:
            return match[0]
        path = Path(os.path.normpath(ROOT / Path(source).parent / target))
        if not path.exists():
            raise FileNotFoundError(
                f'{source} links to {target}, which does not exist.'
            )
        name = path.relative_to(ROOT).as_posix()
        page_name = PAGES.get(name, name.removeprefix('docs/'))
        if page_name in (file.src_uri for file in files):
            return f'{mark}[{text}]({page_name}{place})'
        return f'{text} (`{name}`)'

    return LINK.sub(link, markdown)
