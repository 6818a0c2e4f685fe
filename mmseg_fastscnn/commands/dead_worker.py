"""What to say when a data loading worker died, in place of torch's own text."""

import multiprocessing
import re

from mmseg_fastscnn.memory import available_memory

# torch's RuntimeError for one or several workers that ended without an error of theirs.
DEAD = re.compile(r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) ([^.]+)')
# Its errors where shared memory is full, which a worker raises itself.
FULL = re.compile(r'unable to (write to|open|resize|allocate) .*(shm|torch_|shared)')


def explain(error: Exception) -> str | None:
    """Return a message for the death of a worker, None for other errors."""
    text = str(error)
    # where torch knows the signal, it says so in the cause alone
    dead = DEAD.search(str(error.__cause__)) or DEAD.search(text)
    no_memory = isinstance(error, MemoryError) and 'DataLoader worker' in text
    if dead is None and not no_memory and not FULL.search(text):
        return None
    if dead is None:
        what = f'There is too little memory ({text.strip().splitlines()[-1]}).'
        pids = []
    else:
        pids = [int(pid) for pid in dead[1].split(',')]
        what = f'A data loading worker died: process {dead[1]} {dead[2].strip()}.'
    # it imports mmengine, which may not be installed
    from mmseg_fastscnn.datasets.bad_samples import file_read_by

    files = [file for file in map(file_read_by, pids) if file]
    if files:
        what += f' It was reading {", ".join(files)}.'
    # those that died are counted, too: torch has not asked for their exit status
    workers = len({child.pid for child in multiprocessing.active_children()} | {*pids})
    return (
        f'{what} Most often there was too little memory: {available_memory()}. '
        f'{workers} workers were running; use fewer (train_dataloader.num_workers, '
        f'val_dataloader.num_workers), or smaller batches, or give more memory; in a '
        f'container, more shared memory, too (docker run --shm-size=8g).'
    )
