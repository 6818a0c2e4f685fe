"""Which of mmengine's builders reads the dict at which place of a config.

Most dicts name a `type`, whose signature says what their other keys may be. This table
adds what the builder does with a dict: which keys it takes out before the class sees
the rest (`priority` of a hook), which arguments it passes itself, and who reads a dict
that has no `type`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import torch
from mmengine.dist import init_dist
from mmengine.evaluator import Evaluator
from mmengine.optim import OptimWrapper
from mmengine.runner import (
    EpochBasedTrainLoop,
    IterBasedTrainLoop,
    LogProcessor,
    Runner,
)
from mmengine.runner.loops import TestLoop, ValLoop
from mmengine.utils.dl_utils import set_multi_processing
from torch import distributed
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.utils.data import DataLoader

from mmseg_fastscnn.config.signatures import own_keys


@dataclass(frozen=True)
class Place:
    """How the dict at one place of a config is read.

    Attributes:
        reader: Who gets the dict if it names no `type`: the name of a type, a class, or
            a function.
        keys: All keys, if there is no signature that lists them.
        taken_out: Keys that the builder takes out before the class sees the rest.
        passed: Arguments that the builder passes itself, so that a config must not.
        instead_of_type: Keys that choose the class if there is no `type`.
        needs_type: Whether the dict cannot be built without a `type`.
        types: What `type` may be besides the names in the registries, and who then
            reads the dict; None stands for a reader without a signature.
    """

    reader: str | Callable | None = None
    keys: Collection[str] | None = None
    taken_out: Collection[str] = ()
    passed: Collection[str] = ()
    instead_of_type: Collection[str] = ()
    needs_type: bool = False
    types: Mapping[str, Callable | None] = field(default_factory=dict)


def of_class(taken_out: Collection[str] = (), passed: Collection[str] = ()) -> Place:
    """Return the place of a dict that must name its `type`."""
    return Place(taken_out=taken_out, passed=passed, needs_type=True)


def with_keys(*keys: str) -> Place:
    return Place(keys=set(keys))


LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
LOADER = Place(
    reader=DataLoader,
    taken_out={'num_batch_per_epoch', 'disable_subprocess_warning'},
)
PARTS_OF_LOADER = (
    *('dataset', 'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn'),
)
# Places of dicts that name a class and hold its arguments, as written in `PLACES`.
OF_A_CLASS = (
    *('.model', '.tta_model', 'model.data_preprocessor', 'backbone', 'decode_head'),
    *('auxiliary_head', 'loss_decode', 'act_cfg', 'conv_cfg', 'dw_act_cfg'),
    *(f'{name}.{part}' for name in LOADERS for part in PARTS_OF_LOADER),
    *('dataset', 'datasets', 'sampler', 'pipeline', 'transforms', '.tta_pipeline'),
    *('.test_pipeline', '.val_evaluator', '.test_evaluator', 'metrics'),
    *('.visualizer', 'vis_backends'),
)
LOOP_ARGUMENTS = {'runner', 'dataloader', 'evaluator'}
HOOK = of_class(taken_out={'priority'})

# By the last two keys of a path, or else by the last one. Items of a list have the
# place of the list. A leading dot means the top level, `*` any key.
PLACES: dict[str, Place] = {
    **dict.fromkeys(OF_A_CLASS, of_class()),
    **{f'.{name}': LOADER for name in LOADERS},
    '.train_cfg': Place(  # `train_loop` says who reads it
        passed=LOOP_ARGUMENTS, instead_of_type={'by_epoch'}
    ),
    '.val_cfg': Place(reader=ValLoop, passed=LOOP_ARGUMENTS),
    '.test_cfg': Place(reader=TestLoop, passed=LOOP_ARGUMENTS),
    '.custom_hooks': HOOK,
    'default_hooks.*': HOOK,
    '.param_scheduler': of_class(
        taken_out={'convert_to_iter_based', 'epoch_length'}, passed={'optimizer'}
    ),
    '.optim_wrapper': Place(
        reader=OptimWrapper, taken_out={'constructor', 'paramwise_cfg'}
    ),
    'optim_wrapper.optimizer': of_class(passed={'params'}),
    'optim_wrapper.clip_grad': Place(
        reader=clip_grad_norm_,
        passed={'parameters'},
        types={'norm': clip_grad_norm_, 'value': clip_grad_value_},
    ),
    'custom_keys.*': Place(),  # keys are parts of parameters' names
    '.auto_scale_lr': with_keys('enable', 'base_batch_size'),
    '.randomness': Place(reader=Runner.set_randomness),
    '.env_cfg': with_keys('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'),
    'env_cfg.mp_cfg': Place(reader=set_multi_processing, passed={'distributed'}),
    'env_cfg.dist_cfg': with_keys(  # mmengine reads the port for Slurm
        *(own_keys(init_dist).keys() - {'launcher'}),
        *own_keys(distributed.init_process_group),
        'port',
    ),
    '.log_processor': Place(reader=LogProcessor),
    '.compile': Place(reader=torch.compile, passed={'model'}),
    '.model_wrapper_cfg': Place(reader='MMDistributedDataParallel', passed={'module'}),
    'model.train_cfg': with_keys(),
    'norm_cfg': of_class(taken_out={'requires_grad'}),
    'init_cfg': of_class(taken_out={'override'}),
    'override': Place(taken_out={'name'}),
    # of ProfilerHook
    'on_trace_ready': Place(types={'log_trace': None, 'tb_trace': None}),
}

# mmengine adds these by itself, all but the last, which is mmsegmentation's.
DEFAULT_HOOKS = {
    *('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler'),
    *('checkpoint', 'visualization'),
}
# Keys that mmengine's DefaultOptimWrapperConstructor reads without a signature.
PARAMWISE_KEYS = {
    *('custom_keys', 'bypass_duplicate', 'bias_lr_mult', 'dcn_offset_lr_mult'),
    *('bias_decay_mult', 'norm_decay_mult', 'flat_decay_mult', 'dwconv_decay_mult'),
}


def place_of(path: tuple) -> Place:
    """Return how the dict at a path of keys and list indices is read."""
    names = ['', *(key for key in path if isinstance(key, str))]
    parent, last = names[-2:]
    for name in (f'{parent}.{last}', f'{parent}.*', last):
        if name in PLACES:
            return PLACES[name]
    return Place()


def must_be_dict(path: tuple) -> bool:
    """Return whether mmengine reads the value there, or each item, as a dict."""
    names = [key for key in path if isinstance(key, str)]
    return '.'.join(names[-2:]) in PLACES or names[:-1] == ['default_hooks']


def reader_of(settings: Mapping, path: tuple) -> str | Callable | None:
    """Return who reads a dict that names no `type`, None if this is not known."""
    if path == ('train_cfg',):
        return train_loop(settings)
    if path[0] in ('val_evaluator', 'test_evaluator') and 'metrics' in settings:
        return Evaluator
    return place_of(path).reader


def train_loop(settings: Mapping) -> Callable | None:
    """Return the loop that mmengine chooses by `by_epoch`."""
    if 'by_epoch' not in settings:
        return None
    return EpochBasedTrainLoop if settings['by_epoch'] else IterBasedTrainLoop
