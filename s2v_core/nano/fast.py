"""DiffSynth's nets faster on a CPU while training: the same maths in other operations.

Three forms are slow there, forward and backward, at the nano model's sizes (measured on two cores of an AMD EPYC
without bfloat16 units): the VAE's norm by ``linalg_vector_norm`` (a reciprocal square root takes 0.4 of the time),
rotary embedding in complex doubles (complex floats: 0.4 to 0.6), and attention in bfloat16, as under autocast (in
float32: a third). In float32 DiffSynth's own attention is the fastest and stays. Results differ by rounding only
(tests/nano/test_fast.py).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_TINY = 1e-24  # torch.nn.functional.normalize's 1e-12, squared
_lock = threading.Lock()


@contextmanager
def fast_on_cpu() -> Iterator[None]:
    """While the block runs, DiffSynth's VAE norm, rotary embedding and attention take their fast forms.

    They are exchanged in DiffSynth's modules, for every net of the process, so this is for training scripts. Blocks in
    several threads wait for each other; afterwards everything is as before.
    """
    import diffsynth.models.wan_video_dit as dit
    import diffsynth.models.wan_video_vae as vae

    places: tuple[tuple[Any, str, Any], ...] = (
        (vae.RMS_norm, "forward", vae_norm),
        (dit, "rope_apply", rope_apply),
        (dit, "flash_attention", attention),
    )
    with _lock:
        before = [getattr(where, name) for where, name, _ in places]
        try:
            for where, name, fast in places:
                setattr(where, name, fast)
            yield
        finally:
            for (where, name, _), former in zip(places, before, strict=True):
                setattr(where, name, former)


def vae_norm(self: Any, x: torch.Tensor) -> torch.Tensor:
    """``RMS_norm.forward`` of DiffSynth's VAE: channels of ``x`` scaled to length sqrt(channels), times gamma."""
    import torch

    axis = 1 if self.channel_first else -1
    length = (x * x).sum(axis, keepdim=True).clamp_min(_TINY)
    scaled: torch.Tensor = x * torch.rsqrt(length) * (self.gamma * self.scale) + self.bias
    return scaled


def rope_apply(x: torch.Tensor, freqs: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Rotary embedding of ``x`` [B, S, heads x size] by ``freqs`` complex [S, 1, size / 2], in complex floats."""
    import torch

    batch, length, dim = x.shape
    pairs = x.float().reshape(batch, length, num_heads, dim // num_heads // 2, 2)
    turned = torch.view_as_complex(pairs) * freqs.to(torch.complex64)
    return torch.view_as_real(turned).reshape(batch, length, dim).to(x.dtype)


def attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, num_heads: int, compatibility_mode: bool = False
) -> torch.Tensor:
    """Attention of ``q`` [B, S, heads x size] over ``k`` and ``v`` [B, L, heads x size], in float32, without a mask.

    ``compatibility_mode`` chooses between DiffSynth's kernels and means nothing here.
    """
    import torch

    batch, length, dim = q.shape

    def split(x: torch.Tensor) -> torch.Tensor:
        return x.float().view(batch, -1, num_heads, dim // num_heads).transpose(1, 2)

    with torch.autocast("cpu", enabled=False):  # it would turn everything back into bfloat16
        mixed = torch.nn.functional.scaled_dot_product_attention(split(q), split(k), split(v))
    return mixed.transpose(1, 2).reshape(batch, length, dim).to(v.dtype)
