"""Draw what the network gets in training: pictures of the first samples of a run.

Each shows the image with the window that the random crop took, what the network gets,
and that with its label. With the seed of a run on one device these are the samples of
that run, in its order.

Example: fastscnn browse_dataset fast_scnn_camvid.py --number 8
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from mmseg_fastscnn.commands import options


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    options.add_config(parser)
    options.add_data_root(parser)
    parser.add_argument(
        '--out',
        metavar='DIR',
        default='samples',
        help='folder of the pictures (default: %(default)s)',
    )
    parser.add_argument(
        '--number',
        type=int,
        metavar='N',
        default=20,
        help='how many samples (default: %(default)s)',
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of the run (default: %(default)s)'
    )
    args = parser.parse_args(words)
    if args.number < 1:
        parser.error(f'--number is {args.number}; it must be at least 1.')
    if args.seed < 0:
        parser.error(f'--seed is {args.seed}; it must be at least 0.')
    return args


def main(args: Namespace) -> None:
    from itertools import islice

    from mmseg_fastscnn.config import load_config, require
    from mmseg_fastscnn.registry import DATA_SAMPLERS, DATASETS, MODELS
    from mmseg_fastscnn.report.training_samples import training_samples
    from mmseg_fastscnn.results import ResultFolder, write_png

    config = load_config(args.config, args.cfg_options, args.data_root)
    require(config, ['train_dataloader', 'model'], 'browsing its training data')
    dataset = DATASETS.build(config.train_dataloader.dataset)
    given = dict(dataset=dataset, seed=args.seed)
    sampler = DATA_SAMPLERS.build(config.train_dataloader.sampler, default_args=given)
    settings = config.model.get('data_preprocessor') or dict(
        type='BaseDataPreprocessor'
    )
    order = islice(sampler, args.number)
    samples = training_samples(dataset, order, MODELS.build(settings))
    folder = ResultFolder(args.out)
    for k, (sample, picture) in enumerate(samples):
        # numbered, since an image may be drawn again
        write_png(folder.claim(sample, folder.written, f'.{k:04d}.png'), picture)
    print(f'Written: {args.out}, {len(folder.written)} pictures')
