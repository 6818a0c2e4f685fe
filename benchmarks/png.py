"""Time decoders of PNG on one core, and decoding only the rows that a crop needs.

    pip install pyspng imagecodecs zlib-ng isal deflate
    python benchmarks/png.py [FILE ...]    # or a generated street, and blurred noise

A decoder that is not installed is left out, with a line.
"""

import importlib
import io
import struct
import sys
import tempfile
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

CROP, HEIGHTS = 512, (512, 2048)  # of the Cityscapes pipeline: after resizing
SIZE = (1024, 2048)
FORMS = {  # the package, and what decodes by it, to BGR where it gives pixels
    'OpenCV': ('cv2', lambda _, data: by_opencv(data)),
    'Pillow': ('PIL', lambda _, data: by_pillow(data)),
    'its first 3/4 of the rows': ('PIL', lambda _, data: by_pillow(data, 3 / 4)),
    'pyspng': ('pyspng', lambda p, data: as_bgr(p.load(data))),
    'imagecodecs': ('imagecodecs', lambda p, data: as_bgr(p.spng_decode(data))),
    'ISA-L, then OpenCV': ('isal.isal_zlib', lambda p, data: inflated_by(p, data)),
    'the same, 3/4 of the rows': (
        'isal.isal_zlib',
        lambda p, data: inflated_by(p, data, 3 / 4),
    ),
    'inflating alone: zlib': ('zlib', lambda p, data: p.decompress(idat(data))),
    'zlib-ng': ('zlib_ng.zlib_ng', lambda p, data: p.decompress(idat(data))),
    'ISA-L': ('isal.isal_zlib', lambda p, data: p.decompress(idat(data))),
    'libdeflate': ('deflate', lambda p, data: p.zlib_decompress(idat(data), 1 << 24)),
}


def main(files: list[str]) -> None:
    cv2.setNumThreads(0)
    images = {file: Path(file).read_bytes() for file in files} or generated()
    for name, data in images.items():
        print(f'\n| {name}, {len(data) / 1e6:.1f} MB | ms | images/s | of OpenCV |')
        print('|---' * 4 + '|')
        times, expected = {form: [] for form in FORMS}, by_opencv(data)
        for form in 12 * list(FORMS):  # in turn, as other programs may run beside
            package, decode = FORMS[form]
            try:
                package = importlib.import_module(package)
            except ImportError as error:
                if times.pop(form, None) == []:
                    print(f'| {form}: {error} | | | |')
                continue
            began = time.process_time()
            found = decode(package, data)
            times[form].append(1e3 * (time.process_time() - began))
            if isinstance(found, np.ndarray):
                assert (found == expected[: len(found)]).all(), f'{form}: other pixels'
        for form, ms in times.items():
            ratio = min(times['OpenCV']) / min(ms)
            print(f'| {form} | {min(ms):.1f} | {1e3 / min(ms):.1f} | {ratio:.2f} |')
    # a crop is anywhere, so it ends on average in the middle between CROP and the end
    heights = np.linspace(*HEIGHTS, 100_001)
    share = ((CROP + heights) / 2 / heights).mean()
    print(f'\nThe rows above the end of a crop are {share:.3f} of all on average.')


def generated() -> dict[str, bytes]:
    from mmseg_fastscnn.datasets.toy_streets import write_toy_streets

    with tempfile.TemporaryDirectory() as folder:
        write_toy_streets(Path(folder), SIZE, num_train=1, num_val=1)
        street = next(Path(folder).glob('leftImg8bit/train/*/*.png')).read_bytes()
    noise = np.random.default_rng(0).normal(128, 300, (*SIZE, 3)).astype(np.float32)
    noise = np.clip(cv2.GaussianBlur(noise, (0, 0), 3), 0, 255).astype(np.uint8)
    return {'street': street, 'noise': cv2.imencode('.png', noise)[1].tobytes()}


def by_opencv(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def by_pillow(data: bytes, share: float = 1.0) -> np.ndarray:
    """Decode the first rows: Pillow's `tile` says what is to be decoded."""
    with Image.open(io.BytesIO(data)) as image:
        rows, (tile,) = int(share * image.height), image.tile
        image.tile = [tile._replace(extents=(0, 0, image.width, rows))]
        return as_bgr(np.asarray(image)[:rows])


def inflated_by(package, data: bytes, share: float = 1.0) -> np.ndarray:
    """Inflate the first rows by a package; OpenCV gets them as a file of their own."""
    width, height = struct.unpack_from('>II', data, 16)
    rows = int(share * height)
    size = rows * (1 + 3 * width)  # each row begins with its filter
    values = package.decompressobj().decompress(idat(data), size)
    header = struct.pack('>II', width, rows) + data[24:29]
    chunks = [(b'IHDR', header), (b'IDAT', zlib.compress(values, 0)), (b'IEND', b'')]
    parts = [data[:8]]
    for kind, content in chunks:
        check = struct.pack('>I', package.crc32(content, package.crc32(kind)))
        parts += [struct.pack('>I', len(content)), kind, content, check]
    return by_opencv(b''.join(parts))


def as_bgr(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2BGR)


def idat(data: bytes) -> bytes:
    """Return the compressed stream of a PNG file."""
    parts, at = [], 8
    while at < len(data):
        length, kind = struct.unpack_from('>I4s', data, at)
        parts += [data[at + 8 : at + 8 + length]] * (kind == b'IDAT')
        at += 12 + length
    return b''.join(parts)


if __name__ == '__main__':
    main(sys.argv[1:])
