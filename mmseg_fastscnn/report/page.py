"""What all pages share: the head with its style, escaped text, embedded pictures.

A page is one file that loads nothing. Names of files and classes come from strangers
and may hold HTML: all text is escaped, and the page forbids the browser to load
anything and to run anything but its own script.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from mmseg_fastscnn.results import check_may_write
from mmseg_fastscnn.writing import write_file

HEAD = """<!doctype html>
<!-- {mark} -->
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'{scripts}">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --back: #fff; --text: #1c2024; --soft: #667;
 --line: #d8dce2; --box: #f5f6f8; --bad: #b00020;
 --c0: #1f6fd0; --c1: #d05a00; --c2: #1a8a4a; --c3: #9a3fb5; --c4: #b8860b;
 --c5: #00838f }}
@media (prefers-color-scheme: dark) {{ :root {{ --back: #14171b; --text: #e4e7eb;
 --soft: #9aa3ad; --line: #363c44; --box: #1e2329; --bad: #ff7a85;
 --c0: #6cabff; --c1: #ff9d4d; --c2: #5ecf8f; --c3: #d58ff0; --c4: #e5c04b;
 --c5: #4dd0e1 }} }}
* {{ box-sizing: border-box }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 66em; margin: 1.5em auto;
 padding: 0 1em; background: var(--back); color: var(--text) }}
h1 {{ font-size: 1.5em; overflow-wrap: anywhere }} h2 {{ margin-top: 2em }}
li {{ margin-bottom: .4em; overflow-wrap: anywhere }}
ul.findings li {{ margin-bottom: 1em }}
.stops b {{ color: var(--bad) }}
.soft, figcaption {{ color: var(--soft) }}
a {{ color: var(--c0) }}
img {{ max-width: 100%; display: block }}
figure {{ margin: .5em 0 }} figcaption {{ font-size: .87em; overflow-wrap: anywhere }}
pre {{ overflow-x: auto; background: var(--box); padding: .6em; border-radius: 4px }}
.scroll {{ overflow-x: auto }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
th, td {{ padding: .15em .6em; text-align: right; white-space: nowrap;
 border-bottom: 1px solid var(--line) }}
th:first-child, td:first-child {{ text-align: left }}
td.words {{ text-align: left; white-space: normal; overflow-wrap: anywhere }}
.grid {{ display: grid; gap: .6em 1em;
 grid-template-columns: repeat(auto-fill, minmax(min(100%, 19em), 1fr)) }}
.small {{ grid-template-columns: repeat(auto-fill, minmax(9.5em, 1fr)) }}
.row {{ display: grid; gap: .4em; margin-bottom: .8em;
 grid-template-columns: repeat(auto-fit, minmax(min(45%, 14em), 1fr)) }}
.row figure {{ margin: 0 }}
.tiles {{ display: flex; flex-wrap: wrap; gap: .6em }}
.tiles div {{ background: var(--box); border-radius: 6px; padding: .5em .9em }}
.tiles b {{ display: block; font-size: 1.35em }}
.legend {{ line-height: 1.9 }} .legend span {{ white-space: nowrap; margin-right: 1em }}
.legend i {{ display: inline-block; width: 1em; height: 1em; margin-right: .3em;
 vertical-align: -.1em; border: 1px solid var(--line) }}
.hatch {{ background: repeating-linear-gradient(45deg, #fff 0 2px, #777 2px 4px) }}
svg {{ width: 100%; height: auto; display: block; overflow: visible }}
svg text {{ fill: var(--soft); font: 11px system-ui, sans-serif }}
svg .axis {{ stroke: var(--line) }}
.chart {{ position: relative }}
.tip {{ position: absolute; top: 0; pointer-events: none; background: var(--box);
 border: 1px solid var(--line); border-radius: 4px; padding: .2em .5em;
 font-size: .82em; white-space: pre }}
.matrix td, .matrix th {{ padding: .1em .3em; font-size: .78em; text-align: right }}
.matrix thead th {{ writing-mode: vertical-rl; transform: rotate(180deg);
 text-align: left }}
.small svg text {{ font-size: 22px }}
</style>
"""


def head(title: str, mark: str, script: str = '') -> str:
    """Return the beginning of a page.

    Args:
        title: Its title.
        mark: Words near its beginning that tell it from other files.
        script: The only script that the page may run.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    scripts = f"; script-src 'sha256-{digest}'" if script else ''
    return HEAD.format(title=text(title), mark=mark, scripts=scripts)


def write_page(path: str | Path, parts: Iterable[str]) -> None:
    """Write a page.

    Raises:
        ValueError: The file exists and is not ours.
    """
    check_may_write(Path(path))
    # names that are not UTF-8 hold half characters, which are written as \\udcff
    write_file(path, '\n'.join(parts).encode('utf-8', 'backslashreplace'))


def printable(text: str) -> str:
    """Write out what would steer a terminal or end a line, as file names may hold."""
    return ''.join(
        char if char.isprintable() else char.encode('unicode_escape').decode()
        for char in text
    )


def text(words: object) -> str:
    """Return words as HTML that shows them, whatever they hold."""
    return escape(printable(str(words)))


def jpeg(picture: np.ndarray) -> str:
    """Return a picture, (H, W, 3) uint8 BGR, as an image that stands in the page."""
    content = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, 82])[1]
    data = base64.b64encode(content.tobytes()).decode()
    return f'<img alt="" src="data:image/jpeg;base64,{data}">'


def figure(shown: str, caption: str) -> str:
    """Return HTML with a caption, which is text."""
    return f'<figure>{shown}<figcaption>{text(caption)}</figcaption></figure>'


def legend(metainfo: Mapping) -> str:
    """Return the names of the classes, each beside its colour, and the stripes."""
    pairs = zip(metainfo['classes'], metainfo['palette'], strict=True)
    entries = [
        f'<span><i style="background: rgb({r},{g},{b})"></i>{text(name)}</span> '
        for name, (r, g, b) in pairs
    ]
    entries.append('<span><i class="hatch"></i>not labelled</span>')
    return f'<p class="legend">{"".join(entries)}</p>'


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table whose cells are text; None is an empty cell."""
    header = ''.join(f'<th>{text(column)}</th>' for column in columns)
    lines = [f'<div class="scroll"><table><thead><tr>{header}</tr></thead><tbody>']
    for row in rows:
        cells = ''.join(f'<td>{"" if v is None else text(v)}</td>' for v in row)
        lines.append(f'<tr>{cells}</tr>')
    return '\n'.join([*lines, '</tbody></table></div>'])


def facts_table(facts: Mapping[str, object]) -> str:
    """Return a table of names and values, whose values may be long."""
    rows = ''.join(
        f'<tr><td>{text(name)}</td><td class="words">{text(value)}</td></tr>'
        for name, value in facts.items()
        if value not in (None, '')
    )
    return f'<div class="scroll"><table>{rows}</table></div>'
