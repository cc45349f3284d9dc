"""The sampling loop, from noise to latents, and from latents to frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import rearrange

from ..errors import Interrupted, SettingsError
from ..video.clip import Clip
from . import transformer
from .engine import Engine
from .lora import applied
from .preview import preview
from .schedule import TRAIN_TIMESTEPS, sigmas
from .settings import SampleSettings
from .vace import TILE, Conditioning

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Step:
    """One finished step. ``index`` counts from 0; ``sigma`` is the noise level before it."""

    index: int
    total: int
    sigma: float
    _clean: torch.Tensor = field(repr=False)
    _colours: Callable[[], torch.Tensor] = field(repr=False)

    def preview(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The middle frame of what the clip will be by this step's guess: uint8 [H/8, W/8, 3]."""
        return preview(self._clean, self._colours())


def sample(
    engine: Engine,
    conditioning: Conditioning,
    settings: SampleSettings,
    *,
    on_step: Callable[[Step], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> torch.Tensor:
    """Latents [1, 16, T, H/8, W/8] of one rendering, without the reference's latent frames.

    With ``precision="diffsynth"`` they are those of DiffSynth's pipeline, bit for bit. ``should_stop`` is asked before
    every step. Raises ``Interrupted``; ``LoraError`` for a LoRA that does not fit; ``SettingsError`` for settings of
    another size than the conditioning.
    """
    import torch

    _check_same_size(conditioning, settings)
    kind = engine.dtype if settings.precision == "diffsynth" else torch.float32
    latents = noise(conditioning, settings.seed).to(device=engine.device, dtype=kind)
    levels = sigmas(settings.steps, settings.shift)
    loras = [(engine.lora(use.file), use) for use in settings.loras]
    guided = settings.guidance != 1.0
    contexts = {"positive": conditioning.positive}
    if guided:
        contexts["negative"] = conditioning.negative
    vace_context = conditioning.vace_context if settings.control_strength != 0 else None

    dit, vace = engine.use("dit", "vace")
    with torch.no_grad(), applied((dit, vace), loras) as active:
        for index in range(settings.steps):
            if should_stop and should_stop():
                raise Interrupted(f"Stopped before step {index + 1} of {settings.steps}.")
            # The constants hold for one state of the LoRAs.
            if active.set_step(index, settings.steps) or index == 0:
                constants = transformer.prepare(dit, vace, contexts, vace_context, tuple(latents.shape))
            timestep = (levels[index] * TRAIN_TIMESTEPS).unsqueeze(0).to(device=engine.device, dtype=kind)

            state = (latents, timestep, settings.control_strength)
            velocity = transformer.predict(dit, vace, constants, "positive", *state).to(kind)
            if guided:
                other = transformer.predict(dit, vace, constants, "negative", *state).to(kind)
                velocity = other + settings.guidance * (velocity - other)
            before = latents
            latents = latents + velocity * (levels[index + 1] - levels[index])
            if on_step:
                clean = (before - velocity * levels[index])[:, :, conditioning.references :]
                on_step(Step(index, settings.steps, float(levels[index]), clean, engine.preview_colours))
    return latents[:, :, conditioning.references :]


def noise(conditioning: Conditioning, seed: int) -> torch.Tensor:
    """Starting noise, float32, drawn on the CPU so that a seed means the same on every device.

    The reference's frames take the noise that was drawn last: the video's own noise is then the same with and
    without a reference (as in DiffSynth).
    """
    import torch

    drawn = torch.randn(conditioning.latent_shape, generator=torch.Generator("cpu").manual_seed(seed))
    if not conditioning.references:
        return drawn
    return torch.concat((drawn[:, :, -conditioning.references :], drawn[:, :, : -conditioning.references]), dim=2)


def decode(engine: Engine, latents: torch.Tensor, conditioning: Conditioning, settings: SampleSettings) -> Clip:
    """The clip of latents [1, 16, T, h, w] out of ``sample``."""
    import torch

    (vae,) = engine.use("vae")
    tiles: dict[str, Any] = {"tiled": True, **TILE} if settings.tiling else {"tiled": False}
    with torch.no_grad():
        video = vae.decode(latents.to(device=engine.device, dtype=engine.dtype), device=engine.device, **tiles)[0]
        if settings.precision == "diffsynth":
            levels = ((video + 1) * (255 / 2)).clip(0, 255)  # cut, not rounded, in the net's own type
        else:
            levels = ((video.float() + 1) * (255 / 2)).round().clip(0, 255)
        frames = rearrange(levels, "c t h w -> t h w c").to(device="cpu", dtype=torch.uint8)
    return Clip(np.ascontiguousarray(frames.numpy()), conditioning.fps)


def _check_same_size(conditioning: Conditioning, settings: SampleSettings) -> None:
    width, height = conditioning.size
    if (width, height, conditioning.frames) != (settings.width, settings.height, settings.frames):
        raise SettingsError(
            "The conditioning was made for another size.",
            expected=f"{settings.width} x {settings.height}, {settings.frames} frames",
            got=f"{width} x {height}, {conditioning.frames} frames",
            remedy="Encode the control video and the reference again for this size.",
        )
