"""Wan's VAE one latent frame at a time: what is finished is handed on, and what it remembers is gone at the end.

``VideoVAE_`` itself works through a video by latent frames, with what its convolutions need of the frames before in a
cache. It keeps that cache until the next video (1.9 GB after decoding at 832 x 480 in bfloat16, 1.1 GB after encoding),
and all frames until the last one. The same steps one by one give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from .vae import fast_blocks

if TYPE_CHECKING:
    import torch

# Calls what computes one part: ``Engine.within_memory``, which calls it again where memory ran out.
Run = Callable[[Callable[[], Any]], Any]


def decode_parts(vae: Any, latents: torch.Tensor, exact: bool, run: Run) -> Iterator[torch.Tensor]:
    """Pixels [1, 3, n, H, W] from -1 to 1 of latents [1, 16, T, h, w]: one frame, then four for each latent frame.

    ``latents``: in the VAE's type, on its device. ``exact``: DiffSynth's bits (``vae.fast_vae``).
    """
    import torch

    net = vae.model
    mean, inverse = (one.to(latents).view(1, -1, 1, 1, 1) for one in vae.scale)
    layers = list(net.decoder.modules())
    cache: list[Any] = _empty_cache(layers)
    fast = fast_blocks(vae, exact, [net.conv2, *layers])

    def begin() -> torch.Tensor:
        with torch.no_grad(), fast():
            given: torch.Tensor = net.conv2(latents / inverse + mean)
            return given

    def part(index: int) -> tuple[torch.Tensor, list[Any]]:
        # A copy: where the computation fails, what it remembered so far must not be there when it begins again.
        own = list(cache)
        with torch.no_grad(), fast():
            made, own, _ = net.decoder(given[:, :, index : index + 1], feat_cache=own, feat_idx=[0])
            return made.clamp_(-1, 1), own

    given = run(begin)
    for index in range(latents.shape[2]):
        made, cache = run(partial(part, index))
        yield made
        del made


def encode_parts(vae: Any, video: torch.Tensor, exact: bool, run: Run) -> torch.Tensor:
    """Latents [1, 16, T, H/8, W/8] of pixels [1, 3, 4 T - 3, H, W] from -1 to 1, which may be on another device."""
    import torch

    net = vae.model
    place = next(net.parameters()).device
    layers = list(net.encoder.modules())
    cache: list[Any] = _empty_cache(layers)
    fast = fast_blocks(vae, exact, [net.conv1, *layers])

    def part(frames: slice) -> tuple[torch.Tensor, list[Any]]:
        own = list(cache)
        with torch.no_grad(), fast():
            made, own, _ = net.encoder(video[:, :, frames].to(place), feat_cache=own, feat_idx=[0])
            return made, own

    def end() -> torch.Tensor:
        with torch.no_grad(), fast():
            latents, _ = net.conv1(torch.cat(found, dim=2)).chunk(2, dim=1)
            mean, inverse = (one.to(latents).view(1, -1, 1, 1, 1) for one in vae.scale)
            scaled: torch.Tensor = (latents - mean) * inverse
            return scaled

    found = []
    for start in range(0, video.shape[2], 4):
        # The first frame stands alone.
        frames = slice(max(0, start - 3), start + 1)
        made, cache = run(partial(part, frames))
        found.append(made)
    return run(end)


def _empty_cache(layers: list[Any]) -> list[Any]:
    """A place for each layer that remembers frames."""
    from diffsynth.models.wan_video_vae import CausalConv3d

    return [None] * sum(isinstance(layer, CausalConv3d) for layer in layers)
