"""Training with `torch.compile`: the same run, in files of the same form.

The network is traced and taken apart into operators, which PyTorch runs one by one
(`aot_eager`): to generate code for them takes minutes.
"""

import copy
import json
from pathlib import Path

import pytest
import torch
from conftest import TOY, run, small_run
from test_inference import small_model
from test_waits import batch

from mmseg_fastscnn.checkpoint import read_checkpoint
from mmseg_fastscnn.engine.amp import AmpOptimWrapper
from mmseg_fastscnn.engine.compiling import compile_networks


def losses_of(work_dir: Path) -> list[float]:
    (log,) = work_dir.glob('*/vis_data/2*.json')
    lines = map(json.loads, log.read_text().splitlines())
    return [line['loss'] for line in lines if 'loss' in line]


def test_a_compiled_run_is_the_run(streets, trained, tmp_path):
    run(
        'tools/train.py',
        TOY,
        *['--work-dir', tmp_path, '--data-root', streets, '--seed', 1, '--compile'],
        *[*small_run(), 'compile.backend=aot_eager'],
    )
    plain, _ = trained
    assert 'are compiled' in next(tmp_path.glob('*/*.log')).read_text()
    assert losses_of(tmp_path) == pytest.approx(losses_of(plain), rel=1e-4)
    ours, theirs = (
        read_checkpoint(folder / 'iter_4.pth')['state_dict']
        for folder in (tmp_path, plain)
    )
    assert list(ours) == list(theirs)


def test_mixed_precision_is_compiled_once():
    """On a CPU some layers are patched in each step, which must not undo it."""
    model = small_model().train()
    model.data_preprocessor.size = (64, 96)
    given = batch(labelled=True)
    plain, counters = copy.deepcopy(model), torch._dynamo.utils.counters
    compile_networks(model, dict(backend='aot_eager'))
    counters.clear()
    losses = {}
    for network in (plain, model):
        torch.manual_seed(0)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
        wrapper = AmpOptimWrapper(dtype='bfloat16', optimizer=optimizer)
        losses[network] = [
            network.train_step(given, wrapper)['loss'].item() for _ in range(2)
        ]
    assert counters['stats']['unique_graphs'] == 4  # the backbone and three heads
    assert losses[model] == pytest.approx(losses[plain], rel=0.01)
    copied = copy.deepcopy(model).for_inference()  # what a run validates with
    assert copied.backbone._compiled_call_impl is None


def test_a_compiler_that_fails_is_said():
    with pytest.raises(ValueError, match='compile is 5; it must be True, False or'):
        compile_networks(small_model(), 5)

    def fails(graph, inputs):
        raise RuntimeError('no g++')

    with pytest.raises(ValueError, match=r'does not work here .no g\+\+'):
        compile_networks(small_model(), dict(backend=fails))
