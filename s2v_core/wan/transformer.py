"""The forward of Wan-VACE, with everything that is the same in all steps computed once.

Where ``Constants.exact`` says so the numbers are those of DiffSynth's ``model_fn_wan_video`` for a ``WanModel`` and a
``VaceWanModel``, bit for bit: the same modules are called with the same values in the same order. Else they are equal
but for rounding, in less time (``block``). Three things are done otherwise: the text
embedding, the keys and values of the cross attention, the rotary table and the control tokens are computed before
the first step; each VACE block runs right before the transformer block that it feeds, so that its hint is used and
dropped instead of all hints being kept; and where nothing steers (strength 0) the VACE blocks do not run at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from einops import rearrange

from .block import PLAIN, Form, Text, exact, fast, without_padding

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Constants:
    """What stays the same over the steps of one rendering, for the LoRA state in which it was computed.

    ``grid``: tokens in time, height and width. ``freqs``: complex [tokens, 1, head size / 2].
    ``control``: [1, tokens, dim] or None. ``texts``: for each prompt, one for each transformer block and then for each
    VACE block. ``references``: the latent frames in front that belong to reference images. ``exact``: DiffSynth's bits;
    else blocks compute as ``form`` says.
    """

    grid: tuple[int, int, int]
    freqs: torch.Tensor
    control: torch.Tensor | None
    texts: Mapping[str, list[Text]]
    references: int = 0
    exact: bool = True
    form: Form = PLAIN

    def narrowed(self, start: int, stop: int) -> Constants:
        """Those of the references and the video's latent frames from ``start`` to before ``stop``, as a clip of their
        own: their places in time are counted anew.
        """
        import torch

        _, rows, columns = self.grid
        front, area = self.references, rows * columns
        frames = front + stop - start
        control = self.control
        if control is not None:
            video = control[:, (front + start) * area : (front + stop) * area]
            control = torch.cat([control[:, : front * area], video], dim=1)
        return replace(self, grid=(frames, rows, columns), freqs=self.freqs[: frames * area], control=control)


def prepare(
    dit: Any,
    vace: Any,
    contexts: Mapping[str, torch.Tensor],
    vace_context: torch.Tensor | None,
    latent_shape: tuple[int, ...],
    references: int = 0,
    exact: bool = True,
    form: Form = PLAIN,
) -> Constants:
    """Compute the constants.

    ``contexts``: for each prompt, text states [1, text tokens, text dim]. ``vace_context``: [1, 96, T, h, w] or None.
    ``latent_shape``: [1, 16, T, h, w] of the latents. ``references``, ``exact``, ``form``: as in ``Constants``.
    """
    import torch

    weight = dit.patch_embedding.weight
    pt, ph, pw = dit.patch_size
    f, h, w = latent_shape[2] // pt, latent_shape[3] // ph, latent_shape[4] // pw
    time, rows, columns = dit.freqs
    freqs = torch.cat(
        [
            time[:f].view(f, 1, 1, -1).expand(f, h, w, -1),
            rows[:h].view(1, h, 1, -1).expand(f, h, w, -1),
            columns[:w].view(1, 1, w, -1).expand(f, h, w, -1),
        ],
        dim=-1,
    ).reshape(f * h * w, 1, -1)

    control = None
    if vace_context is not None:
        tokens = vace.vace_patch_embedding(vace_context.to(device=weight.device, dtype=weight.dtype))
        tokens = rearrange(tokens, "b c f h w -> b (f h w) c").contiguous()
        control = vace.vace_blocks[0].before_proj(tokens)

    blocks = [*dit.blocks, *(vace.vace_blocks if control is not None else ())]
    texts = {}
    for side, context in contexts.items():
        states, bias = (context, None) if exact else without_padding(context)
        text = dit.text_embedding(states.to(device=weight.device, dtype=weight.dtype))
        bias = None if bias is None else bias.to(text)
        attentions = [block.cross_attn for block in blocks]
        texts[side] = [Text(a.norm_k(a.k(text)), a.v(text), bias) for a in attentions]
    # On Apple's MPS there are no doubles.
    freqs = freqs if exact else freqs.to(torch.complex64)
    return Constants((f, h, w), freqs.to(weight.device), control, texts, references, exact, form)


def predict(
    dit: Any,
    vace: Any,
    constants: Constants,
    side: str,
    latents: torch.Tensor,
    timestep: torch.Tensor,
    control_strength: float = 1.0,
    reference_strength: float = 1.0,
    through: Callable[..., torch.Tensor] | None = None,
) -> torch.Tensor:
    """The net's velocity for ``latents`` [1, 16, T, h, w] at ``timestep`` [1] (0 to 1000), under the prompt ``side``.

    The VACE hints are scaled by ``reference_strength`` at the references' tokens and by ``control_strength`` at all
    others. The result has the shape of ``latents`` and the net's own type. ``through(function, *inputs)`` calls what
    computes one block, for gradient checkpointing.
    """
    from diffsynth.models.wan_video_dit import sinusoidal_embedding_1d

    dtype = dit.patch_embedding.weight.dtype
    time = dit.time_embedding(sinusoidal_embedding_1d(dit.freq_dim, timestep).to(dtype))
    modulation = dit.time_projection(time).unflatten(1, (6, dit.dim))
    x = rearrange(dit.patchify(latents.to(dtype)), "b c f h w -> b (f h w) c").contiguous()

    function = exact if constants.exact else partial(fast, form=constants.form)
    run = partial(through, function) if through else function
    texts, depth = constants.texts[side], len(dit.blocks)
    front = constants.references * constants.grid[1] * constants.grid[2]
    strengths = (control_strength, reference_strength)
    control = None
    if constants.control is not None and (control_strength != 0 or (front and reference_strength != 0)):
        control = constants.control + x
    for index, block in enumerate(dit.blocks):
        place = vace.vace_layers_mapping.get(index)
        hint = None
        if control is not None and place is not None:
            vace_block = vace.vace_blocks[place]
            control = run(vace_block, control, texts[depth + place], modulation, constants.freqs)
            hint = vace_block.after_proj(control)
        x = run(block, x, texts[index], modulation, constants.freqs)
        if hint is not None:
            # One scale needs no copy of the hint.
            apart = front and reference_strength != control_strength
            x = x + (scaled(hint, front, *strengths) if apart else hint * control_strength)
    return dit.unpatchify(dit.head(x, time), constants.grid)


def scaled(hint: torch.Tensor, front: int, control_strength: float, reference_strength: float) -> torch.Tensor:
    """A hint [1, tokens, dim] times the reference strength in its first ``front`` tokens, the control strength in all
    others; where both are equal, the same bits as one product.
    """
    import torch

    return torch.cat([hint[:, :front] * reference_strength, hint[:, front:] * control_strength], dim=1)
