"""Command-line options that several commands have, each spelt once."""

from argparse import ArgumentParser

from mmengine.config import DictAction


def add_config(parser: ArgumentParser) -> None:
    parser.add_argument('config', help='config file, e.g. configs/fastscnn/*.py')
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
        '--data-root', metavar='DIR', help='moves every data set of the config'
    )


def add_weights(parser: ArgumentParser) -> None:
    parser.add_argument(
        '--weights',
        choices=['ema', 'raw'],
        default='ema',
        help='averaged or trained weights, where the checkpoint has both',
    )


def add_run(parser: ArgumentParser, work_dir: str) -> None:
    """Add what training and testing have in common.

    Args:
        parser: Parser to add to.
        work_dir: What the work dir is for, in the help.
    """
    add_config(parser)
    add_data_root(parser)
    parser.add_argument('--work-dir', metavar='DIR', help=work_dir)
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none'
    )
