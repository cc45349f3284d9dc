"""One transformer block of Wan, with the keys and values of its cross attention given: bit for bit, and fast.

Both call the same linear layers, so LoRAs act on both. ``exact`` is DiffSynth's ``DiTBlock.forward`` operation by
operation. ``fast`` is the same arithmetic in fewer operations, equal but for rounding: the rotary embedding in complex
floats in place of doubles (5e-7 apart; GPUs for the home have 1/64 of the speed in doubles), norms in one kernel,
products and sums in one pass, and one key and value for all of a text's padding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .attention import SDPA, Kernel

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Text:
    """A prompt at one block's cross attention. ``keys``, ``values``: [B, tokens, dim], keys normed.

    ``bias``: what is added to the logits, [1, 1, 1, tokens], or None.
    """

    keys: torch.Tensor
    values: torch.Tensor
    bias: torch.Tensor | None = None


def exact(block: Any, x: torch.Tensor, text: Text, modulation: torch.Tensor, freqs: torch.Tensor) -> torch.Tensor:
    """``DiTBlock.forward``. x [B, tokens, dim]; ``modulation`` [B, 6, dim]; ``freqs`` complex [tokens, 1, size / 2]."""
    from diffsynth.models.wan_video_dit import modulate

    shift_attn, scale_attn, gate_attn, shift_ffn, scale_ffn, gate_ffn = _shares(block, modulation)
    x = block.gate(x, gate_attn, block.self_attn(modulate(block.norm1(x), shift_attn, scale_attn), freqs))
    cross = block.cross_attn
    x = x + cross.o(cross.attn(cross.norm_q(cross.q(block.norm3(x))), text.keys, text.values))
    return block.gate(x, gate_ffn, block.ffn(modulate(block.norm2(x), shift_ffn, scale_ffn)))


def enter(norm: Any, x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """What goes into a block's self attention or ffn: x [B, tokens, dim] normed, scaled and shifted."""
    import torch

    return torch.addcmul(shift, norm(x), 1 + scale)


def turn(norm: Any, x: torch.Tensor, freqs: torch.Tensor) -> torch.Tensor:
    """Queries or keys [B, tokens, dim] normed and rotated."""
    return rotate(rms(norm, x), freqs)


@dataclass(frozen=True)
class Form:
    """How ``fast`` computes what lies between a block's layers. The layers themselves, with all LoRAs, stay.

    ``attention``: the kernel. ``enter``, ``turn``: those functions, or compiled ones (``compiled``).
    """

    attention: Kernel = SDPA
    enter: Callable[..., torch.Tensor] = enter
    turn: Callable[..., torch.Tensor] = turn

    def identity(self) -> Mapping[str, str]:
        """What of it rounds otherwise than torch's own kernels."""
        return self.attention.identity() | ({} if self.turn is turn else {"compiled": "inductor"})


PLAIN = Form()


def fast(
    block: Any, x: torch.Tensor, text: Text, modulation: torch.Tensor, freqs: torch.Tensor, form: Form = PLAIN
) -> torch.Tensor:
    """The same for inference; ``freqs`` complex64."""
    import torch

    shift_attn, scale_attn, gate_attn, shift_ffn, scale_ffn, gate_ffn = _shares(block, modulation)
    own, cross = block.self_attn, block.cross_attn
    y = form.enter(block.norm1, x, shift_attn, scale_attn)
    q, k = (form.turn(norm, linear(y), freqs) for norm, linear in ((own.norm_q, own.q), (own.norm_k, own.k)))
    v = own.v(y)
    y = own.o(attend(q, k, v, own.num_heads, kernel=form.attention))
    del q, k, v
    x = torch.addcmul(x, gate_attn, y)
    y = rms(cross.norm_q, cross.q(block.norm3(x)))
    y = cross.o(attend(y, text.keys, text.values, cross.num_heads, text.bias, form.attention))
    x = x + y
    y = feed(block.ffn, form.enter(block.norm2, x, shift_ffn, scale_ffn))
    return torch.addcmul(x, gate_ffn, y)


def feed(ffn: Any, x: torch.Tensor) -> torch.Tensor:
    """A block's ffn with one hidden tensor in place of two: at its peak a block has nothing larger."""
    import torch

    first, gelu, last = ffn
    hidden = first(x)
    if hidden.requires_grad:
        hidden = gelu(hidden)
    else:
        torch.ops.aten.gelu_(hidden, approximate=gelu.approximate)
    made: torch.Tensor = last(hidden)
    return made


def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    heads: int,
    bias: torch.Tensor | None = None,
    kernel: Kernel = SDPA,
) -> torch.Tensor:
    """Attention [B, tokens, dim] by a kernel; with a ``bias`` by torch's, the only one that takes any."""
    return kernel(q, k, v, heads) if bias is None else SDPA(q, k, v, heads, bias)


def rotate(x: torch.Tensor, freqs: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of x [B, tokens, heads x size] in float32, by ``freqs`` complex64 [tokens, 1, size / 2]."""
    import torch

    pairs = torch.view_as_complex(x.float().unflatten(2, (-1, freqs.shape[-1], 2)))
    return torch.view_as_real(pairs * freqs).flatten(2).to(x.dtype)


def rms(norm: Any, x: torch.Tensor) -> torch.Tensor:
    """DiffSynth's ``RMSNorm`` in one kernel, where nothing else is to happen in it."""
    import torch

    if is_touched(norm, x):
        normed: torch.Tensor = norm(x)
        return normed
    return torch.nn.functional.rms_norm(x, norm.normalized_shape, norm.weight, norm.eps)


def is_touched(norm: Any, x: torch.Tensor) -> bool:
    """Whether more is to happen in a norm than its own arithmetic in the type of ``x``."""
    return bool(norm._forward_hooks or norm._forward_pre_hooks or norm.weight.dtype != x.dtype)


def without_padding(states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Text states [1, tokens, dim] whose zeros at the end are one token, and what its logit is raised by.

    All padding has the same key and value, so one that weighs as much as all of them gives the same attention.
    """
    import torch

    used = int(states[0].any(dim=-1).nonzero().max()) + 1 if bool(states.any()) else 0
    padding = states.shape[1] - used
    if states.shape[0] != 1 or padding < 2:
        return states, None
    bias = torch.zeros(1, 1, 1, used + 1, device=states.device)
    bias[..., used] = torch.tensor(float(padding)).log()
    return states[:, : used + 1], bias


def _shares(block: Any, modulation: torch.Tensor) -> tuple[torch.Tensor, ...]:
    own = block.modulation.to(dtype=modulation.dtype, device=modulation.device)
    shares: tuple[torch.Tensor, ...] = (own + modulation).chunk(6, dim=1)
    return shares
