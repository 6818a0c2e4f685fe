"""torchrun with the exit statuses of the processes that it starts.

After a signal torchrun itself ends with status 1 and a traceback, though a checkpoint
is written; so it does after a user's mistake, which has been explained above. The
scripts `tools/dist_*.sh` call it in this form, with torchrun's own arguments:

    python -m mmseg_fastscnn.commands.torchrun --nproc-per-node=8 tools/train.py ...
"""

import os
import sys

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from mmseg_fastscnn.commands import MISTAKE

# torchrun's own ones, and Slurm's warning of a time limit, which would end torchrun at
# once. An older torch does not know this setting.
SIGNALS = 'SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1'


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
            sys.exit(str(failed))
        print(
            f'Rank {rank} ended with exit status {failure.exitcode}.', file=sys.stderr
        )
        sys.exit(failure.exitcode)


if __name__ == '__main__':
    main()
