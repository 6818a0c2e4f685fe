"""Where a value can be read without waiting."""

import torch

HOST = 'cpu'


def on_host(device: torch.device) -> bool:
    """Whether Python can read the values of a device's tensors without waiting.

    On a GPU, work is queued and Python runs ahead of it; `bool(tensor)`, `.item()`,
    `nonzero` or an index by a mask stop it until the queue is empty. So what looks at
    values to save work asks this first, and elsewhere does the work.
    """
    return device.type == HOST
