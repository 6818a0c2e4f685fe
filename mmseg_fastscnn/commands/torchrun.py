"""torchrun with the exit statuses of the processes that it starts.

After a signal torchrun itself ends with status 1 and a traceback, though a checkpoint
is written; so it does after a user's mistake, which has been explained above. The
scripts `tools/dist_*.sh` call it in this form, with torchrun's own arguments:

    python -m mmseg_fastscnn.commands.torchrun --nproc-per-node=8 tools/train.py ...
"""

import os
import signal
import sys

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from mmseg_fastscnn.commands import MISTAKE
from mmseg_fastscnn.commands.gpu_errors import explain

# torchrun's own ones, and Slurm's warning of a time limit, which would end torchrun at
# once. An older torch does not know this setting.
SIGNALS = 'SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1'
# What a process that C++ or the system ended could not say itself, by exit status.
ENDED = {
    -signal.SIGABRT: (
        'SIGABRT ended it. On GPUs that is mostly torch, after a process waited in '
        'vain for the others: each that waited has a line "Watchdog caught collective '
        'operation timeout" above, and the one without it hangs or has ended. The '
        'limit is env_cfg.dist_cfg.timeout, in seconds. TORCH_NCCL_DESYNC_DEBUG=1 '
        'makes torch say who did not come.'
    ),
    -signal.SIGKILL: (
        'SIGKILL ended it, mostly as the machine ran out of memory: take fewer workers '
        '(train_dataloader.num_workers) or a smaller batch.'
    ),
}


def main() -> None:
    os.environ.setdefault('PET_SIGNALS_TO_HANDLE', SIGNALS)
    try:
        torchrun()
    except SignalException as got:
        sys.exit(128 + got.sigval)
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        # a user's mistake, or a checkpoint written after a signal
        is_explained = failure.exitcode == MISTAKE or failure.exitcode > 128
        if not is_explained:
            why = ENDED.get(failure.exitcode)
            sys.exit(f'{failed}\nRank {rank}: {why}' if why else str(failed))
        print(
            f'Rank {rank} ended with exit status {failure.exitcode}.', file=sys.stderr
        )
        sys.exit(failure.exitcode)
    except Exception as error:  # torchrun's own, before it has started a process
        message = explain(error)
        if message is None:
            raise
        print(f'torchrun: {message}', file=sys.stderr)
        sys.exit(MISTAKE)


if __name__ == '__main__':
    main()
