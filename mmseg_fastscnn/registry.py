"""The project's registries: a name in a config becomes a class of this package.

Each is a child of mmengine's registry of the same kind, so that a type we do not
define (`SGD`, `PolyLR`, `LoggerHook`, ...) is found there. mmengine itself imports this
module for configs with `default_scope = 'mmseg_fastscnn'`, and imports the modules of a
registry (its `locations`) when the registry is first asked for a type.
"""

from mmengine import registry as parent
from mmengine.registry import Registry

SCOPE = 'mmseg_fastscnn'


def _child(parent_registry: Registry, *locations: str) -> Registry:
    """Return a registry of this package, filled by the modules named."""
    paths = [f'{SCOPE}.{location}' for location in locations]
    name = parent_registry.name
    return Registry(name, parent=parent_registry, scope=SCOPE, locations=paths)


MODELS = _child(parent.MODELS, 'models')
DATASETS = _child(parent.DATASETS, 'datasets')
TRANSFORMS = _child(parent.TRANSFORMS, 'datasets')
DATA_SAMPLERS = _child(parent.DATA_SAMPLERS, 'datasets')
METRICS = _child(parent.METRICS, 'evaluation')
HOOKS = _child(
    parent.HOOKS,
    *('engine.hooks', 'engine.predictions', 'engine.class_weight_hook'),
    *('engine.checkpoints', 'engine.resume.run_state', 'engine.time_limit'),
)
OPTIM_WRAPPERS = _child(parent.OPTIM_WRAPPERS, 'engine.amp')
OPTIMIZERS = _child(parent.OPTIMIZERS, 'engine.muon')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    parent.OPTIM_WRAPPER_CONSTRUCTORS, 'engine.parameter_groups'
)
LOOPS = _child(parent.LOOPS, 'engine.loops')
RUNNERS = _child(parent.RUNNERS, 'engine.runner')
VISBACKENDS = _child(parent.VISBACKENDS, 'engine.log.files', 'engine.log.backends')
VISUALIZERS = _child(parent.VISUALIZERS, 'engine.predictions')
WEIGHT_INITIALIZERS = _child(parent.WEIGHT_INITIALIZERS, 'checkpoint.load')

# Nothing is added to the last five, but mmengine warns if a scope lacks a kind.
REGISTRIES = [
    *(MODELS, DATASETS, TRANSFORMS, DATA_SAMPLERS, METRICS, HOOKS, OPTIM_WRAPPERS),
    *(OPTIMIZERS, OPTIM_WRAPPER_CONSTRUCTORS, LOOPS, RUNNERS, VISBACKENDS),
    *(VISUALIZERS, WEIGHT_INITIALIZERS),
    _child(parent.EVALUATOR),
    _child(parent.FUNCTIONS),
    _child(parent.LOG_PROCESSORS),
    _child(parent.MODEL_WRAPPERS),
    _child(parent.PARAM_SCHEDULERS),
]

# Types of mmsegmentation that have no class here, and what to use instead. Models and
# data sets fill it in, and the config check, which may not import them, reads it.
COUNTERPARTS: dict[str, str] = {}
