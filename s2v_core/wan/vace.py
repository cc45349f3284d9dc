"""What the sampler is steered by: text states of both prompts, and the VACE context of pose video and reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import rearrange

from ..errors import SettingsError
from ..prompts.prompt import Prompt
from ..video.clip import Clip
from ..video.fit import fit_clip, fit_image
from .engine import Engine
from .settings import SampleSettings

if TYPE_CHECKING:
    import torch

    Image = np.ndarray[Any, np.dtype[np.uint8]]

VAE_STRIDE = 8
TIME_STRIDE = 4
TILE = {"tile_size": (30, 52), "tile_stride": (15, 26)}  # DiffSynth's defaults, in latent pixels
FPS = Fraction(16)  # Wan2.1's training rate
_BLACK = (0, 0, 0)  # the ground that a pose is drawn on
_WHITE = (255, 255, 255)  # VACE's own preparation puts references on white (ali-vilab/VACE)


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Everything that steers the sampler and is the same over steps, guidance, LoRAs and seeds.

    ``positive``, ``negative``: text states [1, 512, text dim]. ``vace_context``: [1, 96, T + references, H/8, W/8], or
    None without control and reference. ``references``: latent frames in front that belong to the reference image.
    ``size``: (width, height) and ``frames`` of the video. ``notes``: what was fitted or cut, in sentences.
    """

    positive: torch.Tensor
    negative: torch.Tensor
    vace_context: torch.Tensor | None
    references: int
    size: tuple[int, int]
    frames: int
    fps: Fraction
    notes: tuple[str, ...] = ()

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


def condition(
    engine: Engine,
    prompt: Prompt,
    settings: SampleSettings,
    *,
    control: Clip | None = None,
    reference: Image | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Conditioning:
    """Encode the prompt, the control video and the reference image (uint8 [H, W, 3]).

    Only ``width``, ``height``, ``frames``, ``fit`` and ``tiling`` of the settings matter. Pictures of another size are
    fitted as ``settings.fit`` says, and this is noted. Raises ``SettingsError`` for a control video that is too short.
    """
    positive = engine.text_states(prompt.text)
    negative = engine.text_states(prompt.negative)
    pictures = encode_pictures(engine, settings, control, reference)
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
        pictures.notes,
    )


def encode_pictures(
    engine: Engine, settings: SampleSettings, control: Clip | None, reference: Image | None
) -> ControlContext:
    """The VACE context: inactive and reactive latents and the mask, with the reference's latent frame in front.

    The mask is 1 everywhere: the whole control video is to be redrawn, so its inactive part is a black picture.
    """
    import torch

    control, control_notes = fit_control(control, settings)
    reference, reference_notes = fit_reference(reference, settings)
    notes = control_notes + reference_notes
    if control is None and reference is None:
        return ControlContext(None, 0, FPS, notes)

    (vae,) = engine.use("vae")
    shape = (1, 3, settings.frames, settings.height, settings.width)
    with torch.no_grad():
        grey = torch.zeros(shape, dtype=engine.dtype, device=engine.device)  # 0 is the middle of -1..1
        inactive = encode(engine, vae, grey, settings.tiling)
        reactive = inactive if control is None else encode(engine, vae, pixels(engine, control), settings.tiling)
        latents = torch.concat((inactive, reactive), dim=1)
        mask = torch.ones((1, VAE_STRIDE**2, *latents.shape[2:]), dtype=engine.dtype, device=engine.device)
        references = 0
        if reference is not None:
            picture = encode(engine, vae, pixels(engine, Clip(reference[None], FPS)), settings.tiling)
            front = torch.concat((picture, torch.zeros_like(picture)), dim=1)
            references = front.shape[2]
            latents = torch.concat((front, latents), dim=2)
            mask = torch.concat((torch.zeros_like(mask[:, :, :references]), mask), dim=2)
        context = torch.concat((latents, mask), dim=1)
    return ControlContext(context.cpu(), references, control.fps if control else FPS, notes)


def encode(engine: Engine, vae: Any, video: torch.Tensor, tiling: bool) -> torch.Tensor:
    """Latents [1, 16, T', H/8, W/8] of pixels [1, 3, T, H, W] from -1 to 1."""
    tiles: dict[str, Any] = {"tiled": True, **TILE} if tiling else {"tiled": False}
    encoded: torch.Tensor = vae.encode(video, device=engine.device, **tiles)
    return encoded.to(dtype=engine.dtype, device=engine.device)


def pixels(engine: Engine, clip: Clip) -> torch.Tensor:
    """A clip as [1, 3, T, H, W] from -1 to 1, on the device."""
    import torch

    frames = torch.from_numpy(np.ascontiguousarray(clip.frames)).to(torch.float32)
    frames = frames.to(dtype=engine.dtype, device=engine.device) * (2 / 255) - 1
    return rearrange(frames, "t h w c -> 1 c t h w").contiguous()


def fit_control(control: Clip | None, settings: SampleSettings) -> tuple[Clip | None, tuple[str, ...]]:
    """The control video at the size and length of the settings, and what was done to it."""
    if control is None:
        return None, ()
    notes = []
    if len(control) < settings.frames:
        fewer = (len(control) - 1) // TIME_STRIDE * TIME_STRIDE + 1
        raise SettingsError(
            "The control video is too short.",
            expected=f"at least {settings.frames} frames",
            got=f"{len(control)} frames",
            remedy=f"Set the number of frames to {fewer}, or use a longer clip.",
        )
    if len(control) > settings.frames:
        notes.append(f"The control video's first {settings.frames} of {len(control)} frames are used.")
        control = control.with_frames(control.frames[: settings.frames])
    size = (settings.width, settings.height)
    if (control.width, control.height) != size:
        notes.append(_fitted("The control video", control.width, control.height, settings))
        control = fit_clip(control, size, settings.fit, _BLACK)
    return control, tuple(notes)


def fit_reference(reference: Image | None, settings: SampleSettings) -> tuple[Image | None, tuple[str, ...]]:
    """The reference image at the size of the settings, and what was done to it."""
    if reference is None:
        return None, ()
    if reference.dtype != np.uint8 or reference.ndim != 3 or reference.shape[2] != 3:
        raise SettingsError(
            "The reference image cannot be used.",
            expected="an RGB picture, uint8 [height, width, 3]",
            got=f"{reference.dtype} {list(reference.shape)}",
            remedy="Convert it to RGB; put a picture with transparency on a plain ground first.",
        )
    height, width = reference.shape[:2]
    size = (settings.width, settings.height)
    if (width, height) == size:
        return reference, ()
    fitted = fit_image(reference, size, settings.fit, _WHITE)
    return fitted, (_fitted("The reference image", width, height, settings),)


def _fitted(what: str, width: int, height: int, settings: SampleSettings) -> str:
    how = "letterboxed" if settings.fit == "letterbox" else "cropped"
    return f"{what} was {how} from {width} x {height} to {settings.width} x {settings.height}."
