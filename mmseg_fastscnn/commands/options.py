"""Command-line options that several commands share."""

from argparse import Action, ArgumentParser
from collections.abc import Sequence
from pathlib import Path


class KeysAndValues(Action):
    """mmengine's `DictAction`, which is imported only where the option is given."""

    def __call__(self, parser, namespace, values, option_string=None):
        for value in values:
            if not value.partition('=')[1]:
                parser.error(f'{option_string} {value} is not of the form KEY=VALUE.')
        from mmengine.config import DictAction

        action = DictAction(self.option_strings, self.dest, nargs=self.nargs)
        action(parser, namespace, values, option_string)


def add_config(
    parser: ArgumentParser, may_lack: bool = False, or_folder: bool = False
) -> None:
    """Add the config and the options that change it.

    Args:
        parser: The parser to which they are added.
        may_lack: Whether a checkpoint that holds its config may stand alone.
        or_folder: Whether a folder of annotated images may take its place.
    """
    parser.add_argument(
        'config',
        nargs='?' if may_lack else None,
        metavar='CONFIG|FOLDER' if or_folder else None,
        help='config file, or the name of a shipped one such as fast_scnn_camvid.py'
        + ('; or a folder of images with their labels' if or_folder else ''),
    )
    add_config_options(parser)


def add_config_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeysAndValues,
        metavar='KEY=VALUE',
        help='change settings of the config, e.g. train_cfg.max_iters=1000 or '
        'model.test_cfg.mode=slide',
    )


def add_data_root(parser: ArgumentParser) -> None:
    parser.add_argument(
        '--data-root', metavar='DIR', help='folder of the data, for every data set'
    )


def add_weights(parser: ArgumentParser) -> None:
    parser.add_argument(
        '--weights',
        choices=['ema', 'raw'],
        default='ema',
        help='averaged (ema) or trained (raw) weights, where the checkpoint has both',
    )


def add_run(
    parser: ArgumentParser,
    work_dir: str,
    config_may_lack: bool = False,
    or_folder: bool = False,
) -> None:
    """Add the options that training and testing share.

    Args:
        parser: The parser to which they are added.
        work_dir: Help text of `--work-dir`.
        config_may_lack, or_folder: See `add_config`.
    """
    add_config(parser, config_may_lack, or_folder)
    add_data_root(parser)
    parser.add_argument('--work-dir', metavar='DIR', help=work_dir)
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none'
    )


def names_of(files: Sequence[str | Path]) -> list[str]:
    """Return the names of files, or their paths if two have the same name."""
    names = [Path(file).name for file in files]
    return names if len({*names}) == len(names) else [str(file) for file in files]
