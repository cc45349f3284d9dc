"""What the sampler is steered by: text states of both prompts, the VACE context of pose video, mask and references,
and the latents of the clip to begin from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import rearrange

from ..prompts.prompt import Prompt
from ..video.clip import Clip
from .engine import Engine
from .masks import DRAWN, Mask, fit_mask
from .pictures import FPS, TIME_STRIDE, References, array_sha256, fit_control, fit_references, fit_start
from .settings import SampleSettings
from .vae import fast_vae
from .vae_stream import encode_parts

if TYPE_CHECKING:
    import torch

VAE_STRIDE = 8
TILE = {"tile_size": (30, 52), "tile_stride": (15, 26)}  # DiffSynth's defaults, in latent pixels
_TRAINED_FRAMES = 81  # Wan2.1's training length
_GREY_SIZES = 4  # of which an engine keeps the latents of a grey video: 8 MB each at 81 frames of 832 x 480


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Everything that steers the sampler and is the same over steps, guidance, LoRAs and seeds.

    ``positive``, ``negative``: text states [1, 512, text dim]. ``vace_context``: [1, 96, T + references, H/8, W/8], or
    None without control and reference. ``references``: latent frames in front that belong to the reference images, one
    each. ``size``: (width, height) and ``frames`` of the video. ``notes``: what was fitted or cut, in sentences.
    ``start``: latents of the references and the start clip, of ``latent_shape``, or None to begin from pure noise.
    ``noise``: starting noise of ``latent_shape`` in place of what the seed draws, or None.
    """

    positive: torch.Tensor
    negative: torch.Tensor
    vace_context: torch.Tensor | None
    references: int
    size: tuple[int, int]
    frames: int
    fps: Fraction
    notes: tuple[str, ...] = ()
    start: torch.Tensor | None = None
    noise: torch.Tensor | None = None

    @property
    def latent_shape(self) -> tuple[int, int, int, int, int]:
        """[1, 16, latent frames with the references, H/8, W/8]."""
        width, height = self.size
        time = (self.frames - 1) // TIME_STRIDE + 1 + self.references
        return (1, 16, time, height // VAE_STRIDE, width // VAE_STRIDE)


@dataclass(frozen=True, eq=False)
class ControlContext:
    """The part of a conditioning that comes from pictures; see ``Conditioning``."""

    vace_context: torch.Tensor | None
    references: int
    fps: Fraction
    notes: tuple[str, ...]
    start: torch.Tensor | None = None


def condition(
    engine: Engine,
    prompt: Prompt,
    settings: SampleSettings,
    *,
    control: Clip | None = None,
    reference: References = None,
    mask: Any = None,
    start: Clip | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Conditioning:
    """Encode the prompt and the pictures.

    ``reference``: one picture uint8 [H, W, 3], or several in the order in which they shall stand. ``mask``: what
    ``as_mask`` takes. ``start``: the clip to begin from when ``denoise`` is below 1. Only ``width``, ``height``,
    ``frames``, ``fit``, ``tiling``, ``mask_edge`` and ``denoise`` of the settings matter. Pictures of another size are
    fitted as ``settings.fit`` says, and this is noted. Raises ``SettingsError`` for pictures that cannot be used and
    videos that are too short.
    """
    positive = engine.text_states(prompt.text)
    negative = engine.text_states(prompt.negative)
    engine.finish_texts()
    pictures = encode_pictures(engine, settings, control, reference, mask, start)
    return join(positive, negative, pictures, settings)


def join(
    positive: torch.Tensor, negative: torch.Tensor, pictures: ControlContext, settings: SampleSettings
) -> Conditioning:
    """A conditioning out of parts that were encoded before."""
    return Conditioning(
        positive,
        negative,
        pictures.vace_context,
        pictures.references,
        (settings.width, settings.height),
        settings.frames,
        pictures.fps,
        pictures.notes + _length_notes(settings),
        pictures.start,
    )


def encode_pictures(
    engine: Engine,
    settings: SampleSettings,
    control: Clip | None = None,
    reference: References = None,
    mask: Any = None,
    start: Clip | None = None,
) -> ControlContext:
    """The VACE context: inactive and reactive latents and the mask, with the references' latent frames in front.

    Without a mask the whole control video is to be redrawn: the mask is 1 everywhere and the inactive part is a grey
    picture.
    """
    import torch

    fitted_mask, mask_notes = fit_mask(mask, control, settings)
    fitted_control, control_notes = fit_control(control, settings)
    fitted_references, reference_notes = fit_references(reference, settings)
    fitted_start, start_notes = fit_start(start, settings)
    notes = control_notes + mask_notes + reference_notes + start_notes
    fps = next((clip.fps for clip in (control, fitted_start) if clip), FPS)

    context, begin = None, None
    with torch.no_grad():
        pictures = [Clip(picture[None], FPS) for picture in fitted_references]
        if fitted_control is not None or pictures:
            context = _vace_context(engine, settings, fitted_control, fitted_mask, pictures).cpu()
        if fitted_start is not None:
            # References are single pictures and need no tiles (DiffSynth makes none here either).
            exact = settings.precision == "diffsynth"
            parts = [_latents(engine, picture, False, exact) for picture in pictures]
            parts.append(_latents(engine, fitted_start, settings.tiling, exact))
            begin = torch.concat(parts, dim=2).cpu()
    return ControlContext(context, len(pictures), fps, notes, begin)


def _vace_context(
    engine: Engine, settings: SampleSettings, control: Clip | None, mask: Mask | None, references: list[Clip]
) -> torch.Tensor:
    """[1, 96, references + T, H/8, W/8] of pictures that have the size of the settings."""
    import torch

    how = (settings.tiling, settings.precision == "diffsynth")
    if control is None or mask is None:
        inactive = _grey(engine, settings, *how)
        reactive = inactive if control is None else _latents(engine, control, *how)
        shares = torch.ones((1, VAE_STRIDE**2, *inactive.shape[2:]), dtype=engine.dtype, device=engine.device)
    else:
        inactive = _latents(engine, control, *how, mask=mask, drawn=False)
        reactive = _latents(engine, control, *how, mask=mask, drawn=True)
        shares = mask_shares(_drawn(engine, mask))
    latents = torch.concat((inactive, reactive), dim=1)
    if references:
        # One by one: in a list DiffSynth's encoder takes ever larger tiles (its issue 1224).
        fronts = [_latents(engine, picture, *how) for picture in references]
        front = torch.concat(fronts, dim=2)
        latents = torch.concat((torch.concat((front, torch.zeros_like(front)), dim=1), latents), dim=2)
        shares = torch.concat((torch.zeros_like(shares[:, :, :1]).expand(-1, -1, len(fronts), -1, -1), shares), dim=2)
    return torch.concat((latents, shares), dim=1)


def mask_shares(drawn: torch.Tensor) -> torch.Tensor:
    """A mask [1, 1, T, H, W] from 0 to 1 as VACE takes it: [1, 64, T', H/8, W/8], one channel for each pixel of 8 x 8.

    Frames are picked at even distances, for 81 frames 1, 5, 9...: VACE's own choice, which the net has learned.
    """
    import torch

    shares = rearrange(drawn[0, 0], "t (h p) (w q) -> 1 (p q) t h w", p=VAE_STRIDE, q=VAE_STRIDE)
    times = (drawn.shape[2] + TIME_STRIDE - 1) // TIME_STRIDE
    return torch.nn.functional.interpolate(shares, size=(times, *shares.shape[3:]), mode="nearest-exact")


def _length_notes(settings: SampleSettings) -> tuple[str, ...]:
    if min(settings.frames, settings.window_frames) <= _TRAINED_FRAMES:
        return ()
    return (
        f"{min(settings.frames, settings.window_frames)} frames are rendered at once, but Wan2.1 was trained on "
        f"{_TRAINED_FRAMES}: window_frames {_TRAINED_FRAMES} renders overlapping windows of that length.",
    )


def encode(engine: Engine, vae: Any, video: torch.Tensor, tiling: bool, exact: bool) -> torch.Tensor:
    """Latents [1, 16, T', H/8, W/8] of pixels [1, 3, T, H, W] from -1 to 1. ``exact``: DiffSynth's bits."""
    run = partial(engine.within_memory, ("vae",))

    def tiled() -> torch.Tensor:
        try:
            with fast_vae(vae, exact):
                made: torch.Tensor = vae.encode(video, device=engine.device, tiled=True, **TILE)
                return made
        finally:
            vae.model.clear_cache()

    encoded: torch.Tensor = run(tiled) if tiling else encode_parts(vae, video, exact, run)
    return encoded.to(dtype=engine.dtype, device=engine.device)


def _latents(
    engine: Engine, clip: Clip, tiling: bool, exact: bool, *, mask: Mask | None = None, drawn: bool = True
) -> torch.Tensor:
    """``encode`` of a clip, on the engine's device. ``mask``: the rest is grey, of what is ``drawn`` anew or is not."""

    def video() -> torch.Tensor:
        whole = pixels(engine, clip)
        if mask is None:
            return whole
        shares = _drawn(engine, mask)
        return whole * (shares if drawn else 1 - shares)

    def content() -> dict[str, Any]:
        found: dict[str, Any] = {"frames": array_sha256(clip.frames)}
        return found if mask is None else found | {"mask": array_sha256(mask), "drawn": drawn}

    return _encoded(engine, content, video, tiling, exact)


def _grey(engine: Engine, settings: SampleSettings, tiling: bool, exact: bool) -> torch.Tensor:
    """Latents of a grey video: what VACE redraws of a video without a mask is all of it. Kept for each size."""
    import torch

    shape = (1, 3, settings.frames, settings.height, settings.width)
    key = (*shape, tiling, exact)
    if key not in engine.grey:
        while len(engine.grey) >= _GREY_SIZES:
            engine.grey.pop(next(iter(engine.grey)))

        def grey() -> torch.Tensor:
            return torch.zeros(shape, dtype=engine.dtype, device=engine.device)  # 0 is the middle of -1..1

        engine.grey[key] = _encoded(engine, lambda: {"grey": shape}, grey, tiling, exact).cpu()
    return engine.grey[key].to(engine.device)


def _encoded(
    engine: Engine,
    content: Callable[[], dict[str, Any]],
    video: Callable[[], torch.Tensor],
    tiling: bool,
    exact: bool,
) -> torch.Tensor:
    """``encode``, or what is ``kept`` of it. ``content``: what the video is made of."""

    def make() -> torch.Tensor:
        (vae,) = engine.use("vae")
        return encode(engine, vae, video(), tiling, exact)

    if engine.kept is None:
        return make()
    made_of = {**content(), "tiles": TILE if tiling else None, "exact": exact}
    return engine.kept.tensor(engine, "vae", made_of, make).to(engine.device)


def _drawn(engine: Engine, mask: Mask) -> torch.Tensor:
    """A mask as [1, 1, T, H, W] from 0 to 1, on the device."""
    import torch

    levels = torch.from_numpy(np.ascontiguousarray(mask)).to(torch.float32)
    return levels.to(dtype=engine.dtype, device=engine.device)[None, None] * (1 / DRAWN)


def pixels(engine: Engine, clip: Clip) -> torch.Tensor:
    """A clip as [1, 3, T, H, W] from -1 to 1, on the device."""
    import torch

    # A copy: frames that were read cannot be written, which torch warns of.
    frames = torch.from_numpy(np.array(clip.frames, np.float32, order="C"))
    frames = frames.to(dtype=engine.dtype, device=engine.device) * (2 / 255) - 1
    return rearrange(frames, "t h w c -> 1 c t h w").contiguous()
