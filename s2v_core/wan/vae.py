"""DiffSynth's VAE on a CPU in other operations: the same arithmetic, equal but for rounding.

Torch hands a 3-D convolution of a small picture to a kernel that is 2 to 12 times slower than oneDNN's (it looks at the
sizes of the first four axes only), and ``torch.nn.functional.normalize`` takes the norm over channels by a reduction
that a CPU does badly. On a GPU, and where bits have to be DiffSynth's, the classes' own ways stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_TINY = 1e-24  # torch.nn.functional.normalize's 1e-12, squared


@contextmanager
def fast_vae(vae: Any, fast: bool = True) -> Iterator[None]:
    """While the block runs, the layers of ``WanVideoVAE`` take their fast forms, where it is float32 on a CPU."""
    import torch
    from diffsynth.models.wan_video_vae import CausalConv3d, RMS_norm

    weight = next(vae.model.parameters())
    changed = []
    if fast and weight.device.type == "cpu" and weight.dtype == torch.float32:
        for module in vae.model.modules():
            if isinstance(module, CausalConv3d) and torch.backends.mkldnn.is_available():
                changed.append((module, partial(_convolve, module)))
            elif isinstance(module, RMS_norm) and module.channel_first:
                changed.append((module, partial(_norm, module)))
    for module, form in changed:
        module.forward = form
    try:
        yield
    finally:
        for module, _ in changed:
            del module.forward


def _convolve(module: Any, x: torch.Tensor, cache_x: torch.Tensor | None = None) -> torch.Tensor:
    """``CausalConv3d.forward``: what is missing in front in time comes from ``cache_x`` [B, C, T, H, W], then zeros."""
    import torch

    side, _, rows, _, before, _ = module._padding
    if cache_x is not None and before:
        x = torch.cat([cache_x, x], dim=2)
        before -= cache_x.shape[2]
    if before:
        x = torch.nn.functional.pad(x, (0, 0, 0, 0, before, 0))
    made: torch.Tensor = torch.ops.aten.mkldnn_convolution(
        x, module.weight, module.bias, [0, rows, side], module.stride, module.dilation, module.groups
    )
    return made


def _norm(module: Any, x: torch.Tensor) -> torch.Tensor:
    """``RMS_norm.forward`` for x [B, C, ...]."""
    import torch

    inverse = torch.rsqrt(x.square().sum(dim=1, keepdim=True).clamp_min_(_TINY)).mul_(module.scale)
    y = (x * inverse).mul_(module.gamma)
    return y + module.bias if isinstance(module.bias, torch.Tensor) else y
