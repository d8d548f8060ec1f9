"""Muon, for matrices whose scale carries no meaning, and AdamW for everything else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from model.device import precision


def orthogonalise(matrices: Tensor, steps: int) -> Tensor:
    """Return (n, rows, columns) with all singular values near one and the singular vectors kept.

    Newton-Schulz iteration of a quintic polynomial with the coefficients of Keller Jordan
    (https://kellerjordan.github.io/posts/muon/). Rough on purpose: values end between 0.7 and 1.2, and bfloat16
    is precise enough.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.size(1) > matrices.size(2)
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    orthogonal: Tensor = x.mT if tall else x
    return orthogonal


class Muon:
    """Stochastic gradient descent with Nesterov momentum whose updates are made orthogonal."""

    def __init__(
        self,
        matrices: Iterable[Tensor],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        newton_schulz: int = 5,
    ) -> None:
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.newton_schulz = newton_schulz
        by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for matrix in matrices:
            by_shape[matrix.shape].append(matrix)
        # Matrices of one shape are worked on as one batch: four calls where there would be ninety-six.
        self.groups = [(group, torch.zeros_like(torch.stack(group))) for group in by_shape.values()]

    @torch.no_grad()
    def step(self, scale: float = 1.0) -> None:
        """Update all matrices from their gradients, with the learning rate times `scale`."""
        lr = self.lr * scale
        for matrices, velocity in self.groups:
            gradient = torch.stack([matrix.grad for matrix in matrices if matrix.grad is not None])
            velocity.lerp_(gradient, 1 - self.momentum)
            nesterov = gradient.lerp(velocity, self.momentum).to(precision(velocity.device))
            update = orthogonalise(nesterov, self.newton_schulz).to(velocity.dtype)
            # A tall matrix has fewer singular values than outputs; this keeps the outputs' change alike.
            lr_shape = lr * max(1.0, update.size(1) / update.size(2)) ** 0.5
            for matrix, change in zip(matrices, update, strict=True):
                matrix.mul_(1 - lr * self.weight_decay).sub_(change, alpha=lr_shape)


class AdamW:
    """Decoupled weight decay with adaptive moments, for groups of weights that have learning rates of their own.

    It is torch's own, called as a function: the class of that name loads a compiler when it is made, which takes
    longer than everything else before the first step but the import of torch itself.
    """

    def __init__(
        self,
        groups: Iterable[tuple[Iterable[Tensor], float]],
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        self.groups = [(list(weights), lr) for weights, lr in groups]
        weights = [weight for group, _ in self.groups for weight in group]
        # Of each weight the mean of its gradient, that of its square, and the number of steps.
        self.state = {
            weight: (
                torch.zeros_like(weight),
                torch.zeros_like(weight),
                torch.zeros((), device=weight.device),
            )
            for weight in weights
        }

    @torch.no_grad()
    def step(self, scale: float = 1.0) -> None:
        """Update all weights from their gradients, with all learning rates times `scale`."""
        for group, lr in self.groups:
            moved = [(weight, weight.grad) for weight in group if weight.grad is not None]
            if not moved:
                continue
            means, squares, steps = zip(*(self.state[weight] for weight, _ in moved), strict=True)
            adamw(
                [weight for weight, _ in moved],
                [gradient for _, gradient in moved],
                list(means),
                list(squares),
                [],
                list(steps),
                fused=True,
                amsgrad=False,
                beta1=self.betas[0],
                beta2=self.betas[1],
                lr=lr * scale,
                weight_decay=self.weight_decay,
                eps=self.eps,
                maximize=False,
            )
