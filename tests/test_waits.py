"""Neither a training step nor a prediction waits for a GPU.

There need not be one: `HOST` is renamed, so that every branch for other devices is
taken, and the operators that wait on CUDA are looked for. Only Triton's kernels are not
run by it; around them nothing is read. `benchmarks/operators.py` does the same with
tensors that have no values to be read.
"""

import sys

import pytest
import torch
from conftest import ROOT
from formulas import label_batch, labelled_samples
from mmengine.registry import init_default_scope
from test_inference import small_model
from test_segmentor import facts
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from mmseg_fastscnn.evaluation import IoUMetric
from mmseg_fastscnn.registry import MODELS

sys.path.insert(0, str(ROOT / 'benchmarks'))

import operators

init_default_scope('mmseg_fastscnn')
HOST = 'mmseg_fastscnn.ops.host.HOST'
# their results, or the shapes of these, are values that Python asks for
READS = ('_local_scalar_dense', 'nonzero', 'masked_select', 'equal', 'is_nonzero')
READS += ('unique_consecutive', '_unique2', 'bincount')
BUILT = 'lift_fresh'  # a tensor of Python's numbers, which a GPU has to be sent


class Waits(TorchDispatchMode):
    """The operators that would wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func).split('.')[1]
        masks = name.startswith(('index', '_index')) and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool
            for index in (args[1] if isinstance(args[1], list | tuple) else ())
        )
        if name in (*READS, BUILT) or masks:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def batch(labelled: bool) -> dict:
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    samples = [facts(ori_shape=(64, 96)) for _ in range(2)]
    if labelled:
        samples = labelled_samples(label_batch(2, 64, 96).byte())
    return dict(inputs=[image, image], data_samples=samples)


@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_a_training_step_waits_for_nothing(use_sigmoid, monkeypatch):
    settings = dict(use_sigmoid=use_sigmoid, avg_non_ignore=True)
    losses = {}
    for host in ('cpu', 'none'):
        monkeypatch.setattr(HOST, host)
        model = small_model().train()
        for head in (model.decode_head, *model.auxiliary_head):
            for loss in head.loss_decode:
                vars(loss).update(settings)
        model.data_preprocessor.size = (64, 96)
        torch.manual_seed(0)
        given = batch(labelled=True)
        for _ in range(2):  # in the first, what is kept is computed
            with Waits() as waits:
                data = model.data_preprocessor(given, training=True)
                total, _ = model.parse_losses(model(**data, mode='loss'))
                total.backward()
        losses[host] = total.item()
        # a CPU's values decide how the logarithms of a band are computed
        assert set(waits.found) == ({'_local_scalar_dense'} if host == 'cpu' else set())
    assert losses['none'] == pytest.approx(losses['cpu'], rel=1e-5)


@pytest.mark.parametrize('ignore_index', [255, 1])
@pytest.mark.parametrize('kind', ['DiceLoss', 'TverskyLoss', 'FocalLoss'])
def test_other_losses_wait_for_nothing(kind, ignore_index, monkeypatch):
    monkeypatch.setattr(HOST, 'none')
    options = {} if kind == 'FocalLoss' else dict(ignore_index=ignore_index)
    loss = MODELS.build(dict(type=kind, **options))
    logits, label = torch.randn(2, 3, 4, 5, requires_grad=True), label_batch(2, 9, 11)
    label = label.clamp(max=2).byte()
    for _ in range(2):
        with Waits() as waits:
            total, _ = loss.of_upsampled(logits, label)
            total.backward()
    assert waits.found == []


def test_validation_waits_once_for_all_images(monkeypatch):
    """On a CPU, bincount counts the same."""
    label, values = label_batch(3, 9, 11).byte(), {}
    pred = label.roll(1, 2).clamp(max=18)
    samples = [
        dict(pred_sem_seg=dict(data=p[None]), gt_sem_seg=dict(data=t[None]))
        for p, t in zip(pred, label, strict=True)
    ]
    for place in ('cpu', 'none'):
        monkeypatch.setattr(HOST, place)
        metric = IoUMetric()
        metric.dataset_meta = dict(classes=[f'c{k}' for k in range(19)])
        with Waits() as waits:
            metric.process({}, samples)
        assert waits.found == (['bincount'] * 3 if place == 'cpu' else [])
        values[place] = metric.evaluate(3)
    assert values['cpu'] == values['none']


@pytest.mark.parametrize(
    'ori_shape, test_cfg, padding',
    [
        ((64, 96), dict(mode='whole'), None),
        ((50, 70), dict(mode='whole'), dict(size_divisor=60)),
        ((64, 96), dict(mode='slide', crop_size=(64, 64), stride=(40, 40)), None),
    ],
)
def test_a_prediction_waits_for_nothing(ori_shape, test_cfg, padding, monkeypatch):
    """On a CPU, one interpolation looks up which of its cells are mixed."""
    torch.manual_seed(0)
    model, data = small_model(test_cfg=test_cfg), batch(labelled=False)
    model.data_preprocessor.test_cfg = padding or {}
    model.for_inference()
    tta = MODELS.build(dict(type='SegTTAModel', module=model))
    for sample in data['data_samples']:
        sample.set_metainfo(dict(ori_shape=ori_shape))
    views = {key: [value, value] for key, value in data.items()}
    labels = {}
    for host in ('cpu', 'none'):
        monkeypatch.setattr(HOST, host)
        with torch.no_grad():
            for _ in range(2):
                with Waits() as waits:
                    prepared = model.data_preprocessor(data)
                    one = model.predict(**prepared)[0].pred_sem_seg.data
                    several = tta.test_step(views)[0].pred_sem_seg.data
        labels[host] = torch.stack([one, several])
        if host == 'none':
            assert waits.found == []
    assert (labels['cpu'] == labels['none']).float().mean() > 0.9999


def test_few_operators_and_no_values_are_needed():
    """Of the whole network, with all that is round it."""
    step = operators.training_step(2, (64, 96))
    assert step.total.operators < 480
    assert step.parts['optimizer'].operators < 20
    assert operators.prediction(torch.float16, 1, (64, 96)).total.operators < 105
    network = operators.prediction(torch.float32, 1, (64, 96))
    model = operators.build_model().eval().for_inference()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, 64, 96, device='meta'))
    assert network.total.flops == counter.get_total_flops()


@pytest.mark.parametrize(
    'reads',
    [
        lambda x: x.sum().item(),
        lambda x: x.cpu(),
        lambda x: x[x > 0],
        lambda x: x.unique(),
        lambda x: x.nonzero(),
        lambda x: bool((x > 0).all()),
        lambda x: x.equal(x + 1),
        lambda x: x.masked_select(x > 0),
    ],
)
def test_a_wait_is_found(reads):
    with pytest.raises(operators.Waits), operators.Operators().of('anything'):
        reads(torch.empty(2, 3, device='meta'))
