"""Errors of GPUs, of NCCL and of the store where processes meet, in plain words.

These are errors of the machines and of how a run is started. Where NCCL waits in vain
no error reaches Python: see `torchrun.py`.
"""

import re

NETWORK = (
    'The machines do not reach each other. NCCL_SOCKET_IFNAME (such as eth0) names the '
    'network interface that leads to the others; a firewall must let all ports between '
    'them pass; NCCL_IB_DISABLE=1 leaves out InfiniBand.'
)
# A pattern in an error's text: what it means and what to do. The first match counts.
MEANINGS = {
    r'CUDA out of memory|(CUDA|NCCL) error[\s\S]*out of memory': (
        'The memory of the GPU is full. nvidia-smi shows who else uses it. Take a '
        'smaller batch (train_dataloader.batch_size) or crop, or --amp.'
    ),
    'Duplicate GPU detected': (
        'Two processes use one GPU, which NCCL does not allow. Start no more processes '
        'on a machine than it has GPUs, and do not choose a device in the config.'
    ),
    'CUDA error: invalid device ordinal': (
        'A process asks for a GPU that its machine does not have. Start no more '
        'processes there than it has GPUs; CUDA_VISIBLE_DEVICES may hide some.'
    ),
    r'NCCL error[\s\S]*(Mismatched NCCL version|Message truncated)': (
        'The machines have different NCCLs. Install the same torch on all of them, and '
        'let LD_LIBRARY_PATH and LD_PRELOAD lead to no other NCCL.'
    ),
    r'NCCL error[\s\S]*(/dev/shm|No space left on device)': (
        'The shared memory of this machine is full. A container needs more of it '
        '(docker run --shm-size=8g); NCCL_SHM_DISABLE=1 does without, slower.'
    ),
    'NCCL error.*remote process exited': (
        'Another process has ended, or the network to it broke. If a process has '
        f'ended, its own message says why, and comes first. Else: {NETWORK}'
    ),
    'NCCL error.*unhandled system error': NETWORK,
    'NCCL error.*unhandled cuda error': (
        'A GPU or its driver failed. nvidia-smi must show each GPU, and a driver that '
        'is new enough for the CUDA of torch; dmesg names broken GPUs (Xid). Where '
        'GPUs cannot copy to each other (some virtual machines): NCCL_P2P_DISABLE=1.'
    ),
    'NCCL error.*(invalid usage|invalid argument|internal error)': (
        'Processes disagree, or torch and NCCL do not fit. Start all of them by the '
        'same command, with the same torch.'
    ),
    'Watchdog caught collective operation timeout': (
        'A process waited in vain for the others: one of them hangs, or has ended. It '
        'is the one without such a line. The limit is env_cfg.dist_cfg.timeout, in '
        'seconds.'
    ),
    'server socket has failed.*(?i:address already in use)': (
        'Another run has this port. Choose another one, such as PORT=29501 before '
        'tools/dist_train.sh (under Slurm MASTER_PORT).'
    ),
    'client socket has|connection to the C10d store has failed': (
        'Nothing answers at the address where processes meet. Start the machine of '
        'rank 0, too; MASTER_ADDR must be its address and PORT be the same on all '
        'machines, and a firewall must let it pass.'
    ),
    'waiting for clients': (
        'Not all processes came. Start all machines, with the same number of machines '
        '(NNODES), MASTER_ADDR and PORT.'
    ),
}
SOURCE = re.compile(r'NCCL error in: \S+, (.*?)(?: \(run with .*?\))?, NCCL version ')


def explain(error: Exception) -> str | None:
    """Return what was found, what it means and what to do; None for other errors."""
    text = str(error)
    # torch.AcceleratorError and all of torch.distributed's own are RuntimeErrors
    if not isinstance(error, RuntimeError) and 'C10d store' not in text:
        return None
    for pattern, meaning in MEANINGS.items():
        if re.search(pattern, text):
            more = ' NCCL_DEBUG=INFO says more.' if 'NCCL error' in text else ''
            return f'{found(text)} {meaning}{more}'
    return None


def found(text: str) -> str:
    """Return the line of torch's text that says what happened, as a sentence.

    NCCL's own words stand below 'Last error:', if it has any.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = lines[0].partition(' Of the allocated memory')[0]
    if (short := SOURCE.search(said)) is not None:
        said = f'NCCL error: {short[1]}'
    if 'Last error:' in lines[:-1]:
        said += f' ({lines[lines.index("Last error:") + 1]})'
    return said.rstrip('.') + '.'
