"""Where a value can be read without waiting."""

from torch import Tensor

HOST = 'cpu'


def on_host(like: Tensor) -> bool:
    """Whether Python can read a tensor's values without waiting for its device.

    On a GPU, work is queued and Python runs ahead of it; `bool(tensor)`, `.item()`,
    `nonzero` or an index by a mask stop it until the queue is empty. So what looks at
    values to save work asks this first, and elsewhere does the work.
    """
    return like.device.type == HOST
