"""A hash of weights inside their file, by which damage is found in any container.

`meta['sha256']` has one sha256 in hexadecimal digits for each of `state_dict` and
`ema_state_dict` that the file holds. It is taken over all tensors in the order of their
names: over 'NAME\\0DTYPE\\0SHAPE\\0' in UTF-8, such as
'backbone.x.weight\\0torch.float32\\0[32, 3, 3, 3]\\0', and then over the values, as
little-endian bytes in row-major order. It tells of damage, not of an attacker, who
would write a new hash as well.
"""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

HASHED = ('state_dict', 'ema_state_dict')


def hashes_of(content: Mapping) -> dict[str, str]:
    """Return the hash of each kind of weights in a checkpoint, for `meta['sha256']`."""
    return {key: weights_sha256(content[key]) for key in HASHED if content.get(key)}


def weights_sha256(state_dict: Mapping[str, Tensor]) -> str:
    """Return the hash of tensors; see above."""
    digest = hashlib.sha256()
    for name in sorted(state_dict):
        tensor = state_dict[name].detach().cpu().contiguous()
        head = f'{name}\0{tensor.dtype}\0{list(tensor.shape)}\0'
        digest.update(head.encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
