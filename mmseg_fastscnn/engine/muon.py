"""The optimizer Muon, for kernels of convolutions."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import itemgetter

import torch
from torch import Tensor

from mmseg_fastscnn.registry import OPTIMIZERS

# After five rounds of a polynomial with these coefficients, singular values are between
# 0.7 and 1.2: https://kellerjordan.github.io/posts/muon
COEFFICIENTS = 3.4445, -4.7750, 2.0315
ROUNDS = 5


@OPTIMIZERS.register_module()
class MuonAdamW(torch.optim.AdamW):
    """Muon for the kernels of convolutions that mix channels, AdamW for all else.

    A kernel (out, in, h, w) is taken for a matrix (out, in * h * w). Its step is the
    averaged gradient with all singular values brought near 1, so that rare directions
    count as much as frequent ones; it has the size of AdamW's steps, so both share
    learning rate and weight decay (Jordan et al. 2024; Liu et al., arXiv 2502.16982).
    Depthwise kernels, biases and normalisation have no such matrix.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate of all.
        betas: How slowly AdamW's two averages change.
        eps: What AdamW adds to its divisor.
        weight_decay: Decoupled weight decay of all.
        momentum: How slowly Muon's average of gradients changes.
        muon: False leaves the kernels of a group to AdamW, too. That is usual for
            classifiers, and what a run from a config does with them.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        muon: bool = True,
    ):
        super().__init__(params, lr, betas, eps, weight_decay)
        for settings in (self.defaults, *self.param_groups):
            settings.setdefault('momentum', momentum)
            settings.setdefault('muon', muon)

    @torch.no_grad()
    def step(self) -> None:
        kernels = []
        for group in filter(itemgetter('muon'), self.param_groups):
            mixing = [p for p in group['params'] if p.grad is not None and mixes(p)]
            self._step_kernels(mixing, group)
            kernels += [(p, p.grad) for p in mixing]
        for p, _ in kernels:
            p.grad = None  # AdamW passes it over
        super().step()
        for p, grad in kernels:
            p.grad = grad

    def _step_kernels(self, kernels: list[Tensor], group: dict) -> None:
        if not kernels:
            return
        for p in kernels:
            state = self.state[p]
            if 'momentum_buffer' not in state:
                state['step'] = torch.zeros(())  # AdamW looks for it in every state
                state['momentum_buffer'] = torch.zeros_like(p)
            state['step'] += 1
        grads = [p.grad for p in kernels]
        averages = [self.state[p]['momentum_buffer'] for p in kernels]
        torch._foreach_lerp_(averages, grads, 1 - group['momentum'])
        ahead = torch._foreach_lerp(grads, averages, group['momentum'])  # Nesterov's
        torch._foreach_mul_(kernels, 1 - group['lr'] * group['weight_decay'])
        steps = orthogonalised([direction.flatten(1) for direction in ahead])
        # the root mean square of a step is 0.2, as AdamW's
        torch._foreach_mul_(steps, [0.2 * max(step.shape) ** 0.5 for step in steps])
        steps = [step.view_as(p) for p, step in zip(kernels, steps, strict=True)]
        torch._foreach_add_(kernels, steps, alpha=-group['lr'])


def mixes(p: Tensor) -> bool:
    """Return whether it is the kernel of a convolution that mixes channels."""
    return p.dim() == 4 and p.shape[1] > 1


def orthogonalised(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Return matrices (m, n) with their singular vectors, and singular values near 1.

    Muon's rounds x <- a x + b (x xᵀ) x + c (x xᵀ)² x multiply x by a polynomial of x xᵀ
    each time. Here only the polynomials are multiplied, matrices of min(m, n) rows and
    columns, for all kernels of that size together, and their product with x at the end.
    """
    norms = torch._foreach_norm(matrices)
    torch._foreach_clamp_min_(norms, 1e-7)
    of_size = defaultdict(list)
    for k, matrix in enumerate(torch._foreach_div(matrices, norms)):
        is_tall = len(matrix) > matrix.shape[1]
        x = matrix.mT if is_tall else matrix
        of_size[len(x)].append((k, x, is_tall))
    found = [torch.empty(0)] * len(matrices)
    for some in of_size.values():
        factors = polynomial(torch.stack([x @ x.mT for _, x, _ in some]))
        for (k, x, is_tall), factor in zip(some, factors, strict=True):
            found[k] = (factor @ x).mT if is_tall else factor @ x
    return found


def polynomial(grams: Tensor) -> Tensor:
    """Return what Muon's rounds multiply each x by, for x xᵀ: both (K, m, m).

    In float32. bfloat16 would save nothing with matrices as small as these, and takes
    17 times as long on a CPU with AVX2.
    """
    a, b, c = COEFFICIENTS
    product = None
    for _ in range(ROUNDS):
        factor = torch.baddbmm(grams, grams, grams, beta=b, alpha=c)
        factor.diagonal(dim1=1, dim2=2).add_(a)
        grams = factor @ grams @ factor
        product = factor if product is None else factor @ product
    return product
