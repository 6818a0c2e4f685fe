"""Name the processes of a run that no longer answer.

Where one hangs, the others wait for it in an operation that all take part in, until
its time limit is over (`env_cfg.dist_cfg.timeout`). That error does not say which one
hangs. So those that get it leave a sign in the store through which torch's processes
found each other, and a process without a sign is missing. Until such an error occurs
this costs nothing.

With NCCL the operation runs on the GPU, and torch ends the waiting processes itself:
see docs/distributed.md.
"""

import os
import time
from collections.abc import Callable
from datetime import timedelta

from mmengine.dist import get_rank, get_world_size, is_distributed
from torch.distributed import DistError, TCPStore

from mmseg_fastscnn.engine.processes import all_processes, rank_list

WAIT = 10  # seconds in which the other processes can leave their sign


def lost_others(error: Exception) -> bool:
    """Return whether an error is of an operation that other processes take part in."""
    met = is_distributed() and all_processes.cache_info().currsize > 0
    if not met or 'MASTER_ADDR' not in os.environ:
        return False
    return isinstance(error, DistError) or (
        isinstance(error, RuntimeError) and 'gloo' in str(error)
    )


def report_missing(error: Exception, say: Callable[[str], None]) -> None:
    """Find out who is missing, and have one process say it.

    Args:
        error: What `lost_others` is true of.
        say: Shows a message to the user.
    """
    cause = f'({str(error).splitlines()[0].rpartition("] ")[2]})'  # without C++ files
    address, port = os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT'])
    try:
        store = TCPStore(address, port, is_master=False, timeout=timedelta(seconds=5))
        answering = ranks_that_answer(store)
    except DistError:
        say(
            f'Neither the other processes of this run nor its store at {address}:'
            f'{port} answer {cause}. Look at that machine, where rank 0 is, end what '
            f'is left of the run, and go on with --resume.'
        )
        return
    said = sign('said')
    if get_rank() == min(answering):
        say(describe_missing(sorted(set(range(get_world_size())) - answering), cause))
        store.set(said, '')
    else:  # torchrun ends all processes as soon as one has ended
        wait_until(lambda: store.check([said]), WAIT)


def sign(name: object) -> str:
    """Return a key of the store that no earlier run has used."""
    return f'mmseg_fastscnn/{all_processes()}/{name}'


def ranks_that_answer(store: TCPStore) -> set[int]:
    """Leave a sign in the store, and return the ranks that have left theirs in time."""
    store.set(sign(get_rank()), '')
    everyone = range(get_world_size())
    wait_until(lambda: store.check([sign(rank) for rank in everyone]), WAIT)
    return {rank for rank in everyone if store.check([sign(rank)])}


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for a condition, but not longer than some seconds."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)


def describe_missing(missing: list[int], cause: str) -> str:
    if not missing:
        return (
            f'The connection between the processes of this run failed {cause}; all of '
            f'them still answer. Go on with --resume. If it fails again, look for the '
            f'cause in "Common errors" of docs/distributed.md.'
        )
    verb, ranks = 'does' if len(missing) == 1 else 'do', rank_list(missing)
    places = [all_processes()[rank] for rank in missing]
    where = ', '.join(f'process {p.number} on {p.host}' for p in places)
    return (
        f'{ranks.capitalize()} of {get_world_size()} {verb} not answer {cause}: '
        f'{where}. Look there whether it waits for a disk, has stopped or has ended; '
        f'end what is left of the run, and go on with --resume. How long the others '
        f'wait is env_cfg.dist_cfg.timeout, in seconds.'
    )
