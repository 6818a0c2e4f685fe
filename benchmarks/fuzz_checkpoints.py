"""Damaged and malicious checkpoints for `fuzz.py`, each made from a number."""

import copy
import io
import json
import pickle
import random
import struct
import warnings
import zipfile
from collections import OrderedDict

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OptimWrapper, PolyLR
from safetensors.torch import save
from torch import nn

from mmseg_fastscnn.checkpoint.weights_hash import hashes_of

Case = tuple[str, bytes, bytes]  # suffix, content, and the whole file or nothing
MARKER = 'executed'  # what a payload would make, in the folder of the case
TEXT = "model = dict(type='EncoderDecoder', norm_cfg=dict(type='BN'))\ncrop = (4, 8)\n"


class Small(nn.Module):
    """A network with the parts that loading looks for."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Module()
        self.backbone.first_conv = nn.Conv2d(3, 4, 3)
        self.backbone.bn = nn.BatchNorm2d(4)
        self.decode_head = nn.Module()
        self.decode_head.conv_seg = nn.Conv2d(4, 5, 1)


def small_run() -> tuple[nn.Module, OptimWrapper, list]:
    """Return a model, its optimizer after a step, and its schedulers."""
    model = Small()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    sum(p.sum() for p in model.parameters()).backward()
    optimizer.step()
    return model, OptimWrapper(optimizer), [PolyLR(optimizer, end=9, by_epoch=False)]


def content(of_mmengine: bool = False) -> dict:
    """Return a checkpoint of training, by this project or as mmengine writes it."""
    model, optimizer, schedulers = small_run()
    history = [torch.ones(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)]
    info = dict(best_score=1.0, best_ckpt='best_mIoU.pth', keep_ckpt_ids=[1, 2])
    if of_mmengine:
        history = HistoryBuffer([1.0, 1.0, 1.0], [1, 1, 1])
        info['eta'] = np.float64(3)
    state = model.state_dict()
    result = dict(
        meta=dict(
            epoch=0,
            iter=1,
            seed=3,
            images_per_step=4,
            cfg=TEXT,
            dataset_meta=dict(classes=tuple('abcde'), palette=[(1, 2, 3)] * 5),
        ),
        state_dict=state,
        ema_state_dict={
            'steps': torch.tensor(1),
            **{f'module.{name}': value.clone() for name, value in state.items()},
        },
        message_hub=dict(
            log_scalars={'train/loss': history}, runtime_info=info, resumed_keys={}
        ),
        optimizer=optimizer.state_dict(),
        param_schedulers=[schedulers[0].state_dict()],
    )
    if not of_mmengine:
        result['meta']['sha256'] = hashes_of(result)
    return result


def saved(value: object, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


# --- damage of bytes -----------------------------------------------------------------


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Damage bytes as disks, cables and interrupted copies do."""
    data, size = bytearray(data), len(data)
    start = rng.randrange(size)
    end = min(size, start + rng.choice([1, 4, 64, 4096]))
    kind = rng.randrange(8)
    if kind < 3:
        for _ in range(rng.choice([1, 1, 1, 3, 30])):
            data[rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif kind == 3:
        del data[start:]
    elif kind == 4:
        data[start:end] = bytes(end - start)
    elif kind == 5:
        data[start:end] = rng.randbytes(end - start)
    elif kind == 6:
        del data[start:end]
    else:
        data[start:start] = data[start:end]
    return bytes(data)


# --- zip files -----------------------------------------------------------------------


def members_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def zipped(members: list[tuple[str, bytes]], pack: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, 'w', pack) as file:
        warnings.simplefilter('ignore')  # of names that come twice
        for name, value in members:
            file.writestr(name, value)
    return buffer.getvalue()


def other_structure(data: bytes, rng: random.Random) -> bytes:
    """Change the structure of a zip file; check sums stay right."""
    members = list(members_of(data).items())
    k = rng.randrange(len(members))
    name, value = members[k]
    kind = rng.randrange(9)
    if kind == 0:
        members.pop(k)
    elif kind == 1:
        members.append((name, damaged(value or b'0', rng)))
    elif kind == 2:
        members[k] = (rng.choice(['../', '/etc/', 'x/', '']) + name, value)
    elif kind == 3:
        other = rng.randrange(len(members))
        other_name, other_value = members[other]
        members[k], members[other] = (name, other_value), (other_name, value)
    elif kind == 4:
        size = len(value) + rng.choice([-1, 1, 1000]) if value else 0
        members[k] = (name, bytes(size))
    elif kind == 5:
        members.append(('bomb', bytes(50_000_000)))
        return zipped(members, zipfile.ZIP_DEFLATED)
    elif kind == 6:
        members.append(('archive/constants.pkl', b'\x80\x02).'))
    elif kind == 7:
        members[k] = (name, damaged(value or b'0', rng))  # in a file of a right sum
    else:
        return claimed_sizes(data, rng)
    return zipped(members)


def claimed_sizes(data: bytes, rng: random.Random) -> bytes:
    """Change sizes and offsets in the directory of a zip file."""
    data = bytearray(data)
    starts = [k for k in range(len(data)) if data[k : k + 4] == b'PK\x01\x02']
    for start in rng.sample(starts, min(len(starts), 3)):
        place = start + rng.choice([8, 10, 16, 20, 24, 28, 30, 42])
        value = rng.choice([0, 1, 2**31 - 1, 2**32 - 1, rng.randrange(2**32)])
        data[place : place + 4] = struct.pack('<I', value)
    return bytes(data)


# --- pickles -------------------------------------------------------------------------


def payloads(folder: str) -> list[bytes]:
    """Return pieces of pickles that would run something, or stop the reader."""
    path = f'{folder}/{MARKER}'.encode()
    text = b'X' + struct.pack('<I', len(path)) + path
    name = b'V' + path + b'\n'
    code = f"open({path.decode()!r},'w')".encode()
    code = b'X' + struct.pack('<I', len(code)) + code
    return [
        b'cos\nmkdir\n' + text + b'\x85R',
        b'cposix\nmkdir\n' + text + b'\x85R',
        b'cbuiltins\nexec\n' + code + b'\x85R',
        b'c__builtin__\neval\n' + code + b'\x85R',
        b'(' + text + b'ios\nmkdir\n',
        b'(cos\nmkdir\n' + text + b'o',
        b'\x8c\x02os\x8c\x05mkdir\x93' + text + b'\x85R',
        b'cshutil\nrmtree\n' + text + b'\x85R',
        b'ctorch.serialization\nload\n' + text + b'\x85R',
        b'cnumpy\nload\n' + text + b'\x85R',
        b'cbuiltins\ngetattr\ncbuiltins\n__import__\nV__call__\n\x86R',
        b'cbuiltins\ngetattr\n(ctorch\nTensor\nX\x04\x00\x00\x00loadtR',
        b'cnumpy\nndarray\nK\x02\x85X\x01\x00\x00\x00OC\x10' + b'\x41' * 16 + b'\x87R',
        b'ctorch\nTensor\nJ\xff\xff\xff\x7f\x85R',
        b'ctorch._utils\n_rebuild_meta_tensor_no_storage\n)R',
        b'ctorch.storage\nUntypedStorage\nJ\xff\xff\xff\x7f\x85R',
        b'cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R',
        b'c_codecs\nencode\nX\x03\x00\x00\x00abcX\x08\x00\x00\x00punycode\x86R',
        b'ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemscos\nmkdir\nsb',
        b'ccollections\nOrderedDict\n(NtR(N}X\x03\x00\x00\x00fooK\x01s\x86b',
        b'r\xff\xff\xff\x7f',  # memory for two billion values
        b'j\xff\xff\xff\x7f',
        b'\x8e' + struct.pack('<Q', 2**62),  # bytes of such a length
        b'\x96' + struct.pack('<Q', 2**40),
        b'\x8b\xff\xff\xff\x7f',
        b'\x8b' + struct.pack('<I', 5000) + b'\x7f' * 5000,
        b')' + b'\x85' * 200_000,  # a tuple so deep
        b'}' + b')' + b'\x85' * 200_000 + b'Ns',  # as a key, of which a hash is taken
        b']' + b']' * 5000 + b'a' * 5000,
        b'](h\x00h\x00h\x00e',
        b']q\xf0h\xf0a',  # a list in itself
        b']q\xf0' + b''.join(b'](h%ch%ceq%c' % (k, k, k + 1) for k in range(240, 254)),
        b'P' + path + b'\n',
        text + b'Q',
        b'(X\x07\x00\x00\x00storagecos\nmkdir\n' + text + b'NNtQ',
        b'\x82\x01',
        b'\x84\xff\xff\xff\x7f',
        b'I' + b'9' * 6000 + b'\n',
        b'F1e999\n',
        b'\x97',
        b'\x98',
        name + b'0.',
    ]


def evil(data: bytes, rng: random.Random, folder: str) -> bytes:
    """Put a payload into the pickle of a checkpoint."""
    pickled = pickled_of(data)
    payload = rng.choice(payloads(folder))
    kind = rng.randrange(4)
    if kind == 0:  # alone
        pickled = b'\x80\x02' + payload + b'.'
    elif kind == 1:  # thrown away before the rest
        pickled = pickled[:2] + payload + b'0' + pickled[2:]
    elif kind == 2:  # beside the rest: a pair of both
        pickled = pickled[:-1] + payload + b'\x86.'
    else:  # anywhere
        place = rng.randrange(2, len(pickled))
        pickled = pickled[:place] + payload + pickled[place:]
    return with_pickled(data, pickled)


def damaged_pickle(data: bytes, rng: random.Random) -> bytes:
    """Damage the pickle of a checkpoint behind a right check sum."""
    return with_pickled(data, damaged(pickled_of(data), rng))


def pickled_of(data: bytes) -> bytes:
    if data[:2] == b'PK':
        members = members_of(data)
        return next(v for name, v in members.items() if name.endswith('data.pkl'))
    file = io.BytesIO(data)
    for _ in range(3):
        pickle.load(file)
    return data[file.tell() :]  # with the storages behind it


def with_pickled(data: bytes, pickled: bytes) -> bytes:
    """Put another pickle into a checkpoint, in a zip file with a right check sum."""
    if data[:2] != b'PK':
        return data.removesuffix(pickled_of(data)) + pickled
    members = members_of(data)
    return zipped(
        [(n, pickled if n.endswith('data.pkl') else v) for n, v in members.items()]
    )


# --- what the file says --------------------------------------------------------------


def odd_values(rng: random.Random) -> list:
    """Return values that stand where they should not."""
    itself: list = []
    itself.append(itself)
    shared: list = [0]
    for _ in range(60):
        shared = [shared, shared]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        sparse = torch.eye(3).to_sparse()
        quantised = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    return [
        *(None, True, 'text', b'bytes', '', 0, -1, 2**70, -(2**63), 1.5, float('nan')),
        *(float('inf'), [], {}, (), [1, 2], {'a': 1}, {1: 2}, set(), itself, shared),
        *(sparse, quantised, torch.eye(3) * 1j, torch.empty(3, device='meta')),
        *(torch.zeros(3), torch.zeros(0), torch.tensor(1), torch.tensor(float('nan'))),
        *(torch.zeros(3, 3, dtype=torch.int64), torch.zeros(3, dtype=torch.bool)),
        *(torch.zeros(1).expand(10**12), torch.full((4, 3, 3, 3), float('inf'))),
        *(torch.zeros(4, 3, 3, 3, dtype=torch.float64), torch.zeros(2, 2, 2)),
        *(nn.Parameter(torch.ones(2)), OrderedDict(a=1), np.float64(3), np.ones(3)),
        *(HistoryBuffer([1.0], [1]), '\ud800', 'x' * 10_000, '../../etc/passwd'),
        *(torch.float16, torch.device('cuda:9'), torch.Size([1, 2]), 'a\0b', '\x1b[2J'),
    ]


def places(value: object, way: tuple = ()) -> list[tuple]:
    """List the paths of all values inside of dicts and lists."""
    items = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = enumerate(value)
    inside = [places(item, (*way, key)) for key, item in items]
    return [way] * bool(way) + [place for found in inside for place in found]


def other_content(whole: dict, rng: random.Random) -> dict:
    """Put odd values into places of a checkpoint, or remove or rename some."""
    result = copy.deepcopy(whole)
    if rng.random() < 0.7:  # so that more than the hash is asked
        result['meta'].pop('sha256', None)
    for *way, last in rng.sample(places(result), rng.choice([1, 1, 1, 2, 5])):
        inside = result
        for key in way:
            inside = inside[key]
        kind = rng.randrange(6)
        if kind == 0:
            inside.pop(last)
        elif kind == 1 and isinstance(inside, dict):
            inside[rng.choice([1, None, 'x', ('a',), b'k'])] = inside.pop(last)
        else:
            inside[last] = rng.choice(odd_values(rng))
    return result


# --- safetensors ---------------------------------------------------------------------


def other_header(data: bytes, rng: random.Random) -> bytes:
    """Change what the header of a safetensors file says."""
    size = struct.unpack('<Q', data[:8])[0]
    header, values = json.loads(data[8 : 8 + size]), data[8 + size :]
    name = rng.choice([key for key in header if key != '__metadata__'])
    entry, kind = header[name], rng.randrange(7)
    if kind == 0:
        entry['shape'] = rng.choice([[10**12], [-1], [], ['a'], [2**63, 2], None])
    elif kind == 1:
        entry['data_offsets'] = rng.choice([[0, 10**12], [5, 3], [-1, 4], [], None])
    elif kind == 2:
        entry['dtype'] = rng.choice(['F99', 'F64', 'C64', 'I8', 'BF16', None, 1, 'F4'])
    elif kind == 3:
        header[rng.choice(['x', '../x', '\0', 'a' * 9999])] = header.pop(name)
    elif kind == 4:
        header['__metadata__'] = rng.choice(
            [1, [], {'meta': '{'}, {'meta': '[1]'}, None]
        )
    elif kind == 5:
        size = rng.choice([0, 2**63, 2**40, len(data)])
        return struct.pack('<Q', size) + data[8:]
    else:
        return data[:8] + data[8:].replace(b'{', b'[' * rng.choice([1, 99_999]), 1)
    text = json.dumps(header).encode()
    return struct.pack('<Q', len(text)) + text + values


# --- one case ------------------------------------------------------------------------


class Checkpoints:
    """Makes cases of each kind from whole checkpoints."""

    def __init__(self):
        self.ours, self.mmengine = content(), content(of_mmengine=True)
        self.zip, self.theirs = saved(self.ours), saved(self.mmengine)
        self.legacy = saved(self.ours, zipped=False)
        meta = {'meta': json.dumps(self.ours['meta'])}
        self.safetensors = save(dict(self.ours['state_dict']), meta)
        self.plain_safetensors = save(dict(self.ours['state_dict']))

    def case(self, kind: str, rng: random.Random, folder: str) -> Case:
        """Return a file of a kind, and the whole one that it was made of."""
        zipped_file = rng.choice([self.zip, self.theirs])
        if kind == 'zip, damaged':
            return '.pth', damaged(zipped_file, rng), zipped_file
        if kind == 'zip, other structure':
            return '.pth', other_structure(self.zip, rng), self.zip
        if kind == 'pickle, evil':
            file = rng.choice([zipped_file, self.legacy])
            return '.pth', evil(file, rng, folder), b''
        if kind == 'pickle, damaged':
            return '.pth', damaged_pickle(zipped_file, rng), b''
        if kind == 'content':
            return '.pth', self._other_content(rng), b''
        if kind == 'legacy, damaged':
            return '.pth', damaged(self.legacy, rng), self.legacy
        whole = self.safetensors
        if kind == 'safetensors, header':
            return '.safetensors', other_header(whole, rng), whole
        if kind == 'safetensors, no hash':
            whole = self.plain_safetensors
        return '.safetensors', damaged(whole, rng), whole

    def _other_content(self, rng: random.Random) -> bytes:
        while True:
            try:
                whole = rng.choice([self.ours, self.mmengine])
                return saved(other_content(whole, rng), zipped=rng.random() < 0.8)
            except Exception:  # torch cannot write all of these: another one then
                continue

    WRITES = None  # reading one changes no file
    # Kinds, how often each comes, and whether a difference in weights would be silent.
    KINDS = {
        'zip, damaged': (20, True),
        'zip, other structure': (15, True),
        'pickle, evil': (15, False),
        'pickle, damaged': (15, False),
        'content': (20, False),
        'safetensors, damaged': (5, True),
        'safetensors, header': (4, False),
        'legacy, damaged': (3, None),
        'safetensors, no hash': (3, None),
    }
