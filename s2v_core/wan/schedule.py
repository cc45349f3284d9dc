"""Noise levels of flow matching."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

TRAIN_TIMESTEPS = 1000


def sigmas(steps: int, shift: float) -> torch.Tensor:
    """The noise level before each step and after the last: float32 [steps + 1], from 1 down to 0.

    Evenly spaced levels s, moved towards noise by ``shift``: shift * s / (1 + (shift - 1) * s) (Esser et al. 2024,
    arXiv 2403.03206, eq. 23; the same as Wan's own schedule).
    """
    import torch

    even = torch.linspace(1.0, 0.0, steps + 1)
    shifted: torch.Tensor = shift * even[:-1] / (1 + (shift - 1) * even[:-1])
    return torch.cat([shifted, even[-1:]])
