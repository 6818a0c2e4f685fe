"""The demo in a browser and over HTTP: what users see is what `predict` writes."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import MagicMock
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import cv2
import numpy as np
import pytest
import torch
from conftest import CPU, ROOT, free_port
from exported import frame_of, write_checkpoint, write_config
from forked import execute, forks
from test_predict import read_video

from mmseg_fastscnn.commands import run as run_verb
from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.demo import check_header
from mmseg_fastscnn.deploy.video_file import VideoFile
from mmseg_fastscnn.pictures import overlay
from mmseg_fastscnn.results import png_chunk

SIZE = (64, 96)
REFUSED = 'it was not uploaded by a user'  # gradio's words
PIXELS = """async image => {
  while (!image.complete) await new Promise(later => setTimeout(later, 20));
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  canvas.getContext('2d').drawImage(image, 0, 0);
  return canvas.toDataURL('image/png').split(',')[1];
}"""


class Server:
    """The demo as a process, with two models, of which the second has other answers."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        self.address = f'http://127.0.0.1:{self.port}'
        self.temporary = folder / 'temporary'
        self.temporary.mkdir()
        self.config = write_config(folder / 'shallow.py')
        self.files = [write_checkpoint(folder / 'first.pth', self.config)]
        self.files.append(rolled(self.files[0], folder / 'second.pth'))
        self.images = [folder / f'street {k}.png' for k in range(8)]
        for k, path in enumerate(self.images):
            cv2.imwrite(str(path), np.roll(frame_of(SIZE), 9 * k, axis=1))
        self.output = folder / 'output.txt'
        env = {**os.environ, **CPU, 'TMPDIR': str(self.temporary)}
        env['HTTP_PROXY'] = 'http://127.0.0.1:9'  # where nobody answers
        words = ['tools/demo.py', *self.files, self.config, '--port', self.port]
        words = list(map(str, words))
        given = (words, ROOT, env, str(self.output))
        self.process = forks().Process(target=execute, args=given, daemon=True)
        self.process.start()
        self.models = [Predictor(f, self.config, device='cpu') for f in self.files]

    @property
    def said(self) -> str:
        return self.output.read_text() if self.output.exists() else ''

    def wait(self) -> None:
        """Wait until it says its address."""
        until = time.monotonic() + 120
        while f'The demo is at {self.address}/' not in self.said:
            assert self.process.is_alive() and time.monotonic() < until, self.said
            time.sleep(0.05)
        assert list(self.temporary.glob('fastscnn_demo_*'))

    def overlays(self, image: np.ndarray, opacity: float) -> list[np.ndarray]:
        """Return what should be seen of an image, by each model."""
        return [overlay(image, m(image), m.palette, opacity) for m in self.models]


def rolled(file: Path, target: Path) -> Path:
    """Write a checkpoint whose every answer is the next class of another's."""
    content = torch.load(file)
    for name in ('weight', 'bias'):
        key = f'decode_head.conv_seg.{name}'
        content['state_dict'][key] = content['state_dict'][key].roll(1, 0)
    torch.save(content, target)
    return target


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    """The demo, which SIGTERM ends in good order after the last test."""
    if find_spec('gradio') is None:
        pytest.skip('gradio is not installed')
    server = Server(tmp_path_factory.mktemp('demo'))
    server.wait()
    yield server
    server.process.terminate()
    server.process.join(30)
    assert server.process.exitcode == 128 + signal.SIGTERM, server.said
    assert server.said.count('Traceback') == server.said.count(REFUSED), server.said
    assert not list(server.temporary.glob('fastscnn_demo_*'))


@pytest.fixture(scope='module')
def browser(server):
    api = pytest.importorskip('playwright.sync_api', reason='no playwright')
    chromium = shutil.which('chromium')
    if chromium is None:
        pytest.skip('there is no chromium on the PATH')
    camera = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream']
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=camera)
        yield browser
        browser.close()


@pytest.fixture
def page(server, browser):
    """The page on a phone in dark mode; it asks nobody but the server."""
    phone = dict(viewport=dict(width=390, height=844), is_mobile=True)
    context = browser.new_context(**phone, color_scheme='dark')
    context.set_default_timeout(120_000)  # ms, on a busy machine
    page, asked = context.new_page(), []
    page.on('request', lambda request: asked.append(request.url))
    page.goto(server.address)
    yield page
    own = (server.address, 'blob:', 'data:')
    assert asked and all(url.startswith(own) for url in asked)
    context.close()


def overlays_on(page) -> list[np.ndarray]:
    """Return the overlays that the page shows, (H, W, 3) uint8 BGR."""
    images, elements = [], page.locator('img[alt=Overlay]:visible')
    elements.nth(1).wait_for()
    for element in elements.all():
        content = base64.b64decode(element.evaluate(PIXELS))
        images.append(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR))
    return images


def shares_in(text: str) -> dict[str, float]:
    """Return the share of each class, in percent, of the first table on a page."""
    text = re.sub('<[^>]+>', '\t', text).partition('Stage')[0]
    return {n: float(s) for n, s in re.findall(r'([a-z ]+)\s+([\d.]+) %', text)}


def expected_shares(predictor: Predictor, images: list[np.ndarray]) -> dict[str, float]:
    labels = np.stack([predictor(image) for image in images])
    counts = np.bincount(labels.ravel(), minlength=len(predictor.classes))
    shares = zip(predictor.classes, 100 * counts / labels.size, strict=True)
    return {name: pytest.approx(share, abs=0.006) for name, share in shares if share}


def test_a_browser_shows_what_predict_writes(server, page, tmp_path):
    image = cv2.imread(str(server.images[0]))
    field = page.locator('input[type=file]').first
    field.set_input_files(server.images[0])
    tables = page.locator('.facts table:visible')  # classes, stages; of each model
    tables.nth(3).wait_for()
    for opacity in ('0.5', '0.85'):
        if opacity != '0.5':
            before = tables.nth(1).get_by_text('network').locator('..').inner_text()
            src = page.locator('img:visible').last.get_attribute('src')
            number = page.locator('input[type=number]')
            number.fill(opacity)
            number.press('Enter')
            page.locator(f'img:visible[src="{src}"]').wait_for(state='detached')
            after = tables.nth(1).get_by_text('network').locator('..').inner_text()
            assert before == after  # the network did not run again
        for file, found in zip(server.files, overlays_on(page), strict=True):
            out = tmp_path / opacity / file.stem
            words = (file, server.config, server.images[0], '--out', out)
            run_verb('predict', [str(w) for w in (*words, '--alpha', opacity)])
            written = cv2.imread(str(out / 'overlay/street 0.png'))
            np.testing.assert_array_equal(found, written)
    for one, model in zip(tables.all()[::2], server.models, strict=True):
        assert shares_in(one.inner_text()) == expected_shares(model, [image])
    assert page.evaluate('document.documentElement.scrollWidth') == 390
    colour = "getComputedStyle(document.querySelector('.gradio-container')).color"
    assert page.evaluate(colour) == 'rgb(244, 244, 245)'  # dark mode: light on dark
    broken = server.folder / '<b>broken.png'
    broken.write_bytes(b'no image')
    field.set_input_files(broken)
    message = '<b>broken.png cannot be read as an image: it is damaged, or no image.'
    page.get_by_text(message).wait_for()
    tables.first.wait_for(state='detached')


def test_a_webcam(page):
    number = page.locator('input[type=number]')
    number.fill('0')
    number.press('Enter')
    page.get_by_role('tab', name='Webcam').click()
    page.get_by_text('Click to Access Webcam').click()
    page.get_by_text('Record').click()
    tables = page.locator('.facts table:visible')
    tables.nth(3).wait_for()
    shares = shares_in(tables.first.inner_text())
    assert sum(shares.values()) == pytest.approx(100, abs=0.1)
    for frame in overlays_on(page):  # Chromium's test picture is green
        assert frame.shape == (480, 640, 3)
        blue, green, red = frame.mean((0, 1))
        assert green > 100 > 30 > max(blue, red)


def client_of(server, folder: Path):
    from gradio_client import Client

    options = dict(verbose=False, analytics_enabled=False)
    return Client(server.address, download_files=str(folder), **options)


def test_eight_users_at_once_get_their_own_images(server, tmp_path):
    from gradio_client import handle_file

    def use(k: int) -> tuple:
        given = handle_file(str(server.images[k]))
        return client_of(server, tmp_path / str(k)).predict(
            given, 0.3, api_name='/image'
        )

    with ThreadPoolExecutor(8) as users:
        answers = list(users.map(use, range(8)))
    for path, (first, facts, second, _) in zip(server.images, answers, strict=True):
        image = cv2.imread(str(path))
        expected = server.overlays(image, 0.3)
        np.testing.assert_array_equal(cv2.imread(first), expected[0])
        np.testing.assert_array_equal(cv2.imread(second), expected[1])
        assert shares_in(facts) == expected_shares(server.models[0], [image])


def test_a_video(server, tmp_path):
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    video, broken = tmp_path / 'drive.mp4', tmp_path / 'broken.mp4'
    writer = VideoFile(video, SIZE, 5)
    for k, path in enumerate(server.images):
        writer.write(cv2.imread(str(path)), k)
    writer.close()
    broken.write_bytes(video.read_bytes()[:500])
    client = client_of(server, tmp_path)
    answer = client.predict(handle_file(str(video)), 0.5, api_name='/video')
    frames, _ = read_video(video)
    for model, made, facts in zip(
        server.models, answer[::2], answer[1::2], strict=True
    ):
        assert shares_in(facts) == expected_shares(model, frames)
        seen, rate = read_video(made)
        assert rate == 5 and len(seen) == len(frames) == 8
        for found, frame in zip(seen, frames, strict=True):
            expected = overlay(frame, model(frame), model.palette, 0.5)
            assert np.abs(found.astype(int) - expected).mean() < 8  # H.264 is lossy
    with pytest.raises(AppError, match=r'broken\.mp4 cannot be opened as a video'):
        client.predict(handle_file(str(broken)), 0.5, api_name='/video')


def ask(url: str, content: bytes | None = None, kind: str = 'application/json'):
    """Return the status and the text of an answer."""
    request = Request(url.replace(' ', '%20'), content, {'Content-Type': kind})
    try:
        with urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def test_no_other_file_is_served_and_uploads_are_limited(server):
    api = f'{server.address}/gradio_api'
    for path in ('/etc/passwd', ROOT / 'setup.py', server.files[0], 'http://localhost'):
        assert ask(f'{api}/file={path}')[0] == 403
    given = dict(path=str(server.images[0]), meta={'_type': 'gradio.FileData'})
    event = ask(f'{api}/call/image', json.dumps(dict(data=[given, 0.5])).encode())[1]
    said = ask(f'{api}/call/image/{json.loads(event)["event_id"]}')[1]
    assert 'event: error' in said and 'street' not in said, said
    assert REFUSED in server.said
    form = b'--B\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    for size, expected in ((100 * 2**20, 200), (100 * 2**20 + 1, 413)):
        content = form + bytes(size) + b'\r\n--B--\r\n'
        status, _ = ask(f'{api}/upload', content, 'multipart/form-data; boundary=B')
        assert status == expected


def test_the_size_of_an_image_is_checked_before_it_is_decoded(tmp_path):
    head = struct.pack('>IIBBBBB', 8193, 4097, 8, 2, 0, 0, 0)
    start = b'\x89PNG\r\n\x1a\n' + png_chunk(b'IHDR', head)
    with pytest.raises(ValueError, match=r'a\.png is 8193x4097 .* 33,554,432 pixels'):
        check_header('a.png', start)
    with pytest.raises(ValueError, match=r'a\.png cannot be read as an image: it is'):
        check_header('a.png', start[:20])


def test_mistakes_in_the_command(tmp_path, capsys, monkeypatch):
    def said_by(*words: object) -> str:
        with pytest.raises(SystemExit) as ended:
            run_verb('demo', [str(word) for word in words])
        assert ended.value.code == 2
        return capsys.readouterr().err

    assert '3 models are given; give one or two.' in said_by('a.pth', 'b', 'c.onnx')
    assert '--port is 0; it must be from 1' in said_by('a.pth', '--port', 0)
    for name in ('demo_page', 'demo_server'):  # anew, and so that they are forgotten
        monkeypatch.setitem(sys.modules, f'mmseg_fastscnn.deploy.{name}', None)
        del sys.modules[f'mmseg_fastscnn.deploy.{name}']
    monkeypatch.setitem(sys.modules, 'gradio', None)  # as if not installed
    assert "pip install 'mmseg-fastscnn[demo]'" in said_by('a.pth')
    for name in ('gradio', 'gradio.data_classes'):  # which take seconds to import
        monkeypatch.setitem(sys.modules, name, MagicMock())
    assert 'a.pth does not exist' in said_by('a.pth', '--port', free_port())
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        said = said_by('a.pth', '--port', port)
    assert said.count('\n') == 1 and f'choose another one: --port {port + 1}' in said
    from mmseg_fastscnn.deploy.demo_server import refuse_others

    for place in (('127.0.0.1', 80), ('10.0.0.2', 80), '/a/socket'):
        refuse_others('10.0.0.2', 'socket.connect', (None, place))
    with pytest.raises(OSError, match=r'does not connect .* \(10\.0\.0\.3\)'):
        refuse_others('10.0.0.2', 'socket.connect', (None, ('10.0.0.3', 80)))
