"""The groups of parameters that an optimizer gets."""

from mmengine.optim import optimizer as parent
from torch import nn

from mmseg_fastscnn.engine.muon import MuonAdamW
from mmseg_fastscnn.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS

CLASSIFIER = 'conv_seg'  # the layer's name in every head


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DefaultOptimWrapperConstructor(parent.DefaultOptimWrapperConstructor):
    """mmengine's constructor of the same name, with one group for equal settings.

    For `paramwise_cfg` mmengine makes a group of each parameter, and an optimizer goes
    through the groups one by one: on a GPU it then starts its kernels 144 times.

    `MuonAdamW` leaves classifiers to AdamW, if `paramwise_cfg` does not say otherwise.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None):
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        kind = self.optimizer_cfg['type']
        kind = OPTIMIZERS.get(kind) if isinstance(kind, str) else kind
        self.is_muon = kind is MuonAdamW
        if self.is_muon and not self.paramwise_cfg:
            # mmengine's default; with nothing in `paramwise_cfg` it makes no groups
            self.paramwise_cfg = dict(bypass_duplicate=False)

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs
    ) -> None:
        """Add the groups of a module; of the whole model, those that are joined."""
        super().add_params(params, module, prefix, **kwargs)
        if prefix:
            return
        if self.is_muon:
            classifiers = {
                p for name, p in module.named_parameters() if CLASSIFIER in name
            }
            for group in params:
                if classifiers.issuperset(group['params']):
                    group.setdefault('muon', False)
        params[:] = joined(params)


def joined(groups: list[dict]) -> list[dict]:
    """Return groups of parameters with those of equal settings in one."""
    found: dict[str, dict] = {}
    for group in groups:
        settings = {key: value for key, value in group.items() if key != 'params'}
        first = found.setdefault(repr(settings), {**settings, 'params': []})
        first['params'] += group['params']
    return list(found.values())
