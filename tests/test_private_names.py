"""Which private names of mmengine and torch the package uses, and that these exist."""

import ast
import inspect
from collections import defaultdict

import torch
from conftest import ROOT
from mmengine.optim import OptimWrapper
from mmengine.visualization import MLflowVisBackend, WandbVisBackend
from torch.utils.data import DataLoader

PACKAGE = ROOT / 'mmseg_fastscnn'
# file: {name: whose it is}; each has no public counterpart
USED = {
    'engine/amp.py': {'_clip_grad': OptimWrapper},
    'engine/compiling.py': {'_compiled_call_impl': torch.nn.Module},
    'engine/data_loaders.py': {'_iterator': DataLoader},
    'engine/log/backends.py': {
        '_wandb': WandbVisBackend,
        **dict.fromkeys(
            ('_artifact_location', '_exp_name', '_params', '_run_name', '_save_dir')
            + ('_tags', '_tracking_uri'),
            MLflowVisBackend,
        ),
    },
    'engine/bad_steps.py': {'_foreach_copy_': torch},
    'engine/muon.py': dict.fromkeys(
        ('_foreach_add_', '_foreach_clamp_min_', '_foreach_div', '_foreach_lerp')
        + ('_foreach_lerp_', '_foreach_mul_', '_foreach_norm'),
        torch,
    ),
    'engine/time_limit.py': dict.fromkeys(
        ('_accumulative_counts', '_max_counts', '_remainder_counts'), OptimWrapper
    ),
}


def test_private_names_of_mmengine_are_few_and_exist():
    own = {'_exit', '_replace', '_asdict'}  # these are public
    used = defaultdict(set)
    for path in PACKAGE.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.FunctionDef):
                own.add(node.name)
            elif isinstance(node, ast.Attribute) and is_private(node.attr):
                of_self = getattr(node.value, 'id', None) == 'self'
                if isinstance(node.ctx, ast.Store) and of_self:
                    own.add(node.attr)
                else:
                    used[path.relative_to(PACKAGE).as_posix()].add(node.attr)
    foreign = {file: names - own for file, names in used.items() if names - own}
    assert foreign == {file: set(names) for file, names in USED.items()}
    source = (ROOT / 'setup.py').read_text()
    assert "'mmengine>=0.10.7,<0.11'" in source  # the versions that have them
    for names in USED.values():
        for name, owner in names.items():
            assert hasattr(owner, name) or name in inspect.getsource(owner)


def is_private(name: str) -> bool:
    return name.startswith('_') and not name.startswith('__')
