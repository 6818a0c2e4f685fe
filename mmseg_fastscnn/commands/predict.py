"""Predict images, folders, videos and cameras, and save what was found.

MODEL is a checkpoint or an exported file (.onnx, .xml, .param).

Example: fastscnn predict best_mIoU_iter_4000.pth drive.mp4 photos/ --out predictions

Exit status: 0 if all is predicted, 1 if something that is named was skipped, 2 if
nothing could be predicted.
"""

from __future__ import annotations

import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from mmseg_fastscnn.commands import MISTAKE
from mmseg_fastscnn.deploy.formats import SAVED
from mmseg_fastscnn.file_kinds import CONFIG_FILES

if TYPE_CHECKING:
    from mmseg_fastscnn.deploy.stream import Prediction

SOME_SKIPPED = 1  # exit status
SIGNALS = (signal.SIGINT, signal.SIGTERM)  # what is being written is completed first


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    add_files(parser)
    add_settings(parser)
    args = parser.parse_args(words)
    check_args(parser, args)
    return args


def add_files(parser: ArgumentParser) -> None:
    parser.add_argument('model', help='checkpoint or exported file')
    parser.add_argument(
        'config', nargs='?', help='config of a checkpoint that has none inside'
    )
    parser.add_argument(
        'source',
        nargs='+',
        help='images, patterns, folders, videos, the number of a camera, the address '
        'of a stream, or - for a list of these, one per line, on the standard input',
    )
    parser.add_argument(
        '--out', type=Path, default=Path('predictions'), help='folder of what is saved'
    )
    parser.add_argument(
        '--save', nargs='*', choices=SAVED, default=['overlay'], help='what to save'
    )


def add_settings(parser: ArgumentParser) -> None:
    parser.add_argument(
        '--alpha', type=float, default=0.5, help='opacity of the colours, 0 to 1'
    )
    parser.add_argument(
        '--every', type=int, default=1, help='of a video, take every Nth frame'
    )
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help="size of the network's input (default: as the config resizes)",
    )
    parser.add_argument('--device', help='cpu or cuda (default: the best there is)')
    parser.add_argument(
        '--precision',
        choices=['fp32', 'bf16', 'fp16'],
        help='of a checkpoint, default fp32; exported files have their own',
    )
    parser.add_argument(
        '--cuda-graph',
        action='store_true',
        help='run a checkpoint by CUDA graphs, one for each size of frames',
    )
    parser.add_argument(
        '--smooth',
        type=float,
        default=0,
        help='weight of earlier frames in the logits of a video, 0 to under 1',
    )
    parser.add_argument(
        '--keep-rate',
        type=float,
        metavar='FPS',
        help='lower the resolution as far as this frame rate needs',
    )
    parser.add_argument('--show', action='store_true', help='show it in a window')


def check_args(parser: ArgumentParser, args: Namespace) -> None:
    """Tell the config from sources; end with a message if an option is out of range."""
    args.config, args.source = config_and_sources([args.config, *args.source])
    if not args.source:
        parser.error(f'{args.config} is a config; name a source after it.')
    if not 0 <= args.alpha <= 1:
        parser.error(f'--alpha is {args.alpha}; it must be from 0 to 1.')
    if args.every < 1:
        parser.error(f'--every is {args.every}; it must be at least 1.')
    if not 0 <= args.smooth < 1:
        parser.error(f'--smooth is {args.smooth}; it must be from 0 to under 1.')
    if args.keep_rate is not None and not args.keep_rate > 0:
        parser.error(f'--keep-rate is {args.keep_rate}; it must be above 0.')
    if args.keep_rate and 'probabilities' in args.save:
        parser.error(
            '--keep-rate changes the resolution from frame to frame; probabilities are '
            'saved without it.'
        )
    has_display = os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')
    if args.show and sys.platform == 'linux' and not has_display:
        parser.error('--show needs a display, and DISPLAY is not set.')


def config_and_sources(words: list[str | None]) -> tuple[str | None, list[str]]:
    """Tell a config from sources: argparse takes the first word for the config."""
    words = [word for word in words if word is not None]
    is_config = Path(words[0]).suffix in CONFIG_FILES
    return (words[0], words[1:]) if is_config else (None, words)


def needs_torch(args: Namespace) -> bool:
    """Return whether predicting with this file needs torch."""
    return Path(args.model).suffix not in ('.onnx', '.xml', '.param')


def main(args: Namespace) -> None:
    from mmseg_fastscnn.deploy.backends import Predictor
    from mmseg_fastscnn.deploy.frames import silence_opencv
    from mmseg_fastscnn.deploy.progress import FrameProgress
    from mmseg_fastscnn.deploy.saving import Saving
    from mmseg_fastscnn.deploy.sources import find_sources
    from mmseg_fastscnn.deploy.stages import Stages
    from mmseg_fastscnn.deploy.stream import stream
    from mmseg_fastscnn.deploy.video import Flicker
    from mmseg_fastscnn.stopping import StopSignals

    silence_opencv()
    sources = find_sources(args.source, print_note)
    size = tuple(args.size) if args.size else None
    is_live = any(source.is_live for source in sources)
    predictor = Predictor(
        *(args.model, args.config, size, args.device),
        precision=args.precision,
        cuda_graph=args.cuda_graph,
        throughput=not (is_live or args.smooth or args.keep_rate),
    )
    flicker = Flicker()
    with StopSignals(SIGNALS) as stop, FrameProgress(sources) as progress:
        saving = Saving(
            args.out, sources, predictor, args.save, args.alpha, progress.note
        )
        stages = Stages()
        options = dict(every=args.every, smooth=args.smooth, rate=args.keep_rate)
        predictions = stream(
            predictor, sources, progress.problem, stages=stages, **options
        )
        drawn = stages.apply('draw', lambda p: (p, saving.draw(p)), predictions)
        with closing(drawn), closing(saving):
            for prediction, made in drawn:
                with stages.timed('write'):
                    saving.write(prediction.frame, made)
                if prediction.frame.video is not None:
                    flicker.see(prediction.frame.source, prediction.labels)
                progress.advance(prediction.frame)
                if stop.number or (args.show and not show(prediction, made)):
                    break
    if progress.count:
        progress.report(stages)
        for source, share in flicker.means().items():
            print(f'{source}: {100 * share:.2f} % of pixels change per frame.')
        if args.save:
            print(f'Saved in {args.out}: {", ".join(args.save)}')
        if saving.legend:
            saving.write_legend()
            print(f'What the colours mean: {saving.legend}')
    if failed := status(progress.count, progress.problems, stop.number):
        sys.exit(failed)


def print_note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def show(prediction: Prediction, made: dict) -> bool:
    """Show a picture in a window; return False when q or Escape is pressed."""
    import cv2

    cv2.imshow('prediction', made.get('overlay', prediction.image))
    return cv2.waitKey(1) & 0xFF not in (ord('q'), 27)


def status(count: int, problems: int, number: int) -> int:
    """Return the exit status, and say in a line what it means.

    Args:
        count: Number of frames that were predicted.
        problems: Number of sources and frames that were skipped.
        number: The signal that ended the run, or 0.
    """
    if problems:
        print_note(f'Skipped: {problems}, named above.')
    if number:
        print_note('Stopped by a signal; what was written is complete.')
        return 128 + number
    if not count:
        print_note('Nothing was predicted.')
        return MISTAKE
    return SOME_SKIPPED if problems else 0
