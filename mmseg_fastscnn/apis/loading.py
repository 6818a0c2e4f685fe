"""Build a model from a config and a checkpoint, as in mmsegmentation."""

from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from torch import nn

from mmseg_fastscnn.checkpoint import (
    leave_out_absent_heads,
    load_weights,
    read_checkpoint,
)
from mmseg_fastscnn.config import load_config, require
from mmseg_fastscnn.config.only_data import parse_config
from mmseg_fastscnn.datasets import SegDataset
from mmseg_fastscnn.datasets.metainfo import complete_metainfo
from mmseg_fastscnn.file_kinds import CHECKPOINTS, is_exported
from mmseg_fastscnn.machine import find_device, warn_of_slow_bfloat16
from mmseg_fastscnn.registry import DATASETS, MODELS


def init_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | None = None,
    cfg_options: dict | None = None,
    weights: str = 'ema',
    dtype: torch.dtype = torch.float32,
    cuda_graph: bool = False,
) -> nn.Module:
    """Build a segmentor and load its weights, ready for `inference_model`.

    Args:
        config, checkpoint, device, cfg_options, weights: See `load_model`.
        dtype: Type of the network's weights and activations, e.g. `torch.bfloat16`.
        cuda_graph: Run the network by a CUDA graph for each of the first eight shapes
            of inputs, which takes the time of launching its kernels away; more shapes
            run as without it. Needs a CUDA device.

    Returns:
        What `load_model` returns, with batch normalisation folded.

    Raises:
        FileNotFoundError, ValueError: See `load_model`; or `cuda_graph` on a CPU.
    """
    warn_of_slow_bfloat16(dtype)
    model = load_model(config, checkpoint, device, cfg_options, weights)
    return model.for_inference(dtype, cuda_graph)


def load_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | None = None,
    cfg_options: dict | None = None,
    weights: str = 'ema',
) -> nn.Module:
    """Build a segmentor and load its weights; it can be trained further.

    Args:
        config: A config, or the path of its file; or a checkpoint that holds its
            config, as training writes it, which is read without being run.
        checkpoint: A checkpoint file; without one the weights are random.
        device: Device of the model, e.g. 'cuda:1'; by default the best there is.
        cfg_options: Settings that change the config, by dotted key.
        weights: Which weights to load where the checkpoint has both: 'ema' (averaged)
            or 'raw' (trained).

    Returns:
        The model in evaluation mode, without auxiliary heads if the checkpoint has
        none. It has `cfg` and `dataset_meta` (`classes` and `palette`, from the
        checkpoint or else from the config's data set).

    Raises:
        FileNotFoundError: The config or the checkpoint does not exist.
        ValueError: The config or the checkpoint cannot be used (see `load_config`,
            `read_checkpoint` and `load_weights`), or there is no such device; or one
            of them is an exported file.
    """
    refuse_exported(config, checkpoint)
    if checkpoint is None and is_checkpoint(config):
        config, checkpoint = None, config
    content = None if checkpoint is None else read_checkpoint(checkpoint, weights)
    if config is None:
        config = embedded_config(content, checkpoint)
    config = load_config(config, cfg_options)
    require(config, ['model'], 'a model')
    init_default_scope(config.get('default_scope', 'mmseg_fastscnn'))
    model = MODELS.build(config.model)
    meta = {}
    if content is not None:
        leave_out_absent_heads(model, content['state_dict'])
        load_weights(model, content['state_dict'], strict=True, name=checkpoint)
        meta = content['meta'].get('dataset_meta') or {}
    model.cfg = config
    model.dataset_meta = meta if meta.get('classes') else metainfo_of(config)
    return revert_sync_batchnorm(model).to(find_device(device)).eval()


def is_checkpoint(source: str | Path | Config) -> bool:
    """Return whether `init_model` got a checkpoint in place of a config."""
    return not isinstance(source, Config) and Path(source).suffix in CHECKPOINTS


def refuse_exported(*sources: str | Path | Config | None) -> None:
    """Raise ValueError if `init_model` got an exported file: they are no modules."""
    for source in sources:
        if isinstance(source, str | Path) and is_exported(source):
            raise ValueError(
                f'{source} is an exported file, which needs no config and no torch: '
                f'mmseg_fastscnn.deploy.backends.Predictor({str(source)!r}) predicts '
                f'with it.'
            )


def config_in(checkpoint: str | Path) -> Config:
    """Return the config that a checkpoint file holds.

    Raises:
        FileNotFoundError, ValueError: See `read_checkpoint` and `embedded_config`.
    """
    return embedded_config(read_checkpoint(checkpoint), checkpoint)


def embedded_config(content: Mapping, path: str | Path) -> Config:
    """Return the config that a checkpoint holds.

    Raises:
        ValueError: It holds none, or one that is not only data (see `only_data.py`).
    """
    text = content['meta'].get('cfg')
    if not text:
        raise ValueError(
            f'{path} holds no config. Give the one that it was trained with, too: '
            f'test CONFIG {path}, predict {path} CONFIG IMAGE, init_model(CONFIG, '
            f'{str(path)!r}).'
        )
    return parse_config(text, f'The config in {path}')


def test_data_of(config: Config) -> dict:
    """Return the settings of the test data set, or of the first of several."""
    dataset = config.test_dataloader.dataset
    while 'datasets' in dataset or 'dataset' in dataset:
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    return dataset


def metainfo_of(config: Config) -> dict:
    """Return `classes` and `palette` of the test data, without opening a file."""
    dataset = test_data_of(config)
    kind = DATASETS.get(dataset['type']) or SegDataset
    return complete_metainfo(kind, dataset.get('metainfo'))
