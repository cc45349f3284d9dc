"""Muon: momentum whose matrix is made orthogonal before each step (K. Jordan et al., 2024).

Here for weights of any rank from 2 (a convolution's kernel is a matrix of output channels by all else), with the step
scaled so that its root mean square is that of AdamW's ("Muon is Scalable for LLM Training", 2025: 0.2 sqrt(longer
side)). torch's own, since 2.9, takes matrices only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration, from the same author
_ROUNDS = 5
_RMS = 0.2


class Muon(torch.optim.Optimizer):
    """``params``: weights with at least two axes. Weights of the same shape are orthogonalised together."""

    def __init__(self, params: Iterable[torch.nn.Parameter], lr: float = 1e-3, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step on the gradients that are there."""
        for group in self.param_groups:
            shaped: dict[tuple[int, int], list[Any]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                buffer = state.setdefault("momentum", torch.zeros_like(weight))
                buffer.lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(buffer, group["momentum"]).flatten(1)
                shaped[(ahead.shape[0], ahead.shape[1])].append((weight, ahead))
            for (rows, columns), members in shaped.items():
                steps = orthogonal(torch.stack([ahead for _, ahead in members]))
                size = group["lr"] * _RMS * max(rows, columns) ** 0.5
                for (weight, _), step in zip(members, steps, strict=True):
                    weight.add_(step.view_as(weight), alpha=-size)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """The nearest matrices with singular values near 1, of ``matrices`` [N, rows, columns]."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-8)
    for _ in range(_ROUNDS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x
