"""What a run shows on the terminal: its log without some lines of mmengine.

The lines that are left out are named here. The log file has every line.
"""

import logging
from pathlib import Path

import mmengine

MMENGINE = Path(mmengine.__file__).parent
LOGGER_HOOK = 'hooks/logger_hook.py'
# Functions of mmengine whose lines are of no use to a user, or repeat what the header
# of the run says.
NOT_SHOWN = {
    ('runner/runner.py', '__init__'),  # the order of all hooks
    ('runner/runner.py', '_log_env'),  # versions, and the whole config
    ('runner/runner.py', 'wrap_model'),  # SyncBN becomes BN in a single process
    ('runner/runner.py', 'resume'),  # the header says at which iteration it goes on
    ('model/base_module.py', '_dump_init_info'),  # how each weight was initialised
}
# Who called mmengine's `print_log` cannot be seen, so its lines are told by their text.
NOT_PRINTED = (
    '"FileClient" will be deprecated',  # mmengine's own call of its own class
    '"HardDiskBackend" is the alias',
)


def is_shown(record: logging.LogRecord) -> bool:
    """Return whether a record of the log belongs on the terminal."""
    path = Path(record.pathname)
    if MMENGINE not in path.parents:
        return True
    module, message = path.relative_to(MMENGINE).as_posix(), record.getMessage()
    if module == LOGGER_HOOK:
        return False  # `ProgressHook` shows what matters of these lines
    if record.funcName == 'print_log' and message.startswith(NOT_PRINTED):
        return False
    return (module, record.funcName) not in NOT_SHOWN
