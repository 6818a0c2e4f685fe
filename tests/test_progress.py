"""What the terminal shows while a run works."""

import io
import re
import time

from mmseg_fastscnn.engine.log import progress
from mmseg_fastscnn.engine.log.progress import Heartbeat, Terminal, fitting, hours


def test_lines_are_short_and_the_log_keeps_all(trained):
    work_dir, printed = trained
    lines = [line for line in printed.splitlines() if line.startswith('Iter(')]
    shown = r'\d:\d\d:\d\d  loss: \d+\.\d{4}  [\d.]+ img/s  wait \d+ %$'
    assert len(lines) == 5 and all(len(line) <= 100 for line in lines)
    assert re.search(r'^Iter\(train\) \[4/4\]  eta: ' + shown, lines[3])
    assert re.search(r'^Iter\(val\) \[5/5\]  mIoU: \d+\.\d{4}  mAcc: ', lines[4])
    (log,) = work_dir.glob('*/*.log')
    text = log.read_text()
    assert len(re.findall(r'Iter\(train\) \[\d/4\].*aux_1\.acc_seg: ', text)) == 4


def test_a_line_takes_what_fits():
    parts = ['Iter(train) [ 16000/160000]', f'eta: {hours(123 * 3600 + 62)}']
    assert fitting([*parts, 'x' * 99]) == 'Iter(train) [ 16000/160000]  eta: 123:01:02'
    many = fitting([*parts, 'loss: 12.1234', 'mIoU: 53.5', 'best 54.0', 'wait 5 %' * 9])
    assert many.endswith('best 54.0') and len(many) <= 100


def test_silence_is_broken(monkeypatch):
    monkeypatch.setattr(progress, 'QUIET', 0.05)
    said = []
    heartbeat = Heartbeat(lambda: said.append(time.monotonic()))
    began = time.monotonic()
    while len(said) < 2 and time.monotonic() < began + 20:
        time.sleep(0.01)
    heartbeat.ended.set()
    assert len(said) >= 2 and said[1] - said[0] >= 0.05


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_bar_below_the_lines():
    screen = Screen()
    terminal = Terminal(screen)
    terminal.say('loading the first batch')
    terminal.bar.refresh()
    terminal.show('Iter(train) [3/8]  loss: 1.5', completed=3, total=8)
    terminal.write('12:00:00 [a line] of the log\n')
    terminal.close()
    text = screen.getvalue()
    assert '[a line] of the log' in text and 'loss: 1.5' in text
    assert (
        'Starting' in text and 'loading the first batch' in text
    )  # never an empty bar
    plain = io.StringIO()
    terminal = Terminal(plain)
    terminal.say('loading the first batch')
    terminal.show('Iter(train) [3/8]  loss: 1.5', completed=3, total=8)
    assert plain.getvalue() == (
        'Working: loading the first batch\nIter(train) [3/8]  loss: 1.5\n'
    )
