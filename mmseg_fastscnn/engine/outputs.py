"""Nothing that a run reads is written over."""

import re
from pathlib import Path

from mmengine.config import Config

OF_A_RUN = re.compile(r'((iter|epoch)_\d+|best_.+)\.pth')  # names that training writes


def check_work_dir(config: Config) -> None:
    """Check that training in a work dir writes over nothing that it was given.

    Raises:
        ValueError: The work dir holds the config file, or the checkpoint to start from.
    """
    work_dir = Path(config.work_dir).resolve()
    given = Path(config.filename or '').resolve()
    if given.parent == work_dir and given.suffix == '.py':
        raise ValueError(
            f'--work-dir {config.work_dir} is the folder of the config {given.name}, '
            f'which the config that a run writes there would replace. Choose another '
            f'work dir.'
        )
    start = Path(config.get('load_from') or '')
    replaced = start.resolve().parent == work_dir and OF_A_RUN.fullmatch(start.name)
    if replaced and not config.get('resume'):
        raise ValueError(
            f'--load-from {start} lies in the work dir, where training would write '
            f'over it. Choose another --work-dir, or go on with that run by --resume.'
        )
