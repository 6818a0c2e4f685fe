"""Make the config of one run from a config file and the command line."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope

from mmseg_fastscnn.config.check import check_config
from mmseg_fastscnn.config.from_0x import is_0x, translate_0x
from mmseg_fastscnn.config.places import LOADERS
from mmseg_fastscnn.config.read import read_config
from mmseg_fastscnn.registry import SCOPE


def load_config(
    source: str | Path | Config,
    options: Mapping | None = None,
    data_root: str | None = None,
    work_dir: str | None = None,
    launcher: str = 'none',
) -> Config:
    """Read a config, apply what the command line says, and check it.

    mmsegmentation's 1.x configs are read as they are, its 0.x configs translated.

    Args:
        source: A config file; or a config, which is not changed.
        options: Dotted keys and values of `--cfg-options`.
        data_root: Folder that replaces the `data_root` of every data set.
        work_dir: Folder for results; by default `work_dir` of the config, or
            `work_dirs/` and the config's name.
        launcher: `none`, `pytorch`, `slurm` or `mpi`.

    Returns:
        The checked config, a copy of `source`.

    Raises:
        FileNotFoundError: There is no such file, or a base file is missing.
        ValueError: A file cannot be read as a config (see `read_config`), a key is
            unknown or a value does not fit (see `check_config`), an option leads
            nowhere, `data_root` is given and there is no data set, or the work dir is a
            file.
    """
    from_file = not isinstance(source, Config)
    config = read_config(source) if from_file else copy.deepcopy(source)
    if is_0x(config):
        from_file = False  # the keys of the file are other ones
        config = translated(config)
    if config.get('default_scope', 'mmseg') == 'mmseg':
        config.default_scope = SCOPE  # mmsegmentation 1.x: the same types are here
    init_default_scope(SCOPE)
    apply_options(config, options or {})
    check_config(config, options or (), from_file)
    if data_root is not None:
        move_data_sets(config, data_root)
    name = Path(config.filename or 'config').stem
    config.work_dir = work_dir or config.get('work_dir') or f'work_dirs/{name}'
    if Path(config.work_dir).is_file():
        raise ValueError(f'--work-dir {config.work_dir} is a file; name a folder.')
    config.launcher = launcher
    count_each_image_once(config)
    return config


def translated(config: Config) -> Config:
    """Translate a config of mmsegmentation 0.x, and log what is left out."""
    result, notes = translate_0x(config)
    name = config.filename or 'The config'
    print_log(f'{name} is of mmsegmentation 0.x and was translated.')
    for note in notes:
        print_log(f'  without a counterpart, and left out: {note}')
    return result


def apply_options(config: Config, options: Mapping) -> None:
    """Set dotted keys, as in `model.num_classes` or `model.auxiliary_head.0.channels`.

    A dict can be set where the config says None, which mmengine alone refuses.

    Raises:
        ValueError: A key leads into something that is neither dict nor list, or past
            the end of a list.
    """
    for key, value in options.items():
        parents = key.split('.') if isinstance(value, Mapping) else key.split('.')[:-1]
        replace_none(config, parents)
    try:
        # a copy, since merging takes `_delete_` out of the values
        config.merge_from_dict(copy.deepcopy(dict(options)))
    except (AttributeError, KeyError, TypeError) as error:
        given = ', '.join(f'{key}={value!r}' for key, value in options.items())
        raise ValueError(f'--cfg-options {given}: {error.args[0]}') from error


def replace_none(config: Config, keys: list[str]) -> None:
    """Put an empty dict where keys and list indices lead to or through None."""
    inside = config
    for key in keys:
        index = int(key) if isinstance(inside, list) and key.isdigit() else key
        try:
            if inside[index] is None:
                inside[index] = {}
            inside = inside[index]
        except (KeyError, IndexError, TypeError):
            return  # nothing is there: a new key, or an error that merging finds


def move_data_sets(config: Config, data_root: str) -> None:
    """Set `data_root` of every data set that reads files itself.

    Raises:
        ValueError: There is no such data set.
    """
    datasets = list(file_datasets(config))
    if not datasets:
        raise ValueError(
            f'{config.filename} has no data set that --data-root could move.'
        )
    for dataset in datasets:
        dataset.data_root = data_root


def count_each_image_once(config: Config) -> None:
    """Keep mmengine's sampler from repeating images to fill the last batch."""
    for loader in ('val_dataloader', 'test_dataloader'):
        sampler = (config.get(loader) or {}).get('sampler') or {}
        if sampler.get('type') == 'DefaultSampler':
            sampler.setdefault('round_up', False)


def all_datasets(config: Config, loaders: Iterable[str] = LOADERS) -> Iterator[dict]:
    """Yield the dict of each data set, of wrappers (`ConcatDataset`) and in these."""

    def inside(dataset: dict) -> Iterator[dict]:
        yield dataset
        for child in [*dataset.get('datasets', ()), dataset.get('dataset')]:
            if child:
                yield from inside(child)

    for loader in loaders:
        if config.get(loader) and config[loader].get('dataset'):
            yield from inside(config[loader].dataset)


def file_datasets(config: Config, loaders: Iterable[str] = LOADERS) -> Iterator[dict]:
    """Yield the dict of each data set that is no wrapper of others."""
    for dataset in all_datasets(config, loaders):
        if 'dataset' not in dataset and 'datasets' not in dataset:
            yield dataset


def change_test_pipelines(config: Config, change: Callable[[list], list]) -> None:
    """Change the pipelines of the test data; validation may have the same dict."""
    config.test_dataloader = copy.deepcopy(config.test_dataloader)
    for dataset in all_datasets(config, ['test_dataloader']):
        if 'pipeline' in dataset:
            dataset.pipeline = change(dataset.pipeline)


def require(config: Config, keys: Iterable[str], purpose: str) -> None:
    """Check that a config has what a command needs.

    Raises:
        ValueError: A key is missing or None.
    """
    for key in keys:
        if config.get(key) is None:
            raise ValueError(
                f'{config.filename} defines no {key}, which {purpose} needs; see '
                f'configs/_base_ for how the shipped configs do.'
            )


def use_tta(config: Config) -> None:
    """Make testing ms+flip: `tta_pipeline` on the data, `tta_model` round the model.

    Raises:
        ValueError: The config has no `tta_model`, `tta_pipeline` or test data.
    """
    require(config, ('tta_model', 'tta_pipeline', 'test_dataloader'), 'ms+flip')
    config.model = dict(config.tta_model, module=config.model)
    change_test_pipelines(config, lambda pipeline: config.tta_pipeline)
