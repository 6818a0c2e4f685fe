"""Check the data of a config, or of a folder of images and labels, before training.

Looks at every image and label: what cannot be read, ids outside of the label map,
images and videos that stand in two splits, classes that do not occur, sizes, mean and
deviation. Ends with exit status 1 if training could not work with this data.

Of a folder it finds out how it is to be read (LabelMe, COCO, YOLO, label images of any
kind), and writes into FOLDER.fastscnn, beside it: label PNGs drawn from polygons, lists
of the splits, the whole config of a run, and a picture of some images.

Example: fastscnn check photos --html report.html
"""

from __future__ import annotations

import json
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmseg_fastscnn.commands import options

if TYPE_CHECKING:
    from mmengine.config import Config

    from mmseg_fastscnn.datasets.doctor.examine import Report

CANNOT_WORK = 1  # exit status


def parse_args(parser: ArgumentParser, words: Sequence[str] | None) -> Namespace:
    parser.add_argument(
        'source', metavar='CONFIG|FOLDER', help='config file, or folder of a data set'
    )
    options.add_config_options(parser)
    options.add_data_root(parser)
    parser.add_argument(
        '--processes',
        type=int,
        metavar='N',
        help='how many processes look at files (default: one per core)',
    )
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='of a folder: where labels, lists, config and picture are written '
        '(default: FOLDER.fastscnn)',
    )
    parser.add_argument(
        '--config-out',
        metavar='FILE',
        help='of a folder: the config (default: in --out)',
    )
    parser.add_argument('--json', metavar='FILE', help='write the report as JSON')
    parser.add_argument(
        '--html', metavar='FILE', help='write the report as a page with pictures'
    )
    args = parser.parse_args(words)
    if args.processes is not None and args.processes < 1:
        parser.error(f'--processes is {args.processes}; it must be at least 1.')
    if Path(args.source).is_dir() and (args.cfg_options or args.data_root):
        parser.error('--cfg-options and --data-root need a config, not a folder.')
    if not Path(args.source).is_dir() and (args.out or args.config_out):
        parser.error('--out and --config-out need a folder, not a config.')
    if (
        args.json
        and args.html
        and Path(args.json).resolve() == Path(args.html).resolve()
    ):
        parser.error(f'--json and --html are both {args.json}; give them two files.')
    return args


def main(args: Namespace) -> None:
    """Run the command.

    Raises:
        SystemExit: With status 1 if training could not work with this data.
        ValueError, FileNotFoundError: The config or the folder cannot be used, or a
            file would be written over that this command did not write.
    """
    from mmseg_fastscnn.report.dataset_page import parts_of_page
    from mmseg_fastscnn.report.dataset_text import as_json, lines_of
    from mmseg_fastscnn.report.page import write_page
    from mmseg_fastscnn.results import DATA_PAGE, check_may_write
    from mmseg_fastscnn.writing import write_file

    written = list(filter(None, (args.json, args.html)))
    for path in written:
        check_may_write(Path(path))
    report = check(args)
    for line in lines_of(report):
        print(line)
    if args.json:
        content = json.dumps({'origin': DATA_PAGE} | as_json(report), indent=1)
        write_file(args.json, f'{content}\n'.encode())
    if args.html:
        write_page(args.html, parts_of_page(report))
    for path in written:
        print(f'Written: {path}')
    if not report.works:
        sys.exit(CANNOT_WORK)
    if Path(args.source).is_dir():
        print(f'Next: fastscnn train {shlex.quote(args.source)}')


def check(args: Namespace) -> Report:
    """Examine the data of a config or of a folder."""
    from mmseg_fastscnn.config import load_config

    if Path(args.source).is_dir():
        return check_folder(args)
    config = load_config(args.source, args.cfg_options, args.data_root)
    return examine_data(args, config)


def check_folder(args: Namespace) -> Report:
    """Find out how a folder is to be read, write its config, and examine the data."""
    from mmseg_fastscnn.config import load_config
    from mmseg_fastscnn.datasets.doctor.examine import Report
    from mmseg_fastscnn.engine.folder.choices import choose
    from mmseg_fastscnn.engine.folder.config import (
        config_name,
        folder_config,
        sizes_of,
        write_config,
    )
    from mmseg_fastscnn.engine.folder.own_data import read_own_data
    from mmseg_fastscnn.report.folder_picture import write_picture_of
    from mmseg_fastscnn.report.page import printable

    data = read_own_data(args.source, args.out, progress_bar())
    for line in data.lines():
        print(printable(line))
    sizes = sizes_of(data)
    if not data.can_train or not sizes:
        return Report(args.source, {}, data.findings())
    config = folder_config(data, choose(sizes))
    path = Path(args.config_out or data.out / config_name(data.folder))
    write_config(config, path)
    report = examine_data(args, load_config(path))
    report.source = args.source
    report.findings[:0] = data.findings()
    report.findings.sort(key=lambda found: not found.stops)
    picture = data.out / 'labels.jpg'
    write_picture_of(report, picture)
    if picture.exists():  # there is none if no image can be read
        print(f'Some images with their labels: {picture}')
    print(f'Config that reads this data: {path}')
    print()
    return report


def examine_data(args: Namespace, config: Config) -> Report:
    """Look at all files of a config's data sets."""
    from mmseg_fastscnn.cores import cores_per_process
    from mmseg_fastscnn.datasets.doctor.examine import examine

    splits, mean_and_std = splits_of(config), mean_and_std_of(config)
    processes = args.processes or cores_per_process()
    return examine(args.source, splits, mean_and_std, processes, progress_bar())


def progress_bar() -> Callable[[int, int], None] | None:
    """Return a function that shows how much is done; None if nobody would see it."""
    from mmengine.utils import ProgressBar

    if not sys.stderr.isatty():
        return None
    bar: list[ProgressBar] = []

    def progress(done: int, total: int) -> None:
        if not bar:
            bar.append(ProgressBar(total, file=sys.stderr))
        bar[0].update()
        if done == total:
            print(file=sys.stderr)

    return progress


def splits_of(config: Config) -> dict[str, list]:
    """Build the data sets of a config's loaders, those inside of wrappers one by one.

    The test data is left out where it is the validation data, as in most configs.

    Raises:
        ValueError: The config has no data set, or a setting of one does not fit it.
    """
    from mmseg_fastscnn.config import file_datasets

    settings = {
        name: list(file_datasets(config, [f'{name}_dataloader']))
        for name in ('train', 'val', 'test')
        if config.get(f'{name}_dataloader')
    }
    if not settings:
        raise ValueError(
            f'{config.filename} has no train_dataloader, val_dataloader or '
            f'test_dataloader, so there is no data to check.'
        )
    if files_of(settings.get('test')) == files_of(settings.get('val')):
        settings.pop('test', None)
    return {name: [build(one) for one in several] for name, several in settings.items()}


def files_of(settings: list | None) -> list | None:
    """Return the settings of data sets without their pipelines, which read no files."""
    if settings is None:
        return None
    return [{k: v for k, v in one.items() if k != 'pipeline'} for one in settings]


def build(settings: dict) -> object:
    """Build a data set that is not listed yet, without a packed copy."""
    from mmseg_fastscnn.datasets import SegDataset
    from mmseg_fastscnn.registry import DATASETS

    if issubclass(DATASETS.get(settings['type']), SegDataset):
        settings = {k: v for k, v in settings.items() if k != 'packed'}
        settings['lazy_init'] = True
    return DATASETS.build(settings)


def mean_and_std_of(config: Config) -> tuple[list, list] | None:
    """Return mean and deviation of a config's data preprocessor, as for BGR images."""
    settings = (config.get('model') or {}).get('data_preprocessor') or {}
    if not settings.get('mean') or not settings.get('std'):
        return None
    values = (list(settings['mean']), list(settings['std']))
    if settings.get('bgr_to_rgb') and len(values[0]) == 3:
        values = (values[0][::-1], values[1][::-1])
    return values
