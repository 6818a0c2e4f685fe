"""The same seed twice is the same run, and no operator of a step stands against it."""

import os
import re
from functools import partial
from types import FunctionType

import pytest
import torch
import torch.nn.functional as F
from conftest import TOY
from formulas import label_batch, labelled_samples
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import init_default_scope
from test_inference import small_model
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmseg_fastscnn.config import load_config
from mmseg_fastscnn.engine.amp import AmpOptimWrapper
from mmseg_fastscnn.engine.runner import SegRunner
from mmseg_fastscnn.models.decode_heads import upsampled_form
from mmseg_fastscnn.models.head_losses import loss_at_full_size
from mmseg_fastscnn.models.photometric import PhotometricDistortion
from mmseg_fastscnn.registry import MODELS

init_default_scope('mmseg_fastscnn')
# Torch's list of operations that fail on CUDA if only deterministic ones are allowed,
# and, as patterns, the operators of ATen that each of them means.
FAILS = {
    'torch.nn.AvgPool3d': 'avg_pool3d_backward',
    'torch.nn.AdaptiveAvgPool2d': '_adaptive_avg_pool2d_backward',
    'torch.nn.AdaptiveAvgPool3d': '_adaptive_avg_pool3d_backward',
    'torch.nn.AdaptiveMaxPool2d': 'adaptive_max_pool2d_backward',
    'torch.nn.FractionalMaxPool2d': 'fractional_max_pool2d_backward',
    'torch.nn.FractionalMaxPool3d': 'fractional_max_pool3d_backward',
    'torch.nn.MaxPool3d': 'max_pool3d_with_indices_backward',
    'torch.nn.MaxUnpool1d': 'max_unpool2d',
    'torch.nn.MaxUnpool2d': 'max_unpool2d',
    'torch.nn.MaxUnpool3d': 'max_unpool3d',
    'torch.nn.functional.interpolate': r'_?upsample_(?!nearest)\w+_backward',
    'torch.nn.ReflectionPad1d': 'reflection_pad1d_backward',
    'torch.nn.ReflectionPad2d': 'reflection_pad2d_backward',
    'torch.nn.ReflectionPad3d': 'reflection_pad3d_backward',
    'torch.nn.ReplicationPad1d': 'replication_pad1d_backward',
    'torch.nn.ReplicationPad2d': 'replication_pad2d_backward',
    'torch.nn.ReplicationPad3d': 'replication_pad3d_backward',
    'torch.nn.NLLLoss': r'nll_loss\w*',
    'torch.nn.CTCLoss': r'_ctc_loss_backward',
    'torch.nn.EmbeddingBag': r'_embedding_bag\w*_backward',
    'torch.Tensor.put_': 'put_?',
    'torch.histc': 'histc',
    'torch.bincount': 'bincount, with weights',
    'torch.kthvalue': 'kthvalue',
    'torch.median': '(nan)?median, with indices',
    'torch.nn.functional.grid_sample': r'grid_sampler_\w+_backward',
    'torch.cumsum': 'cumsum_?, of floats',
    'torch.Tensor.scatter_reduce': r'scatter_reduce_?',
    'torch.Tensor.resize_': 'resize_, quantized',
}
UNLISTED = {'torch.kthvalue'}  # its CUDA kernel fails as well


def listed() -> set[str]:
    """The operations of that list in the documentation of the torch installed."""
    text = torch.use_deterministic_algorithms.__doc__
    text = re.search(r'operations will throw a(.*?)\n *In addition', text, re.S)[1]
    return set(re.findall(r'\* :\w+:`([\w.]+)`', text)) | UNLISTED


def described(func, args, kwargs) -> str:
    """Name an operator, and say what decides whether it is meant."""
    name = func.overloadpacket.__name__
    tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
    weights = len(tensors) > 1 or kwargs.get('weights') is not None
    if name == 'bincount' and weights:
        return f'{name}, with weights'
    if name in ('median', 'nanmedian') and func._overloadname != 'default':
        return f'{name}, with indices'
    if name in ('cumsum', 'cumsum_') and tensors[0].dtype.is_floating_point:
        return f'{name}, of floats'
    if name == 'resize_' and tensors[0].is_quantized:
        return f'{name}, quantized'
    return name


class Operators(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.found.add(described(func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))

    @property
    def failing(self) -> set[str]:
        """Those of `found` that fail on CUDA."""
        meant = re.compile('|'.join(FAILS[name] for name in listed()))
        return {name for name in self.found if meant.fullmatch(name)}


# torch's own code, but for the question that calls a mode instead
INTERPOLATE = FunctionType(
    F.interpolate.__code__,
    {**vars(F), 'has_torch_function_unary': lambda tensor: False},
    argdefs=F.interpolate.__defaults__,
)


class AsOnCuda(TorchFunctionMode):
    """Tensors say that they are on CUDA, also in `F.interpolate`."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.Tensor.is_cuda.__get__, torch.Tensor.is_cpu.__get__):
            return func is torch.Tensor.is_cuda.__get__
        if func is F.interpolate:
            with self:  # a mode is off while it is asked
                return INTERPOLATE(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@pytest.fixture
def as_on_cuda(monkeypatch):
    monkeypatch.setattr('mmseg_fastscnn.ops.host.HOST', 'none')
    monkeypatch.setattr(
        'mmseg_fastscnn.ops.upsample_loss.triton_works', lambda device: False
    )
    torch.use_deterministic_algorithms(True)
    with AsOnCuda(), Operators() as operators:
        yield operators
    torch.use_deterministic_algorithms(False)


def test_the_list_of_torch_is_known():
    assert len(listed()) > 15
    assert listed() <= set(FAILS)  # a new one needs its operator


def test_an_operation_of_the_list_is_found(as_on_cuda):
    x = torch.rand(1, 1, 6, 6, requires_grad=True)
    F.adaptive_avg_pool2d(x, 4).sum().backward()
    F.nll_loss(torch.rand(2, 3), torch.tensor([0, 1]))
    x.flatten().cumsum(0), torch.ones(3).bool().cumsum(0), x.flatten().kthvalue(3)
    found = {'_adaptive_avg_pool2d_backward', 'nll_loss_forward', 'cumsum, of floats'}
    assert as_on_cuda.failing == {*found, 'kthvalue'}


def test_the_gradient_of_an_interpolation_is_deterministic_on_request(as_on_cuda):
    """Without the request it is the operator of the list."""
    for deterministic in (True, False):
        torch.use_deterministic_algorithms(deterministic)
        x = torch.rand(1, 1, 3, 3, requires_grad=True)
        F.interpolate(x, (5, 5), mode='bilinear').sum().backward()
        expected = set() if deterministic else {'upsample_bilinear2d_backward'}
        assert as_on_cuda.failing == expected


def test_no_operator_of_a_training_step_fails(as_on_cuda):
    """Photometric, AMP, network, losses, gradient clipping, optimizer, EMA."""
    model = small_model().train()
    model.data_preprocessor.size = (64, 96)
    model.data_preprocessor.photometric = PhotometricDistortion()
    average = ExponentialMovingAverage(model)
    wrapper = AmpOptimWrapper(
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        clip_grad=dict(max_norm=1.0),
    )
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    samples = labelled_samples(label_batch(2, 64, 96).byte())
    for _ in range(2):
        with wrapper.optim_context(model):
            given = dict(inputs=[image, image], data_samples=samples)
            data = model.data_preprocessor(given, training=True)
            total, _ = model.parse_losses(model(**data, mode='loss'))
        wrapper.update_params(total)
        average.update_parameters(model)
    assert {'convolution_backward', 'native_batch_norm_backward'} <= as_on_cuda.found
    assert as_on_cuda.failing == set()


WEIGHT = [0.5, 2.0, 1.0]
LOSSES = [
    dict(type='CrossEntropyLoss'),
    dict(type='CrossEntropyLoss', class_weight=WEIGHT, avg_non_ignore=True),
    dict(type='CrossEntropyLoss', use_sigmoid=True, class_weight=WEIGHT),
    dict(type='OhemCrossEntropy', class_weight=WEIGHT, min_kept=9),
    dict(type='FocalLoss', class_weight=WEIGHT),
    dict(type='DiceLoss'),
    dict(type='TverskyLoss'),
    dict(type='LovaszLoss'),
    dict(type='LovaszLoss', per_image=True),
]


@pytest.mark.parametrize('sampled', [False, True])
def test_no_operator_of_a_loss_fails(sampled, as_on_cuda):
    """In bands and at full size."""
    for config in LOSSES[: 3 if sampled else None]:
        loss = MODELS.build(config)
        label = label_batch(2, 24, 24, num_classes=3).byte()
        options = {}
        if sampled:
            sampler = MODELS.build(dict(type='OHEMPixelSampler', min_kept=9))
            logits = torch.randn(2, 3, 6, 6)
            options['counted'], _ = sampler.sample(logits, label, [loss])
        for form in (upsampled_form(loss), partial(loss_at_full_size, loss, None)):
            logits = torch.randn(2, 3, 6, 6, requires_grad=True)
            form(logits, label, False, **options)[0].backward()
            assert as_on_cuda.failing == set(), config


def test_the_same_seed_twice_is_the_same_run(streets, tmp_path, monkeypatch):
    """With random views, colours, dropout and a loading worker."""
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG', raising=False)
    weights = []
    for name in 'ab':
        options = {
            'train_cfg.max_iters': 2,
            'train_dataloader.batch_size': 2,
            'train_dataloader.num_workers': 1,
            'train_dataloader.dataset.pipeline.2.scale': (128, 64),
            'train_dataloader.dataset.pipeline.3.crop_size': (64, 128),
            'model.data_preprocessor.size': (64, 128),
            'randomness': dict(seed=3, deterministic=True),
            **dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator')),
        }
        config = load_config(TOY, options, str(streets), str(tmp_path / name))
        try:
            model = SegRunner.from_cfg(config).train()
        finally:
            torch.use_deterministic_algorithms(False)
        weights.append(model.state_dict())
    assert os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':4096:8'  # which CUDA asks for
    for name, one in weights[0].items():
        assert torch.equal(one, weights[1][name]), name
