"""Damaged and lying images and labels for `fuzz.py`, each made from a number."""

import io
import random
import struct
import zlib

import cv2
import numpy as np
from fuzz_checkpoints import Case, damaged
from PIL import Image

from mmseg_fastscnn.results import png_chunk

HUGE = [0, 1, 65_535, 2**20, 2**31 - 1, 2**32 - 1]


def by_opencv(suffix: str, pixels: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, pixels, options)[1].tobytes()


def by_pillow(kind: str, pixels: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if options.pop('palette', False):
        image.putpalette([k for k in range(256) for _ in range(3)])
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def by_numpy(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


class Images:
    """Makes cases of each kind from whole files."""

    WRITES = None  # reading one changes no file
    # Kinds, how often each comes, and whether a difference would be silent: None for
    # files without a check sum.
    KINDS = {
        'PNG, damaged': (35, True),
        'PNG, other header': (15, False),
        'JPEG, damaged': (15, None),
        'TIFF, damaged': (15, None),
        'NPY, damaged': (5, None),
        'NPY, other header': (5, False),
        'BMP, damaged': (10, None),
    }

    def __init__(self):
        rng = np.random.default_rng(0)
        ids = rng.integers(0, 5, (12, 17), np.uint8)
        rgb = rng.integers(0, 256, (12, 17, 3), np.uint8)
        exif = Image.Exif()
        exif[0x0112] = 3
        self.files = {
            'PNG': [
                by_opencv('.png', ids),
                by_opencv('.png', rgb),
                by_opencv('.png', ids.astype(np.uint16)),
                by_pillow('PNG', ids, palette=True),
                by_pillow('PNG', rgb, exif=exif),
            ],
            'JPEG': [
                by_opencv('.jpg', rgb),
                by_opencv('.jpg', ids),
                by_pillow('JPEG', rgb, exif=exif, progressive=True),
            ],
            'TIFF': [
                by_opencv('.tif', rgb),
                by_opencv('.tif', ids.astype(np.uint16)),
                by_pillow('TIFF', ids, compression='tiff_lzw'),
                by_pillow('TIFF', rgb, compression='tiff_deflate'),
            ],
            'NPY': [by_numpy(ids), by_numpy(rgb), by_numpy(rgb.astype(np.float32))],
            'BMP': [by_opencv('.bmp', rgb), by_opencv('.bmp', ids)],
        }

    def case(self, kind: str, rng: random.Random, folder: str) -> Case:
        """Return a file of a kind, and the whole one that it was made of."""
        name, _, how = kind.partition(', ')
        whole, suffix = rng.choice(self.files[name]), f'.{name.lower()}'
        if how == 'damaged':
            return suffix, damaged(whole, rng), whole
        return suffix, (other_png if name == 'PNG' else other_npy)(whole, rng), b''


def other_png(data: bytes, rng: random.Random) -> bytes:
    """Change a PNG's header, or add chunks; check sums stay right."""
    head, rest = bytearray(data[16:29]), data[33:]
    kind = rng.randrange(6)
    extra = b''
    if kind == 0:
        head[0:4] = struct.pack('>I', rng.choice(HUGE))
    elif kind == 1:
        head[0:8] = struct.pack('>II', rng.choice(HUGE), rng.choice(HUGE))
    elif kind == 2:
        head[rng.randrange(8, 13)] = rng.randrange(256)
    elif kind == 3:  # text and colour profiles that unpack to 50 MB
        bomb = zlib.compress(bytes(50_000_000))
        name = rng.choice([b'zTXt', b'iCCP'])
        extra = png_chunk(name, b'x\0\0' + bomb)
    elif kind == 4:
        extra = png_chunk(b'eXIf', rng.randbytes(rng.choice([0, 3, 40])))
    else:
        name = rng.choice([b'PLTE', b'tRNS', b'acTL', b'IHDR'])
        extra = png_chunk(name, rng.randbytes(9))
    return data[:8] + png_chunk(b'IHDR', bytes(head)) + extra + rest


def other_npy(data: bytes, rng: random.Random) -> bytes:
    """Change what the header of a .npy file says."""
    size = struct.unpack('<H', data[8:10])[0]
    shapes = ['(1000000000000, 3)', '(-1, 5)', '(3,)', '(2, 2, 2, 2)', '()']
    shapes += ['(True, 2)', '(2, 2, 1000000000)', '(99999999999999999999, 1)']
    shapes += ["('a', 1)", '[3, 4]']
    shape = rng.choice(shapes)
    dtype = rng.choice(["'|u1'", "'<f4'", "'O'", "'<M8[D]'", "[('a', 'u1')]", "'<U9'"])
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}"
    if rng.random() < 0.2:
        text = rng.choice(["__import__('os')", '(' * 5000, '1' * 9000, '', "{'a': 1}"])
    header = text.encode().ljust(size - 1) + b'\n'
    return data[:8] + struct.pack('<H', len(header)) + header + data[10 + size :]
