"""Long clips in overlapping windows of latent frames, whose predictions are blended at every step.

All windows see one set of latents, so what they agree on in the overlaps binds them together (as in Gen-L-Video, Wang
et al. 2023, arXiv 2305.18264). The reference's latent frames belong to each window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Window:
    """Latent frames from ``start`` to before ``stop``. ``weights``: how much each of them counts, adding up to 1 over
    the windows that hold a frame.
    """

    start: int
    stop: int
    weights: tuple[float, ...]


def plan_windows(total: int, length: int, overlap: int) -> tuple[Window, ...]:
    """The windows over ``total`` latent frames: each of ``length``, sharing at least ``overlap`` with the next.

    Each begins ``length - overlap`` frames after the one before; the last is moved back to end with the clip. Weights
    rise over the overlap from either edge, but not at the clip's own ends. A clip that fits is one window of weight 1.
    """
    if total <= length:
        return (Window(0, total, (1.0,) * total),)
    starts = [*range(0, total - length, length - overlap), total - length]
    raw = []
    for start in starts:
        rise = [1.0 if start == 0 else min(1.0, (at + 1) / (overlap + 1)) for at in range(length)]
        fall = [1.0 if start == starts[-1] else min(1.0, (length - at) / (overlap + 1)) for at in range(length)]
        raw.append([min(pair) for pair in zip(rise, fall, strict=True)])
    sums = [0.0] * total
    for start, weights in zip(starts, raw, strict=True):
        for at, weight in enumerate(weights, start):
            sums[at] += weight
    return tuple(
        Window(start, start + length, tuple(weight / sums[at] for at, weight in enumerate(weights, start)))
        for start, weights in zip(starts, raw, strict=True)
    )


def blend(
    windows: tuple[Window, ...],
    references: int,
    latents: torch.Tensor,
    predict: Callable[[int, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """The velocity of ``latents`` [1, 16, references + T, h, w]: of each window in turn, blended in float32.

    ``predict(number, latents)`` gives the velocity of one window, references in front. Each window counts equally for
    the references. With one window its prediction is returned as it is.
    """
    import torch

    if len(windows) == 1:
        return predict(0, latents)
    total = torch.zeros(latents.shape, dtype=torch.float32, device=latents.device)
    front = latents[:, :, :references]
    for number, window in enumerate(windows):
        place = slice(references + window.start, references + window.stop)
        velocity = predict(number, torch.cat([front, latents[:, :, place]], dim=2)).float()
        weights = torch.tensor(window.weights, device=latents.device).view(1, 1, -1, 1, 1)
        total[:, :, place] += velocity[:, :, references:] * weights
        total[:, :, :references] += velocity[:, :, :references] / len(windows)
    return total
