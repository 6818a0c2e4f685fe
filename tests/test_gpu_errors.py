"""What torch and NCCL say of GPUs and connections, and what users are told."""

import os
import socket
import subprocess
import sys

import pytest
import torch
from conftest import CPU, ROOT
from torch.distributed import DistBackendError, DistNetworkError, DistStoreError

from mmseg_fastscnn.commands import entrance
from mmseg_fastscnn.commands.gpu_errors import explain
from mmseg_fastscnn.engine.processes import check_launcher

CPP = '/pytorch/torch/csrc/distributed/c10d'


def nccl(kind: str, last: str = '', run: str = 'INFO') -> DistBackendError:
    """Return an error as torch writes it, with NCCL's last words."""
    return DistBackendError(
        f'NCCL error in: {CPP}/NCCLUtils.cpp:94, {kind} (run with NCCL_DEBUG={run} for '
        f'details), NCCL version 2.27.5\nncclError: Explained in general.\n'
        f'Last error:\n{last}'
    )


# The store's texts are torch 2.13's, NCCL's are from its source and users' reports.
WATCHDOG = (
    '[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=5, '
    'OpType=ALLREDUCE, NumelIn=1, NumelOut=1, Timeout(ms)=600000) ran for 600013 '
    'milliseconds before timing out.'
)
TAKEN = (
    'The server socket has failed to listen on any local network address. port: 29500, '
    'useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use'
)
MEMORY = (
    'CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of '
    '79.15 GiB of which 12.25 GiB is free. Including non-PyTorch memory, this process '
    'has 66.00 GiB memory in use. Of the allocated memory 65.00 GiB is allocated by '
    'PyTorch, and 500.00 MiB is reserved by PyTorch but unallocated.'
)
TWICE = 'Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1000'
MIXED = 'Mismatched NCCL version detected : rank 1 version 22705 rank 0 version 22703'
NO_ROUTE = 'socketStartConnect: Connect to 10.0.0.2<52822> failed : No route to host'
RESET = 'socketProgressOpt: Call to recv from 10.0.0.2<33759> failed : Connection reset'
FULL = (
    'Error while creating shared memory segment /dev/shm/nccl-VPyhzw (size 21823872), '
    'error: No space left on device (28)'
)
SAID = [
    (nccl('invalid usage', TWICE, 'WARN'), [TWICE, 'no more processes']),
    (nccl('invalid usage', MIXED, 'WARN'), [MIXED, 'same torch', 'LD_LIBRARY_PATH']),
    (nccl('invalid usage', run='WARN'), ['NCCL error: invalid usage. ', 'same torch']),
    (nccl('unhandled system error', NO_ROUTE), [NO_ROUTE, 'NCCL_SOCKET_IFNAME']),
    (nccl('unhandled system error', FULL), ['nccl-VPyhzw', '--shm-size']),
    (
        nccl('unhandled cuda error', "Cuda failure 1 'invalid argument'"),
        ["(Cuda failure 1 'invalid argument').", 'NCCL_P2P_DISABLE=1', 'driver'],
    ),
    (
        nccl('unhandled cuda error', "Cuda failure 2 'out of memory'"),
        ["(Cuda failure 2 'out of memory').", 'smaller batch'],
    ),
    (
        DistBackendError(
            f'NCCL error in: {CPP}/NCCLUtils.cpp:94, remote process exited or there '
            f'was a network error, NCCL version 2.27.5\nncclRemoteError: A call '
            f'failed.\nLast error:\n{RESET}'
        ),
        ['exited or there was a network error (socketProgressOpt', 'comes first'],
    ),
    (DistBackendError(WATCHDOG), ['600013', 'env_cfg.dist_cfg.timeout']),
    (torch.OutOfMemoryError(MEMORY), ['66.00 GiB memory in use. The', '--amp']),
    (
        RuntimeError('CUDA error: invalid device ordinal\nCUDA kernel errors might be'),
        ['invalid device ordinal. A process', 'CUDA_VISIBLE_DEVICES'],
    ),
    (DistNetworkError(TAKEN), ['port: 29500', 'PORT=29501']),
    (
        DistNetworkError(
            'The client socket has timed out after 60000ms while trying to connect to '
            '(10.0.0.1, 29500).'
        ),
        ['(10.0.0.1, 29500). Nothing answers', 'MASTER_ADDR'],
    ),
    (
        DistStoreError(
            'Timed out after 901 seconds waiting for clients. 1/2 clients joined.'
        ),
        ['1/2 clients joined. Not all', 'NNODES'],
    ),
]


@pytest.mark.parametrize(('error', 'parts'), SAID)
def test_explained(error, parts):
    said = explain(error)
    assert all(part in said for part in parts), said
    assert 'Last error' not in said and '\n' not in said and '..' not in said
    assert ('NCCL_DEBUG=INFO' in said) == ('NCCL error' in str(error))


def test_other_errors_keep_their_traceback(capsys):
    fault = RuntimeError('CUDA error: an illegal memory access was encountered')
    assert explain(fault) is None and explain(ValueError(TAKEN)) is None

    def fail():
        raise torch.OutOfMemoryError(MEMORY)

    with pytest.raises(SystemExit) as ended:
        entrance.run_command(fail, 'train.py')
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith('train.py: CUDA out of memory.')
    assert said.count('\n') == 1


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr('torch.cuda.device_count', lambda: 2)
    for name, value in dict(RANK='6', LOCAL_RANK='2', LOCAL_WORLD_SIZE='4').items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r'6 has no GPU.* 4 proc.*at most 2 there'):
        check_launcher('pytorch')
    monkeypatch.setenv('LOCAL_RANK', '1')
    check_launcher('pytorch')


def torchrun(script, port: int) -> tuple[int, str]:
    command = [sys.executable, '-m', 'mmseg_fastscnn.commands.torchrun']
    command += ['--master-port', str(port), str(script)]
    env = {**os.environ, **CPU, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


def test_torchrun_says_what_its_processes_cannot(tmp_path):
    """Another run has the port; then it has not, and C++ ends the process."""
    (tmp_path / 'script.py').write_text('import os\nos.abort()\n')
    with socket.create_server(('', 0)) as other:
        port = other.getsockname()[1]
        status, said = torchrun(tmp_path / 'script.py', port)
    assert status == 2 and 'Traceback' not in said
    assert f'port: {port}' in said and 'PORT=29501' in said
    status, said = torchrun(tmp_path / 'script.py', port)
    assert status == 1 and 'Rank 0: SIGABRT ended it.' in said
    assert 'TORCH_NCCL_DESYNC_DEBUG=1' in said
