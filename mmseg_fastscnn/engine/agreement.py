"""Whether all processes of a run have the same config, code, data and weights.

They take the same steps together, so one that differs would train another network, or
wait for ever. What may differ from machine to machine is where files are.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import shorten

import mmengine
import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import Hook
from torch import nn
from torch.utils.data import Dataset

import mmseg_fastscnn
from mmseg_fastscnn.config.source import dotted, leaves
from mmseg_fastscnn.datasets.parts import infos_of
from mmseg_fastscnn.engine.processes import ProcessesDiffer, all_processes, rank_list

PLACES = {'work_dir', 'data_root', 'packed', 'soft_labels', 'load_from'}  # of configs
ADDRESS = re.compile(r' at 0x[0-9a-f]+')  # of a function or an object in a config
SHOWN = 10  # differences that a message lists


def check_config_and_code(config: Config) -> None:
    """Compare config and code of all processes before anything is built.

    Raises:
        ProcessesDiffer: They are not the same everywhere.
    """
    if get_world_size() > 1:
        all_processes()  # which are known from here on, should one be missing
        check_same({**config_facts(config.to_dict()), **code_facts()})


class AgreementHook(Hook):
    """Compare data and weights of all processes before the first step.

    Raises:
        ProcessesDiffer: They are not the same everywhere.
    """

    priority = 'HIGHEST'

    def before_train(self, runner) -> None:
        data = {'training data': runner.train_dataloader}
        if runner.val_loop is not None:
            data['validation data'] = runner.val_dataloader
        self._compare(runner, data, {'iterations done': str(runner.iter)})

    def before_test(self, runner) -> None:
        self._compare(runner, {'test data': runner.test_dataloader}, {})

    def _compare(self, runner, loaders: dict, facts: dict[str, str]) -> None:
        if get_world_size() == 1:
            return
        for name, loader in loaders.items():
            facts[name] = describe_names(loader.dataset)
        check_same({**facts, 'weights at the start': digest_of_weights(runner.model)})


def check_same(facts: Mapping[str, str]) -> None:
    """Compare facts of all processes.

    Args:
        facts: What must be equal everywhere, by name.

    Raises:
        ProcessesDiffer: Some fact is not.
    """
    everyone = all_gather_object(dict(facts))
    names = dict.fromkeys(name for process in everyone for name in process)
    lines = []
    for name in names:
        values = [process.get(name, 'not set') for process in everyone]
        if len(set(values)) > 1:
            lines.append(f'  {name}: {", ".join(who_has_what(values))}')
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f'  and {len(lines) - SHOWN} further differences']
    if lines:
        raise ProcessesDiffer(
            'The processes of this run differ:\n'
            + '\n'.join(lines)
            + '\nStart all of them by the same command, with the same config, code, '
            'data and checkpoint.'
        )


def who_has_what(values: Sequence[str]) -> Iterator[str]:
    """Say for each value which ranks have it, and on which hosts."""
    for value in dict.fromkeys(values):
        ranks = [rank for rank, other in enumerate(values) if other == value]
        hosts = dict.fromkeys(all_processes()[rank].host for rank in ranks)
        on = shorten(', '.join(hosts), 60, placeholder=' ...')
        yield f'{shorten(value, 80, placeholder=" ...")} on {rank_list(ranks)} ({on})'


def config_facts(config: Mapping) -> dict[str, str]:
    """Return the settings of a config by their dotted names, without places."""
    return {
        dotted(path): ADDRESS.sub('', repr(value))
        for path, value in leaves(config)
        if PLACES.isdisjoint(path)
    }


def code_facts() -> dict[str, str]:
    """Return the versions of the code that a run depends on."""
    package = Path(mmseg_fastscnn.__file__).parent
    sources = hashlib.sha256()
    for path in sorted(package.rglob('*.py')):
        sources.update(path.relative_to(package).as_posix().encode())
        sources.update(path.read_bytes())
    ours = f'{mmseg_fastscnn.__version__}, sources {sources.hexdigest()[:8]}'
    return {
        'code of mmseg_fastscnn': ours,
        'version of torch': torch.__version__,
        'version of mmengine': mmengine.__version__,
    }


def describe_names(dataset: Dataset) -> str:
    """Return the number of samples, and a digest of the images' names in their order.

    Names are those below the image folder. A data set that lists no files has none.
    """
    names = hashlib.sha256()
    for info in infos_of(dataset):
        name = info.get('rel_path') or Path(info.get('img_path', '')).name
        names.update(f'{name}\n'.encode())
    return f'{len(dataset)} images, names {names.hexdigest()[:8]}'


def digest_of_weights(model: nn.Module) -> str:
    content = hashlib.sha256()
    for value in model.state_dict().values():
        content.update(value.cpu().flatten().view(torch.uint8).numpy())
    return content.hexdigest()[:8]
