"""Predicting images, folders, videos and cameras: what is read, written and said."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import CPU, ROOT
from test_deploy import checkpoint, config, frames_of  # noqa: F401, fixtures

from mmseg_fastscnn.commands import run
from mmseg_fastscnn.deploy import frames, video_file
from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.sources import find_sources
from mmseg_fastscnn.deploy.stages import newest
from mmseg_fastscnn.deploy.video import Flicker, FrameRate, Smoothing

RATE = 30000 / 1001


@pytest.fixture
def predict(checkpoint, config, capsys, monkeypatch):  # noqa: F811
    """Run the command in this process; return its exit status and what it printed."""
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')

    def call(*words: object) -> tuple[int, str]:
        capsys.readouterr()
        status = 0
        try:
            run('predict', [str(word) for word in (checkpoint, config, *words)])
        except SystemExit as ended:
            status = ended.code
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return call


@pytest.fixture
def predictor(checkpoint, config):  # noqa: F811
    return Predictor(checkpoint, config, device='cpu')


def write_video(path: Path, images: list[np.ndarray], rate: float = RATE) -> None:
    codec = 'MJPG' if path.suffix == '.avi' else 'mp4v'
    size = images[0].shape[1::-1]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, size)
    for image in images:
        writer.write(image)
    writer.release()


def read_video(path: Path) -> tuple[list[np.ndarray], float]:
    """Return the frames of a video and its rate."""
    capture, images = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        images.append(read[1])
    return images, capture.get(cv2.CAP_PROP_FPS)


def moving(count: int, size=(96, 160)) -> list[np.ndarray]:
    (image,) = frames_of([size])
    return [np.roll(image, 5 * k, axis=1) for k in range(count)]


def files_below(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file()}


def test_a_folder_gives_the_same_tree(predict, predictor, tmp_path):
    """Twice, into the folder itself: results are no inputs, and inputs stay."""
    image, *others = moving(9)
    (tmp_path / 'a/.hidden').mkdir(parents=True)
    for name in ('a/street.1.png', 'same.png', 'same.bmp', 'a/.hidden/draft.png'):
        cv2.imwrite(str(tmp_path / name), image)
    cv2.imwrite(str(tmp_path / 'small.png'), image[:20])
    (tmp_path / 'broken.png').write_bytes(b'no image')
    (tmp_path / 'notes.txt').write_text('of the user')
    write_video(tmp_path / 'drive.mp4', [image, *others[:3]])
    write_video(tmp_path / 'cut.avi', [image, *others])
    whole = (tmp_path / 'cut.avi').read_bytes()
    (tmp_path / 'cut.avi').write_bytes(whole[: len(whole) * 5 // 8])
    inputs = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
    words = (
        tmp_path,
        '--out',
        tmp_path,
        '--save',
        'overlay',
        'labels',
        'probabilities',
    )
    for turn in range(2):
        status, said = predict(*words)
        assert status == 1
        for line in [
            r'broken\.png cannot be read as an image.*skipped',
            r'small\.png is skipped\. The frame is 160x20 .* at least 33',
            r'cut\.avi: frames \d to 8 are damaged or missing',
            r'Skipped: 3, named above',
            r'drive\.mp4: \d+\.\d\d % of pixels change',
            r'network +\d+\.\d ms per frame',
            r'labels +\d+\.\d ms per frame',
        ]:
            assert re.search(line, said), said
        left_out = re.search(r'results of this program are left out', said)
        assert bool(left_out) == bool(turn)
        assert all(p.read_bytes() == content for p, content in inputs.items())
    made = files_below(tmp_path) - {str(p.relative_to(tmp_path)) for p in inputs}
    images = {'a/street.1', 'same.png', 'same.bmp'}
    cut = len([name for name in made if 'labels/cut/' in name])
    numbered = [f'drive/{k:06}' for k in range(4)] + [f'cut/{k:06}' for k in range(cut)]
    assert 0 < cut < 9
    assert made == {
        *(f'overlay/{name}.png' for name in images),
        *(f'labels/{name}.png' for name in (*images, *numbered)),
        *(f'probabilities/{name}.npy' for name in (*images, *numbered)),
        *('overlay/drive.mp4', 'overlay/cut.mp4', 'legend.png'),
    }
    labels = cv2.imread(str(tmp_path / 'labels/a/street.1.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(labels, predictor(image))
    scores = np.load(tmp_path / 'probabilities/same.bmp.npy')
    assert scores.shape == (19, 96, 160) and np.abs(scores.sum(0) - 1).max() < 0.01
    assert (scores.argmax(0) == labels).mean() > 0.99
    decoded = read_video(tmp_path / 'drive.mp4')[0]
    streamed = list(predictor.stream(tmp_path / 'drive.mp4', every=3))
    assert [one.frame.number for one in streamed] == [0, 3]
    for one in streamed:
        path = tmp_path / f'labels/drive/{one.frame.number:06}.png'
        np.testing.assert_array_equal(one.labels, cv2.imread(str(path), -1))
        np.testing.assert_array_equal(one.labels, predictor(decoded[one.frame.number]))


@pytest.mark.parametrize('size', [(96, 160), (97, 131)])
def test_a_video_in_gives_h264_of_its_size_and_rate(predict, tmp_path, size):
    av = pytest.importorskip('av')
    source = video_file.VideoFile(tmp_path / 'in.mp4', size, RATE)
    for number, image in enumerate(moving(6, size)):
        source.write(image, number)
    source.close()
    status, said = predict(tmp_path / 'in.mp4', '--out', tmp_path, '--every', 2)
    assert status == 0 and 'in.mp4: H.264, without sound' in said, said
    images, _ = read_video(tmp_path / 'overlay/in.mp4')
    assert len(images) == 3 and images[0].shape == (*size, 3)
    with av.open(str(tmp_path / 'overlay/in.mp4')) as container:
        (stream,) = container.streams
        assert stream.codec_context.name == 'h264'
        assert float(stream.average_rate) == pytest.approx(RATE / 2, 1e-6)


def test_without_pyav_opencv_writes_what_it_can(predict, tmp_path, monkeypatch):
    monkeypatch.setattr(video_file, 'has_h264', lambda: False)
    write_video(tmp_path / 'in.avi', moving(5))
    status, said = predict(tmp_path / 'in.avi', '--out', tmp_path, '--every', 2)
    assert status == 0 and 'in.mp4: MPEG-4, without sound' in said, said
    assert 'pip install av' in said
    images, rate = read_video(tmp_path / 'overlay/in.mp4')
    assert len(images) == 3 and images[0].shape == (96, 160, 3)
    assert rate == pytest.approx(RATE / 2, 1e-4)


def test_sigterm_leaves_a_playable_video(checkpoint, config, tmp_path):  # noqa: F811
    write_video(tmp_path / 'drive.avi', moving(20, (64, 64)) * 100)
    words = ['tools/predict.py', checkpoint, config, tmp_path / 'drive.avi']
    process = subprocess.Popen(
        [sys.executable, *map(str, words), '--out', str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **CPU},
    )
    wait_for_draft(tmp_path / 'overlay')
    process.terminate()
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + signal.SIGTERM, said
    check_stopped(tmp_path / 'overlay', said)


def test_ctrl_c_leaves_a_playable_video(predict, tmp_path):
    write_video(tmp_path / 'drive.avi', moving(20, (64, 64)) * 100)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # see `ctrl_c`

    def press() -> None:
        wait_for_draft(tmp_path / 'overlay')
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    status, said = predict(tmp_path / 'drive.avi', '--out', tmp_path)
    thread.join()
    signal.signal(signal.SIGINT, before)
    assert status == 128 + signal.SIGINT, said
    check_stopped(tmp_path / 'overlay', said)


def wait_for_draft(folder: Path) -> None:
    """Wait until a video is being written."""
    until = time.monotonic() + 120
    while not list(folder.glob('.drive.*')) and time.monotonic() < until:
        time.sleep(0.01)


def check_stopped(folder: Path, said: str) -> None:
    """Check what a run that got a signal has left and said."""
    assert 'Stopped by a signal' in said and 'Traceback' not in said
    assert os.listdir(folder) == ['drive.mp4']
    images, _ = read_video(folder / 'drive.mp4')
    assert 0 < len(images) < 2000
    assert re.search(rf'^{len(images)} frames in', said, re.MULTILINE), said


def test_what_cannot_be_predicted_is_one_message(predict, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (image,) = moving(1)
    cv2.imwrite(str(tmp_path / 'street.png'), image)
    (tmp_path / 'no.jpg').write_bytes(b'no image')
    write_video(tmp_path / 'whole.mp4', [image] * 9)
    content = (tmp_path / 'whole.mp4').read_bytes()
    (tmp_path / 'cut.mp4').write_bytes(content[: len(content) // 2])
    (tmp_path / 'foreign/overlay').mkdir(parents=True)
    (tmp_path / 'foreign/overlay/street.png').write_bytes(b'years of work')
    ours = tmp_path / 'out/overlay/street.png'
    status, said = predict(tmp_path / 'street.png', '--out', tmp_path / 'out')
    assert status == 0 and ours.exists()
    status, said = predict('no.jpg', 'cut.mp4', 7)  # each is told
    assert status == 2 and 'Skipped: 3' in said and 'Nothing was predicted' in said
    assert 'no.jpg cannot be read as an image' in said
    assert 'lacks its codec: convert it' in said
    assert 'Camera 7 cannot be opened: there is none' in said
    for words, message in [
        (['none.png'], 'does not exist'),
        (['*.gif'], 'no file matches'),
        (['other.py'], 'does not exist'),
        (['foreign/overlay/notes.txt'], 'does not exist'),
        (['street.png', '--out', 'foreign'], 'is not a result of this program'),
        (['out/overlay/street.png', '--out', 'out'], 'over the input'),
        (['street.png', '--size', '20', '64'], 'at least 33'),
        (['street.png', '--size', *['1000000'] * 2], 'memory (OpenCV'),
        (['street.png', '--keep-rate', 'nan'], 'it must be above 0'),
        (['street.png', '--smooth', '1'], 'from 0 to under 1'),
    ]:
        status, said = predict(*words)
        assert status == 2 and message in said, said
    assert (tmp_path / 'foreign/overlay/street.png').read_bytes() == b'years of work'


def test_an_address_that_does_not_answer(predict, monkeypatch):
    """A server that accepts a connection, and says nothing."""
    monkeypatch.setattr(frames, 'SECONDS', 1)
    with socket.create_server(('127.0.0.1', 0)) as server:
        address = f'rtsp://127.0.0.1:{server.getsockname()[1]}/street'
        status, said = predict(address)
    assert status == 2
    assert f'{address} does not answer within 1 s' in said


def test_names_of_results(tmp_path, monkeypatch):
    for name in ('day/a/0.png', 'day/1.png', 'night/a/0.png', 'night/0.mp4'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')
    monkeypatch.chdir(tmp_path)

    def names(*words) -> list[str]:
        return [str(s.name) for s in find_sources(words, pytest.fail)]

    assert names('day') == ['1', 'a/0']
    assert names('day/1.png', 'night/0.mp4', 'day/1.png') == ['1', '0']
    assert names('*/a/*.png') == ['day/a/0', 'night/a/0']
    assert names('**/0.*') == ['day/a/0', 'night/0', 'night/a/0']
    assert names('*/a') == ['day/a/0', 'night/a/0']
    assert names('day', 'night') == ['1', 'day/a/0', '0', 'night/a/0']
    assert names(0, 'rtsp://me:secret@host:8554/a/b') == ['camera_0', 'host_8554_a_b']
    (tmp_path / 'list').write_text('day/1.png\n\nnight\n')
    with open(tmp_path / 'list') as file:
        monkeypatch.setattr(sys, 'stdin', file)
        assert names('-') == ['1', '0', 'a/0']


def test_a_live_source_gives_its_newest_frame():
    """While the first frame is used, six more come."""
    in_use, all_came = threading.Event(), threading.Event()

    def camera():
        yield 0
        in_use.wait()
        yield from range(1, 7)
        all_came.set()

    live = newest(camera())
    assert next(live) == (0, 0)
    in_use.set()
    all_came.wait()
    assert list(live) == [(6, 5)]


class Camera:
    """OpenCV's capture of a camera that gives five frames and is then unplugged."""

    def __init__(self, *args):
        assert args == (0,)
        self.count = 0

    def isOpened(self) -> bool:
        return True

    def get(self, key: int) -> float:
        return 10.0 if key == cv2.CAP_PROP_FPS else -1.0

    def grab(self) -> bool:
        self.count += 1
        return self.count <= 5

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.full((40, 60, 3), self.count, np.uint8)

    def release(self) -> None:
        self.count = None


def test_a_camera(predictor, monkeypatch):
    monkeypatch.setattr(cv2, 'VideoCapture', Camera)
    problems = []
    taken = [one.frame for one in predictor.stream(0, problem=problems.append)]
    assert sum(1 + frame.skipped for frame in taken) == 5
    assert taken[-1].image[0, 0, 0] == 5 and taken[-1].name == Path('camera_0')
    assert problems == ['0 gives no more frames after 5.']


def test_smoothing_calms_labels(predictor, tmp_path):
    keep, random = 0.8, np.random.default_rng(0)
    values = random.standard_normal((6, 3, 2, 2)).astype(np.float32)
    smoothing, weights = Smoothing(keep), [1.0]
    for k, value in enumerate(values):
        found = smoothing(value)
        if k:
            weights = [keep * w for w in weights] + [1 - keep]
        expected = np.tensordot(weights, values[: k + 1], 1)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    (image,) = frames_of([(64, 96)])
    noise = random.normal(0, 25, (8, *image.shape))
    noisy = [(image + n).clip(0, 255).astype(np.uint8) for n in noise]
    write_video(tmp_path / 'noisy.avi', noisy)
    shares = []
    for smooth in (0, keep):
        flicker = Flicker()
        for one in predictor.stream(tmp_path / 'noisy.avi', smooth=smooth):
            flicker.see(one.frame.source, one.labels)
        shares += flicker.means().values()
    assert 0 < shares[1] < shares[0] / 2
    flicker = Flicker()
    for source, label in [('a', 0), ('a', 1), ('b', 0), ('b', 0)]:
        flicker.see(source, np.full((2, 2), label, np.uint8))
    assert flicker.means() == dict(a=1.0, b=0.0)


def test_the_resolution_keeps_a_frame_rate(predictor, tmp_path):
    budget = FrameRate(10, (720, 1280))

    def after(seconds):
        budget.adapt(seconds)
        return budget.size

    assert after(0.09) == (720, 1280)
    assert after(0.2) == (640, 1152)
    sizes = [after(0.2) for _ in range(20)]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] == (160, 320)
    assert after(0.08) == sizes[-1]  # near the budget it stays
    sizes = [after(0.01) for _ in range(20)]
    assert sizes == sorted(sizes) and sizes[-1] == (720, 1280)
    write_video(tmp_path / 'drive.avi', moving(4, (192, 320)))
    found = list(predictor.stream(tmp_path / 'drive.avi', rate=1e6))
    assert found[-1].result.shape[1:] < found[0].result.shape[1:] == (24, 40)
    assert predictor.size is None
    budget = FrameRate(1e6, (192, 320))  # which no frame keeps
    for one in found:
        expected = predictor.run(one.image, budget.size)
        labels = predictor.labels(expected, (192, 320), budget.size)
        np.testing.assert_array_equal(one.labels, labels)
        after(1)
