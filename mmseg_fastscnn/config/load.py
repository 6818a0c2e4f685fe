"""From a config file and the command line to the config of one run."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope

from mmseg_fastscnn.config.check import check_config
from mmseg_fastscnn.config.from_0x import is_0x, translate_0x
from mmseg_fastscnn.registry import SCOPE

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def load_config(
    path: str | Path,
    options: Mapping | None = None,
    data_root: str | None = None,
    work_dir: str | None = None,
    launcher: str = 'none',
) -> Config:
    """Read a config file and apply what the command line says.

    mmsegmentation's 1.x configs are read as they are, its 0.x configs translated.

    Args:
        path: The file.
        options: Dotted keys and values of `--cfg-options`.
        data_root: Where every data set of the config is moved to.
        work_dir: For results; default `work_dir` of the config, or `work_dirs/` and
            the config's name.
        launcher: `none`, `pytorch`, `slurm` or `mpi`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A key is read by nobody, or a value does not fit (`config_check`);
            `data_root` is given and there is no data set; the work dir is a file.
    """
    if not Path(path).is_file():
        beside = sorted(file.name for file in Path(path).parent.glob('*.py'))
        hint = difflib.get_close_matches(Path(path).name, beside, n=1)
        raise FileNotFoundError(
            f'The config {path} is no file'
            f'{f"; did you mean {hint[0]}?" if hint else ""}. Shipped ones are the .py '
            f'files in configs/fastscnn.'
        )
    config = Config.fromfile(str(path))
    translated = is_0x(config)
    if translated:
        config, notes = translate_0x(config)
        print_log(f'{path} is of mmsegmentation 0.x and was translated.')
        for note in notes:
            print_log(f'  without a counterpart, and left out: {note}')
    if config.get('default_scope', 'mmseg') == 'mmseg':
        config.default_scope = SCOPE  # mmsegmentation 1.x: the same types are here
    init_default_scope(SCOPE)
    options = dict(options or {})
    config.merge_from_dict(options)
    check_config(config, options, translated)
    if data_root is not None:
        datasets = list(all_datasets(config))
        if not datasets:
            raise ValueError(f'{path} has no data set that --data-root could move.')
        for dataset in datasets:
            if 'datasets' not in dataset and 'dataset' not in dataset:
                dataset.data_root = data_root
    default_dir = config.get('work_dir') or f'work_dirs/{Path(path).stem}'
    config.work_dir = work_dir or default_dir
    if Path(config.work_dir).is_file():
        raise ValueError(f'--work-dir {config.work_dir} is a file; name a folder.')
    config.launcher = launcher
    for loader in ('val_dataloader', 'test_dataloader'):
        sampler = config.get(loader, {}).get('sampler', {})
        if sampler.get('type') == 'DefaultSampler':
            sampler.setdefault('round_up', False)  # or some images count twice
    return config


def all_datasets(config: Config) -> Iterator[dict]:
    """Every data set's dict, those inside of others (`ConcatDataset`) included."""

    def inside(dataset: dict) -> Iterator[dict]:
        yield dataset
        for child in [*dataset.get('datasets', ()), dataset.get('dataset')]:
            if child:
                yield from inside(child)

    for loader in LOADERS:
        if config.get(loader):
            yield from inside(config[loader].dataset)


def use_tta(config: Config) -> None:
    """Make testing ms+flip: `tta_pipeline` on the data, `tta_model` round the model.

    Raises:
        ValueError: The config has no `tta_model` or no `tta_pipeline`.
    """
    if not (config.get('tta_model') and config.get('tta_pipeline')):
        raise ValueError(
            f'{config.filename} defines no tta_model and tta_pipeline; see '
            f'configs/_base_/datasets for how the shipped configs do.'
        )
    config.model = dict(config.tta_model, module=config.model)
    only_test = Config(dict(test_dataloader=config.test_dataloader))
    for dataset in all_datasets(only_test):
        if 'pipeline' in dataset:
            dataset.pipeline = config.tta_pipeline
    config.test_dataloader = only_test.test_dataloader
