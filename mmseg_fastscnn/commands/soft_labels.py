"""Write soft labels: what one or more teachers think of each training image.

A teacher is a checkpoint or an exported file that gives logits; of several, such as
those of three seeds, the mean is written. A student then learns from them at full
speed: see "Distillation" in docs/training.md.

Example: fastscnn soft_labels wide.pth fast_scnn_camvid.py --out soft_labels
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmseg_fastscnn.commands import options

if TYPE_CHECKING:
    from mmseg_fastscnn.datasets import SegDataset


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    parser.add_argument(
        'teachers', metavar='TEACHER', nargs='+', help='checkpoints or exported files'
    )
    options.add_config(parser)
    parser.add_argument('--out', required=True, metavar='DIR', help='folder to write')
    parser.add_argument(
        '--temperature',
        type=float,
        default=1.0,
        metavar='T',
        help='divide logits by it, of teacher and student (default: 1)',
    )
    parser.add_argument(
        '--top',
        type=int,
        default=8,
        metavar='K',
        help='keep the K most probable classes of each place (default: 8)',
    )
    parser.add_argument('--device', help='e.g. cuda:1 (default: the best there is)')
    options.add_data_root(parser)
    args = parser.parse_args(words)
    if not 0 < args.temperature < float('inf'):
        parser.error(f'--temperature is {args.temperature}; it must be over 0.')
    if args.top < 1:
        parser.error(f'--top is {args.top}; it must be 1 or more.')
    return args


def main(args: Namespace) -> None:
    from mmseg_fastscnn.commands.pack_dataset import file_data
    from mmseg_fastscnn.config import load_config, require
    from mmseg_fastscnn.deploy.backends import Predictor
    from mmseg_fastscnn.deploy.soft_labels import Teachers, write_soft_labels

    config = load_config(args.config, args.cfg_options, args.data_root)
    require(config, ['train_dataloader'], 'writing soft labels')
    datasets = [*file_data(config, 'train_dataloader', 'have soft labels', None)]
    classes = list(datasets[0].metainfo['classes'])
    predictors = {file: Predictor(file, device=args.device) for file in args.teachers}
    teachers = Teachers(predictors, classes, args.temperature)
    top = min(args.top, len(classes))
    kept = write_soft_labels(args.out, teachers, infos_by_name(datasets), top, print)
    print(
        f'Written: {args.out}. The {top} classes kept of {len(classes)} have '
        f'{100 * kept:.2f} % of the probability. To learn from them: '
        f'train_dataloader.dataset.soft_labels={args.out}, and a DistillationLoss in '
        f'model.decode_head.loss_decode.'
    )


def infos_by_name(datasets: Sequence[SegDataset]) -> dict[str, dict]:
    """Return what is known of each image, by its path below the image folder.

    Raises:
        ValueError: Two images have one name.
    """
    infos = {}
    for dataset in datasets:
        for k in range(len(dataset)):
            info = dataset.get_data_info(k)
            other = infos.setdefault(info['rel_path'], info)
            if other['img_path'] != info['img_path']:
                raise ValueError(
                    f'{other["img_path"]} and {info["img_path"]} have one name below '
                    f'their image folders. Write the soft labels of each data set to '
                    f'a folder of its own, with a config of that data set alone.'
                )
    return infos
