"""Command-line options that several commands share."""

from argparse import ArgumentParser

from mmengine.config import DictAction


def add_config(parser: ArgumentParser) -> None:
    parser.add_argument('config', help='config file, e.g. configs/fastscnn/*.py')
    add_config_options(parser)


def add_config_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
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


def add_run(parser: ArgumentParser, work_dir: str) -> None:
    """Add the options that training and testing share.

    Args:
        parser: The parser to which they are added.
        work_dir: Help text of `--work-dir`.
    """
    add_config(parser)
    add_data_root(parser)
    parser.add_argument('--work-dir', metavar='DIR', help=work_dir)
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none'
    )
