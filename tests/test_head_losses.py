"""What a head makes of its losses, classes and channels."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope

from mmseg_fastscnn.models.decode_heads import FCNHead
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import IGNORED

init_default_scope('mmseg_fastscnn')
SIGMOID = dict(type='CrossEntropyLoss', use_sigmoid=True)


def head(classes: int = 3, **options) -> FCNHead:
    torch.manual_seed(0)
    return FCNHead(4, 4, classes, num_convs=0, concat_input=False, **options).eval()


@pytest.fixture
def batch():
    torch.manual_seed(0)
    label = torch.randint(0, 3, (2, 9, 11), dtype=torch.uint8)
    label[0, :3] = IGNORED
    return [torch.randn(2, 4, 4, 5)], label


def test_losses_of_one_name_are_added(batch):
    single = head(loss_decode=SIGMOID).loss(*batch)
    other = head(loss_decode=dict(type='DiceLoss')).loss(*batch)
    losses = [SIGMOID, dict(SIGMOID, loss_weight=2.0), dict(type='DiceLoss')]
    both = head(loss_decode=losses).loss(*batch)
    assert both.keys() == {'loss_ce', 'loss_dice', 'acc_seg'}
    torch.testing.assert_close(both['loss_ce'], 3 * single['loss_ce'])
    torch.testing.assert_close(both['loss_dice'], other['loss_dice'])


@MODELS.register_module()
class OwnLoss(torch.nn.Module):
    """A user's loss, with mmsegmentation's signature."""

    def __init__(self, loss_name: str = 'loss_own'):
        super().__init__()
        self.loss_name = loss_name

    def forward(self, pred, target, weight=None, ignore_index=255, **kwargs):
        return F.cross_entropy(pred, target, ignore_index=ignore_index)


def test_a_loss_of_the_user(batch):
    own = head(loss_decode=dict(type='OwnLoss')).loss(*batch)
    ce = dict(type='CrossEntropyLoss', avg_non_ignore=True)
    expected = head(loss_decode=ce).loss(*batch)
    torch.testing.assert_close(own['loss_own'], expected['loss_ce'])
    assert own['acc_seg'] == expected['acc_seg']


@pytest.mark.parametrize('kind', ['CrossEntropyLoss', 'TverskyLoss', 'OwnLoss'])
def test_a_loss_that_would_not_be_trained(kind):
    with pytest.raises(ValueError, match=r"loss_name='ce'.*set loss_name='loss_ce'"):
        head(loss_decode=dict(type=kind, loss_name='ce'))


def test_another_ignored_label(batch):
    """`ignore_index=k` counts as little as the ignored id itself."""
    features, label = batch
    losses = [dict(type='CrossEntropyLoss', avg_non_ignore=True)]
    losses += [dict(type='OhemCrossEntropy', min_kept=9), dict(type='LovaszLoss')]
    both = label.where(label != 1, 255)
    ours = head(loss_decode=losses, ignore_index=1).loss(features, label)
    expected = head(loss_decode=losses).loss(features, both)
    assert ours == expected
    assert ours['loss_ce'] != head(loss_decode=losses).loss(*batch)['loss_ce']


def test_two_classes_by_one_channel(batch):
    features, label = batch
    label = label.where(label != 2, 1)
    model = head(2, out_channels=1, loss_decode=SIGMOID)
    assert (model.out_channels, model.num_classes, model.threshold) == (1, 2, 0.3)
    result = model.loss(features, label)
    logits = F.interpolate(model(features), (9, 11), mode='bilinear')[:, 0]
    valid = label != 255
    expected = F.binary_cross_entropy_with_logits(
        logits[valid], label[valid].float(), reduction='sum'
    )
    torch.testing.assert_close(result['loss_ce'], expected / label.numel())
    for threshold in (0.3, 0.51):
        model = head(2, out_channels=1, threshold=threshold, loss_decode=SIGMOID)
        found = (logits.sigmoid() > threshold) == label
        accuracy = 100 * found[valid].float().mean()
        torch.testing.assert_close(model.loss(features, label)['acc_seg'], accuracy)


@pytest.mark.parametrize(
    'classes, options, message',
    [
        (2, dict(out_channels=1), 'CrossEntropyLoss is of a softmax'),
        (3, dict(out_channels=1, loss_decode=SIGMOID), 'out_channels=1 and num_cl'),
        (3, dict(out_channels=2), 'out_channels=2 and num_classes=3'),
        (2, dict(out_channels=1, threshold=1.3, loss_decode=SIGMOID), 'is 1.3; it is'),
        (2, dict(threshold=0.5), 'threshold=0.5 is for out_channels=1'),
        (300, {}, 'num_classes=300; it must be 1 to 255'),
        (None, {}, 'FCNHead has no num_classes'),
        (3, dict(loss_decode=[]), 'loss_decode is an empty list'),
    ],
)
def test_what_does_not_fit_together(classes, options, message):
    with pytest.raises(ValueError, match=message):
        head(classes, **options)
