"""From latents to frames, which are handed on as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import rearrange

from ..errors import Interrupted
from ..video.clip import Clip
from .engine import Engine
from .pictures import TIME_STRIDE
from .settings import SampleSettings
from .vace import TILE, Conditioning
from .vae import fast_vae
from .vae_stream import decode_parts

if TYPE_CHECKING:
    import torch

Frames = np.ndarray[Any, np.dtype[np.uint8]]


def decode(
    engine: Engine,
    latents: torch.Tensor,
    conditioning: Conditioning,
    settings: SampleSettings,
    *,
    on_frames: Callable[[Frames], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Clip:
    """The clip of latents [1, 16, T, h, w] out of ``sample``.

    ``on_frames`` gets the frames as they are finished; raises what ``decode_stream`` raises.
    """
    frames: Frames | None = None
    done = 0
    for part in decode_stream(engine, latents, settings, should_stop=should_stop):
        if frames is None:
            frames = np.empty(((latents.shape[2] - 1) * TIME_STRIDE + 1, *part.shape[1:]), np.uint8)
        frames[done : done + len(part)] = part
        done += len(part)
        if on_frames:
            on_frames(part)
    assert frames is not None
    return Clip(frames, conditioning.fps)


def decode_stream(
    engine: Engine,
    latents: torch.Tensor,
    settings: SampleSettings,
    *,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[Frames]:
    """The frames of latents [1, 16, T, h, w], uint8 [n, H, W, 3]: one, then four for each latent frame.

    With ``tiling`` all come at the end, for tiles are whole videos. Raises ``Interrupted`` when ``should_stop`` says so
    between two latent frames, and ``DeviceMemoryError`` where the device has no room, whatever else leaves it.
    """
    import torch

    (vae,) = engine.use("vae")
    exact = settings.precision == "diffsynth"
    given = latents.to(device=engine.device, dtype=engine.dtype)

    def run(work: Callable[[], Any]) -> Any:
        return engine.within_memory(("vae",), work)

    def tiled() -> torch.Tensor:
        try:
            with torch.no_grad(), fast_vae(vae, exact):
                video: torch.Tensor = vae.decode(given, device=engine.device, tiled=True, **TILE)
                return video
        finally:
            vae.model.clear_cache()

    if settings.tiling:
        yield _levels(run(tiled)[0], exact)
        return
    for number, video in enumerate(decode_parts(vae, given, exact, run), start=1):
        yield _levels(video[0], exact)
        del video
        if should_stop and number < latents.shape[2] and should_stop():
            raise Interrupted(f"Stopped while decoding, after {number} of {latents.shape[2]} latent frames.")


def _levels(video: torch.Tensor, exact: bool) -> Frames:
    """Pixels [3, n, H, W] from -1 to 1 as uint8 [n, H, W, 3]."""
    import torch

    with torch.no_grad():
        if exact:
            levels = ((video + 1) * (255 / 2)).clip(0, 255)  # cut, not rounded, in the net's own type
        else:
            levels = (video.float() + 1).mul_(255 / 2).round_().clamp_(0, 255)
        # First to bytes, which are quicker to put into another order.
        frames = rearrange(levels.to(torch.uint8), "c t h w -> t h w c").contiguous()
    found: Frames = frames.cpu().numpy()
    return found
