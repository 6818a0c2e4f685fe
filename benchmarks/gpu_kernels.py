"""Steps of `gpu.py` that hold the losses and the label map against float64.

Each returns how many cases there were and the largest difference; one that is too large
is an `AssertionError`, and the row says of which case.
"""

from itertools import product

import torch
import torch.nn.functional as F
from gpu_steps import Setting
from torch import Tensor

from mmseg_fastscnn.models.decode_heads import upsampled_form
from mmseg_fastscnn.ops.has_triton import triton_works
from mmseg_fastscnn.ops.upsample_argmax import upsample_argmax
from mmseg_fastscnn.ops.upsample_loss import (
    UpsampleCrossEntropy,
    upsample_cross_entropy,
)
from mmseg_fastscnn.registry import MODELS
from mmseg_fastscnn.structures import IGNORED

# (h, w) of logits and of labels: by 8 and by 32, odd, shrinking, a single column
SIZES = [((8, 16), (64, 128)), ((2, 4), (64, 128)), ((13, 21), (97, 161))]
SIZES += [((9, 7), (5, 4)), ((3, 4), (3, 1)), ((16, 32), (33, 300))]
CLASSES = (1, 2, 19, 256)
# how far a gradient of such a type may be from the exact one, of the largest
ROUNDING = {torch.float32: 2e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3}
LOSSES = [
    dict(type='OhemCrossEntropy', min_kept=200),
    dict(type='OhemCrossEntropy', class_weight=[0.5, 2.0, 1.0], min_kept=200),
    dict(type='FocalLoss', class_weight=[0.5, 2.0, 1.0]),
    dict(type='DiceLoss'),
    dict(type='TverskyLoss'),
    dict(type='LovaszLoss'),
    dict(type='LovaszLoss', per_image=True),
]


class Worst:
    """The number of cases and the largest difference, which is checked as it comes."""

    def __init__(self):
        self.cases, self.largest = 0, 0.0

    def see(self, difference: float, allowed: float, what: object) -> None:
        # in this direction a difference that is not a number fails
        assert difference <= allowed, f'{what}: {difference:.3g} is over {allowed:g}'
        self.cases += 1
        self.largest = max(self.largest, float(difference))

    def row(self, **more) -> dict:
        return dict(cases=self.cases, largest=self.largest, **more)


def require_triton(at: Setting) -> None:
    if at.device == 'cuda':
        assert triton_works(torch.device('cuda')), 'Triton does not work here'


def some_logits(classes: int, shape: tuple[int, int], dtype=torch.float32) -> Tensor:
    torch.manual_seed(classes)
    return (4 * torch.randn(2, classes, *shape)).to(dtype)


def some_labels(classes: int, size: tuple[int, int]) -> Tensor:
    """(2, H, W) uint8 with ignored rows; 255 stays ignored with 256 classes, too."""
    label = torch.randint(0, min(classes, IGNORED), (2, *size), dtype=torch.uint8)
    label[0, ::5] = IGNORED
    return label


def exact_upsampled(logits: Tensor, size: tuple, align_corners: bool) -> Tensor:
    return F.interpolate(
        logits.double(), size, mode='bilinear', align_corners=align_corners
    )


def label_map(at: Setting) -> dict:
    """Each pixel's label has the largest logit, computed in float64."""
    require_triton(at)
    worst = Worst()
    cases = list(product(CLASSES, SIZES, (False, True), ROUNDING))
    for case in cases[::7] if at.quick else cases:
        classes, (shape, size), align, dtype = case
        logits = some_logits(classes, shape, dtype)
        found = upsample_argmax(logits.to(at.device), [size], align).cpu()
        exact = exact_upsampled(logits, size, align)
        chosen = exact.gather(1, found.long()[:, None])
        worst.see(float((exact.amax(1, True) - chosen).max()), 2e-5, case)
    return worst.row()


def cross_entropy(at: Setting) -> dict:
    """Value, correct pixels and gradient, against the plain form and float64."""
    require_triton(at)
    worst = Worst()
    for case in loss_cases(at):
        classes, (shape, size), align, dtype, sigmoid, weighted = case
        logits, label = some_logits(classes, shape, dtype), some_labels(classes, size)
        weight = torch.rand(classes) + 0.5 if weighted else None
        expected = exact_cross_entropy(logits, label, sigmoid, weight, align)
        given = (at.device, logits, label, sigmoid, weight, align)
        found = with_gradient(upsample_cross_entropy, *given)
        compare_loss(worst, found, expected, dtype, case)
        if at.device == 'cuda':
            plain = with_gradient(UpsampleCrossEntropy.apply, *given)
            compare_loss(worst, found, plain, dtype, ('plain form', *case))
    ignored = torch.full((2, 64, 128), IGNORED, dtype=torch.uint8)
    given = (at.device, some_logits(19, (8, 16)), ignored, False, None, False)
    value, correct, gradient = with_gradient(upsample_cross_entropy, *given)
    worst.see(abs(value) + correct + float(gradient.abs().max()), 0, 'all ignored')
    return worst.row()


def loss_cases(at: Setting) -> list[tuple]:
    """All forms in float32, of 256 classes the small sizes only; some in 16 bits."""
    both = (False, True)
    cases = list(product(CLASSES, SIZES, both, [torch.float32], both, both))
    cases = [case for case in cases if case[0] < 256 or case[1] in SIZES[3:]]
    low = (torch.float16, torch.bfloat16)
    cases += product((2, 19), SIZES[:3], (False,), low, both, (False,))
    return cases[::7] if at.quick else cases


def with_gradient(form, device, logits, label, sigmoid, weight, align) -> tuple:
    """Return the loss, the number of correct pixels, and the gradient on the CPU."""
    logits = logits.to(device).requires_grad_()
    weight = None if weight is None else weight.to(device)
    total, correct = form(logits, label.to(device), sigmoid, weight, align)
    total.backward()
    return float(total.detach()), int(correct), logits.grad.cpu().double()


def exact_cross_entropy(logits, label, sigmoid, weight, align) -> tuple:
    """Return what `with_gradient` does, by torch's own losses in float64."""
    logits = logits.double().requires_grad_()
    weight = None if weight is None else weight.double()
    up = exact_upsampled(logits, label.shape[1:], align)
    valid, index = label != IGNORED, label.long()
    if sigmoid:
        truth = F.one_hot(index.where(valid, 0), up.shape[1]).permute(0, 3, 1, 2)
        factor = None if weight is None else weight[:, None, None]
        loss = F.binary_cross_entropy_with_logits(
            up, truth.double(), pos_weight=factor, reduction='none'
        )
        total = (loss * valid[:, None]).sum()
    else:
        total = F.cross_entropy(
            up, index, weight, ignore_index=IGNORED, reduction='sum'
        )
    total.backward()
    own = up.detach().gather(1, index.where(valid, 0)[:, None])[:, 0]
    correct = int(((own >= up.detach().amax(1)) & valid).sum())
    return float(total.detach()), correct, logits.grad


def compare_loss(worst: Worst, found, expected, dtype, case) -> None:
    (value, correct, gradient), (exact, exact_correct, slope) = found, expected
    worst.see(abs(value - exact) / max(abs(exact), 1e-6), 2e-5, ('value', *case))
    worst.see(abs(correct - exact_correct), 2, ('correct pixels', *case))
    largest = float(slope.abs().max()) or 1.0
    difference = float((gradient - slope).abs().max()) / largest
    worst.see(difference, ROUNDING[dtype], ('gradient', *case))


def other_losses(at: Setting) -> dict:
    """OHEM and the losses of regions: the device against the CPU, in float64 logits."""
    worst = Worst()
    for config, (shape, size), align in product(LOSSES, SIZES[:3], (False, True)):
        found = []
        for device in (at.device, 'cpu'):
            logits = some_logits(3, shape).to(device).requires_grad_()
            loss = upsampled_form(MODELS.build(config).to(device))
            value, _ = loss(logits, some_labels(3, size).to(device), align)
            value.backward()
            found.append((float(value.detach()), logits.grad.cpu()))
        (value, slope), (expected, exact) = found
        case = (config['type'], shape, size, align)
        worst.see(abs(value - expected) / abs(expected), 1e-4, ('value', *case))
        difference = (slope - exact).abs().max() / exact.abs().max()
        worst.see(float(difference), 1e-3, ('gradient', *case))
    return worst.row()
