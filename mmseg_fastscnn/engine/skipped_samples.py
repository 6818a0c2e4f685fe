"""`tools/train.py --skip-bad`: train without the samples that cannot be read."""

from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from mmseg_fastscnn.config import file_datasets
from mmseg_fastscnn.datasets import SegDataset
from mmseg_fastscnn.datasets.bad_samples import json_lines
from mmseg_fastscnn.registry import DATASETS, HOOKS

NAME = 'skipped_samples.jsonl'  # in the work dir


def skip_bad_samples(config: Config, limit: int) -> None:
    """Let a run leave out some training samples, and list them when it ends.

    The list of an earlier run is removed, unless this run goes on with that one. Each
    process does so before it joins the others, so before any of them reads a sample.

    Args:
        config: From `load_config`; it is changed.
        limit: How many different samples may be left out.

    Raises:
        ValueError: A training data set cannot leave out samples.
    """
    file = Path(config.work_dir, NAME)
    for dataset in file_datasets(config, ['train_dataloader']):
        if not issubclass(DATASETS.get(dataset['type']), SegDataset):
            raise ValueError(
                f'--skip-bad: {dataset["type"]} cannot leave out samples; only data '
                f'sets of image and label files can.'
            )
        dataset.skip_bad = dict(limit=limit, file=str(file))
    hooks = [*(config.get('custom_hooks') or ()), dict(type='SkippedSamplesHook')]
    config.custom_hooks = hooks
    if not config.get('resume'):
        file.unlink(missing_ok=True)


@HOOKS.register_module()
class SkippedSamplesHook(Hook):
    """Log which samples were left out, when training ends."""

    def after_train(self, runner) -> None:
        entries = json_lines(Path(runner.work_dir, NAME))
        if entries and is_main_process():
            images = {entry['image']: entry['reason'] for entry in entries}
            lines = '\n  '.join(images.values())
            runner.logger.warning(
                f'{len(images)} samples were left out, since they cannot be read '
                f'(listed in {Path(runner.work_dir, NAME)}):\n  {lines}'
            )
