"""The project's registries: a name in a config becomes a class of this package.

Each is a child of mmengine's registry of the same kind, so that a type we do not
define (`SGD`, `PolyLR`, `CheckpointHook`, ...) is found there. mmengine imports this
module by itself for configs with `default_scope = 'mmseg_fastscnn'`, and imports the
`locations` the first time a registry is asked for a type.
"""

from mmengine import registry as parent
from mmengine.registry import Registry

SCOPE = 'mmseg_fastscnn'


def _child(parent_registry: Registry, *locations: str) -> Registry:
    paths = [f'{SCOPE}.{location}' for location in locations]
    name = parent_registry.name
    return Registry(name, parent=parent_registry, scope=SCOPE, locations=paths)


MODELS = _child(parent.MODELS, 'models')
DATASETS = _child(parent.DATASETS, 'datasets')
TRANSFORMS = _child(parent.TRANSFORMS, 'datasets')
METRICS = _child(parent.METRICS, 'evaluation')
HOOKS = _child(parent.HOOKS, 'hooks', 'finetune')
OPTIM_WRAPPERS = _child(parent.OPTIM_WRAPPERS, 'amp')
RUNNERS = _child(parent.RUNNERS, 'runner')
WEIGHT_INITIALIZERS = _child(parent.WEIGHT_INITIALIZERS, 'checkpoint')

# We add nothing to these, but mmengine warns where a scope lacks one of its kinds.
for _parent in (
    parent.DATA_SAMPLERS,
    parent.EVALUATOR,
    parent.FUNCTIONS,
    parent.LOG_PROCESSORS,
    parent.LOOPS,
    parent.MODEL_WRAPPERS,
    parent.OPTIMIZERS,
    parent.OPTIM_WRAPPER_CONSTRUCTORS,
    parent.PARAM_SCHEDULERS,
    parent.VISBACKENDS,
    parent.VISUALIZERS,
):
    _child(_parent)
