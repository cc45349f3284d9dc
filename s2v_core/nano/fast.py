"""DiffSynth's nets faster on a CPU while training: the same maths in other operations.

Three forms are slow there: the VAE's norm by ``linalg_vector_norm``, rotary embedding in complex doubles, and
``scaled_dot_product_attention`` over many small heads. Here they are a reciprocal square root, sines and cosines in
single precision, and two batched products. Results differ by rounding only (tests/nano/test_fast.py).
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
    """While the block runs, DiffSynth's VAE norm, RMS norm, rotary embedding and attention take their fast forms.

    They are exchanged in DiffSynth's modules, for every net of the process, so this is for training scripts. Blocks in
    several threads wait for each other; afterwards everything is as before.
    """
    import diffsynth.models.wan_video_dit as dit
    import diffsynth.models.wan_video_vae as vae

    places: tuple[tuple[Any, str, Any], ...] = (
        (vae.RMS_norm, "forward", vae_norm),
        (dit.RMSNorm, "forward", rms_norm),
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


def rms_norm(self: Any, x: torch.Tensor) -> torch.Tensor:
    """``RMSNorm.forward`` of DiffSynth's transformer, over the last axis, reckoned in float32."""
    import torch

    normed = torch.nn.functional.rms_norm(x.float(), (x.shape[-1],), None, self.eps)
    out: torch.Tensor = normed.to(x.dtype) * self.weight
    return out


def rope_apply(x: torch.Tensor, freqs: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Rotary embedding of ``x`` [B, S, heads x size] by ``freqs`` complex [S, 1, size / 2], in float32."""
    import torch

    batch, length, dim = x.shape
    half = dim // num_heads // 2
    cos = freqs.real.float().reshape(1, length, 1, half)
    sin = freqs.imag.float().reshape(1, length, 1, half)
    real, imaginary = x.float().reshape(batch, length, num_heads, half, 2).unbind(-1)
    turned = torch.stack([real * cos - imaginary * sin, real * sin + imaginary * cos], dim=-1)
    return turned.reshape(batch, length, dim).to(x.dtype)


def attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, num_heads: int, compatibility_mode: bool = False
) -> torch.Tensor:
    """Attention of ``q`` [B, S, heads x size] over ``k`` and ``v`` [B, L, heads x size], without a mask.

    ``compatibility_mode`` chooses between DiffSynth's kernels and means nothing here.
    """
    import torch

    batch, length, dim = q.shape
    size = dim // num_heads

    def split(x: torch.Tensor) -> torch.Tensor:
        return x.view(batch, -1, num_heads, size).transpose(1, 2).reshape(batch * num_heads, -1, size)

    weights = torch.bmm(split(q) * size**-0.5, split(k).transpose(1, 2)).softmax(dim=-1)
    mixed = torch.bmm(weights.to(v.dtype), split(v))
    return mixed.view(batch, num_heads, length, size).transpose(1, 2).reshape(batch, length, dim)
