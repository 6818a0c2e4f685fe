"""Try one or two models on a page, with images, videos and the webcam.

MODEL is a checkpoint or an exported file (.onnx, .xml, .param). Nothing leaves this
machine, and only this machine sees the page unless --host says otherwise.

Example: fastscnn demo best_mIoU_iter_4000.pth street.onnx
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from mmseg_fastscnn.commands import options
from mmseg_fastscnn.file_kinds import CHECKPOINTS, CONFIG_FILES


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    parser.add_argument(
        'models',
        nargs='+',
        type=Path,
        metavar='MODEL',
        help='one file, or two that are shown side by side; after them the config '
        'of checkpoints that have none inside',
    )
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to serve at; 0.0.0.0 for all who reach this machine, without '
        'a password',
    )
    parser.add_argument('--port', type=int, default=7860, help='default: 7860')
    args = parser.parse_args(words)
    *models, last = args.models
    is_config = last.suffix in CONFIG_FILES
    args.config = last if is_config else None
    args.models = models if is_config else args.models
    if not 1 <= len(args.models) <= 2:
        parser.error(f'{len(args.models)} models are given; give one or two.')
    if not 1 <= args.port <= 65535:
        parser.error(f'--port is {args.port}; it must be from 1 to 65535.')
    return args


def main(args: Namespace) -> None:
    import sys

    from mmseg_fastscnn.deploy.demo_server import check_free, run_page
    from mmseg_fastscnn.deploy.frames import silence_opencv

    silence_opencv()
    check_free(args.host, args.port)
    models = open_models(args.models, args.config)
    sys.exit(128 + run_page(models, args.host, args.port))


def open_models(files: Sequence[Path], config: Path | None) -> list:
    """Return the models, called by their files' names or, if these are equal, paths.

    Raises:
        FileNotFoundError, ImportError, ValueError: See `Predictor`.
    """
    from mmseg_fastscnn.deploy.demo import DemoModel

    return [
        DemoModel(name, file, config if file.suffix in CHECKPOINTS else None)
        for name, file in zip(options.names_of(files), files, strict=True)
    ]
