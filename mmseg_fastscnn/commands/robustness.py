"""Evaluate models on corrupted images: noise, blur, fog, night, JPEG, brightness.

Each corruption has five strengths. The table gives mIoU relative to that on the clean
images, as the mean over the strengths; the page and the JSON file have each value.

Example: fastscnn robustness fast_scnn_camvid.py plain.pth new.pth
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from mmseg_fastscnn.commands import options
from mmseg_fastscnn.file_kinds import is_exported


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    options.add_config(parser)
    parser.add_argument(
        'models', metavar='MODEL', nargs='+', help='checkpoints or exported files'
    )
    parser.add_argument(
        '--images', type=int, metavar='N', help='use N of the test images, not all'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of noise and fog')
    parser.add_argument('--device', help='e.g. cuda:1 (default: the best there is)')
    parser.add_argument('--out', default='robustness', help='folder for the results')
    options.add_data_root(parser)
    args = parser.parse_args(words)
    if args.images is not None and args.images < 1:
        parser.error(f'--images is {args.images}; it must be 1 or more.')
    return args


def main(args: Namespace) -> None:
    from mmseg_fastscnn.config import load_config
    from mmseg_fastscnn.deploy.backends import Predictor
    from mmseg_fastscnn.deploy.description import check_classes
    from mmseg_fastscnn.deploy.labelled_images import LabelledImages
    from mmseg_fastscnn.deploy.robustness import all_mious
    from mmseg_fastscnn.report.robustness_page import table_lines, write_robustness
    from mmseg_fastscnn.results import check_may_write

    out = Path(args.out)
    for name in ('robustness.json', 'robustness.html'):
        check_may_write(out / name)
    config = load_config(args.config, args.cfg_options, args.data_root)
    images = LabelledImages(
        config, 'test_dataloader', args.images or 10**9, 'measuring robustness'
    )
    classes = images.dataset.metainfo['classes']
    predictors = {}  # all of them first: a wrong name must not cost an hour
    for file in args.models:
        own = None if is_exported(file) else config
        predictors[file] = Predictor(file, own, device=args.device)
        check_classes(file, predictors[file].classes, classes, 'test')
    mious = {}
    for file, predictor in predictors.items():
        print(file)
        mious[file] = all_mious(predictor, images, args.seed, print)
    for line in table_lines(mious):
        print(line)
    write_robustness(out, mious, args.config, args.seed, len(images))
    print(f'Written: {out}/robustness.html, {out}/robustness.json')
