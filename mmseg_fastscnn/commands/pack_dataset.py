"""Write the decoded copy of a data set, from which training reads random windows.

Training then runs at full speed from its start; without this tool it writes the copy
during its first epoch. The copy takes 4 bytes per pixel: 23 GiB for Cityscapes' 2,975
training images.

Example: fastscnn pack_dataset fast_scnn_camvid.py packed/camvid
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from mmseg_fastscnn.commands import options

if TYPE_CHECKING:
    from mmengine.config import Config

    from mmseg_fastscnn.datasets import SegDataset


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    options.add_config(parser)
    parser.add_argument('folder', help='of the copy; several data sets can share it')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    options.add_data_root(parser)
    return parser.parse_args(words)


def main(args: Namespace) -> None:
    from mmseg_fastscnn.config import load_config, require

    config = load_config(args.config, args.cfg_options, args.data_root)
    name = f'{args.split}_dataloader'
    require(config, [name], f'--split {args.split}')
    for dataset in file_data(config, name, 'be packed', args.folder):
        pack(dataset)
    print(
        f'To train from it: packed={args.folder!r} in the data set of the config, or '
        f'--cfg-options {name}.dataset.packed={args.folder}.'
    )


def file_data(
    config: Config, loader: str, purpose: str, packed: str | None
) -> Iterator[SegDataset]:
    """Build the data sets of a loader for a purpose that needs image files.

    Raises:
        ValueError: There is a data set of another kind.
    """
    from mmengine.registry import init_default_scope

    from mmseg_fastscnn.config import file_datasets
    from mmseg_fastscnn.datasets import SegDataset
    from mmseg_fastscnn.registry import DATASETS

    init_default_scope(config.get('default_scope', 'mmseg_fastscnn'))
    for settings in file_datasets(config, [loader]):
        if not issubclass(DATASETS.get(settings['type']), SegDataset):
            raise ValueError(
                f'{settings["type"]} cannot {purpose}; only data sets of image and '
                f'label files can.'
            )
        yield DATASETS.build(dict(settings, packed=packed))


def pack(dataset: SegDataset) -> None:
    """Write every sample, decoding in one thread per core."""
    from mmseg_fastscnn.cores import cores_per_process

    total = len(dataset)
    with ThreadPoolExecutor(cores_per_process()) as pool:
        infos = (dataset.get_data_info(k) for k in range(total))
        for done, _ in enumerate(pool.map(dataset.packed.read, infos), start=1):
            if done % 100 == 0 or done == total:
                print(f'{done} of {total} images')
    print(f'Written: {dataset.packed.folder}')
