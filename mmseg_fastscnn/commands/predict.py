"""Predict images, folders, videos and cameras, and save what was found.

MODEL is a checkpoint or an exported file (.onnx, .xml, .param); a checkpoint that
does not hold its config needs --config.

Example: fastscnn predict best_mIoU_iter_4000.pth drive.mp4 photos/ --out predictions
"""

from __future__ import annotations

import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmseg_fastscnn.deploy.formats import SAVED

if TYPE_CHECKING:
    from mmseg_fastscnn.deploy.stages import Stages
    from mmseg_fastscnn.deploy.stream import Prediction
    from mmseg_fastscnn.deploy.video import Flicker


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    parser.add_argument('model', help='checkpoint or exported file')
    parser.add_argument(
        'source',
        nargs='+',
        help='images, patterns, folders, videos, the number of a camera, the address '
        'of a stream, or - for a list of these, one per line, on the standard input',
    )
    parser.add_argument('--config', help='config of a checkpoint that has none inside')
    parser.add_argument(
        '--out', type=Path, default=Path('predictions'), help='folder of what is saved'
    )
    parser.add_argument(
        '--save', nargs='*', choices=SAVED, default=['overlay'], help='what to save'
    )
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
        default='fp32',
        help='of a checkpoint; exported files have their own',
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
    args = parser.parse_args(words)
    if not 0 <= args.alpha <= 1:
        parser.error(f'--alpha is {args.alpha}; it must be from 0 to 1.')
    if args.every < 1:
        parser.error(f'--every is {args.every}; it must be at least 1.')
    if args.keep_rate is not None and args.keep_rate <= 0:
        parser.error(f'--keep-rate is {args.keep_rate}; it must be above 0.')
    if args.keep_rate and 'probabilities' in args.save:
        parser.error(
            '--keep-rate changes the resolution from frame to frame; probabilities are '
            'saved without it.'
        )
    has_display = os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')
    if args.show and sys.platform == 'linux' and not has_display:
        parser.error('--show needs a display, and DISPLAY is not set.')
    return args


def main(args: Namespace) -> None:
    from mmseg_fastscnn.deploy.backends import Predictor
    from mmseg_fastscnn.deploy.saving import Saving
    from mmseg_fastscnn.deploy.sources import is_live
    from mmseg_fastscnn.deploy.stages import Stages
    from mmseg_fastscnn.deploy.stream import stream
    from mmseg_fastscnn.deploy.video import Flicker

    size = tuple(args.size) if args.size else None
    predictor = Predictor(
        args.model, args.config, size, args.device, precision=args.precision
    )
    problems: list[str] = []

    def tell(text: str) -> None:
        problems.append(text)
        print(text, file=sys.stderr, flush=True)

    saving = Saving(args.out, predictor, args.save, args.alpha, tell)
    stages = Stages(ahead=1 if any(map(is_live, args.source)) else 3)
    predictions = stream(
        predictor,
        args.source,
        tell,
        every=args.every,
        smooth=args.smooth,
        rate=args.keep_rate,
        stages=stages,
    )
    drawn = stages.apply('draw', lambda p: (p, saving.draw(p)), predictions)
    began, count, flicker = time.perf_counter(), 0, Flicker()
    try:
        for prediction, made in drawn:
            with stages.timed('write'):
                saving.write(prediction.frame, made)
            if prediction.frame.video is not None:
                flicker.see(prediction.labels)
            count += 1
            show_progress(count, began)
            if args.show and not show(prediction, made):
                break
    except KeyboardInterrupt:
        tell('Stopped by Ctrl-C; what was written so far is complete.')
    finally:
        saving.close()
    report(count, time.perf_counter() - began, stages, flicker, problems, args)


def show(prediction: Prediction, made: dict) -> bool:
    """Show a picture in a window; return False when q or Escape is pressed."""
    import cv2

    cv2.imshow('prediction', made.get('overlay', prediction.image))
    return cv2.waitKey(1) & 0xFF not in (ord('q'), 27)


def show_progress(count: int, began: float) -> None:
    """Keep one line on a terminal up to date."""
    if sys.stderr.isatty():
        rate = count / (time.perf_counter() - began)
        print(f'\r{count} frames, {rate:.1f} per second', end='', file=sys.stderr)


def report(
    count: int,
    seconds: float,
    stages: Stages,
    flicker: Flicker,
    problems: list[str],
    args: Namespace,
) -> None:
    """Print what was done, and how long each stage has worked."""
    print(f'\n{count} frames in {seconds:.1f} s: {count / seconds:.1f} per second')
    for name, spent in stages.seconds.items():
        print(f'  {name:<20}{1e3 * spent / max(count, 1):8.1f} ms per frame')
    if flicker.shares:
        print(f'{100 * flicker.mean:.2f} % of pixels change from frame to frame.')
        if 'overlay' in args.save:
            print('Videos are written without sound.')
    if args.save and count:
        print(f'Saved in {args.out}: {", ".join(args.save)}')
    if problems:
        print(f'{len(problems)} problems, named above.')
    if not count:
        sys.exit(1)
