"""The host's own sockets for Wan and for sound, to and from what the core uses."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comfy.latent_formats
from comfy_api.latest import InputImpl

from ..s2v_core.errors import SettingsError, VideoError
from ..s2v_core.video.clip import Clip
from ..s2v_core.video.sound import Sound, read_sound
from . import host

if TYPE_CHECKING:
    import torch

# What a text encoder notes in a conditioning besides the states, and Wan does not use.
_UNUSED = {"pooled_output"}


def text_states(conditioning: Any, what: str, width: int) -> torch.Tensor:
    """A CONDITIONING of CLIP Text Encode as text states [1, 512, ``width``].

    ``what`` names the socket in an error. Raises ``SettingsError`` for a conditioning that holds more than one text or
    anything else that steers, which would be ignored here, and what ``fit_states`` raises.
    """
    from ..s2v_core.wan.text import fit_states

    if len(conditioning) != 1:
        raise SettingsError(
            f"The conditioning in {what!r} is made of several.",
            expected="one encoded text",
            got=f"{len(conditioning)} entries",
            remedy="Connect CLIP Text Encode itself.",
        )
    states, more = conditioning[0]
    steering = sorted(key for key, value in more.items() if key not in _UNUSED and value is not None)
    if steering:
        raise SettingsError(
            f"The conditioning in {what!r} steers by more than a text.",
            expected="what CLIP Text Encode gives",
            got=f"also {', '.join(steering)}",
            remedy="Connect CLIP Text Encode itself; control video, reference and mask have sockets of their own here.",
        )
    return fit_states(states, width)


def starting_noise(noise: Any) -> Callable[[tuple[int, ...]], torch.Tensor]:
    """A NOISE, for example of RandomNoise, as what draws noise for latents of a shape: float32 on the CPU."""

    def draw(shape: tuple[int, ...]) -> torch.Tensor:
        import torch

        drawn: torch.Tensor = noise.generate_noise({"samples": torch.zeros(shape)})
        return drawn.to("cpu", torch.float32)

    return draw


def to_latent(latents: torch.Tensor) -> dict[str, Any]:
    """Latents as the core has them (mean 0, deviation 1) as the host's LATENT: at the VAE's own scale, on the CPU."""
    return {"samples": comfy.latent_formats.Wan21().process_out(latents.float().cpu())}


def to_audio(sound: Sound | None) -> dict[str, Any] | None:
    """A sound as the host's AUDIO; None where there is none, as its own nodes do it."""
    if sound is None:
        return None
    import torch

    return {"waveform": torch.from_numpy(sound.samples)[None], "sample_rate": sound.rate}


def to_sound(audio: Any) -> Sound | None:
    """The host's AUDIO, the first of a batch, as a sound."""
    if audio is None:
        return None
    return Sound(audio["waveform"][0].float().cpu().numpy(), int(audio["sample_rate"]))


def fitting_audio(audio: Any, clip: Clip) -> Any:
    """The beginning of an AUDIO that is as long as a clip, with silence behind it where it is shorter."""
    sound = to_sound(audio)
    return to_audio(sound.piece(Fraction(0), clip.duration) if sound else None)


def whole_source(video: Any) -> Any:
    """The path or the bytes of the file that a VIDEO shows, whole; None where it was made in the graph or is cut."""
    return video.get_stream_source() if isinstance(video, InputImpl.VideoFromFile) and not _is_cut(video) else None


def video_file(video: Any) -> Path | None:
    """The path of ``whole_source``, or None."""
    source = whole_source(video)
    return Path(source) if isinstance(source, str) else None


def video_name(video: Any) -> str:
    """The file name of a VIDEO, also of one that is cut, or nothing."""
    source = video.get_stream_source() if isinstance(video, InputImpl.VideoFromFile) else None
    return Path(source).name if isinstance(source, str) else ""


def _is_cut(video: Any) -> bool:
    # Hosts after 0.8.0 cut without writing a file, and tell nobody where.
    return any(bool(getattr(video, f"_VideoFromFile__{name}", 0)) for name in ("start_time", "duration"))


def video_parts(video: Any) -> tuple[Clip, Sound | None]:
    """All frames and the sound of a VIDEO that is no whole file, in memory."""
    parts = video.get_components()
    return host.to_clip(parts.images, parts.frame_rate, "video"), to_sound(parts.audio)


def file_sound(path: Path, clip: Clip, start: float, should_stop: Callable[[], bool]) -> tuple[Any, str]:
    """The AUDIO of a video file that goes with a clip that was read from it at this second, and why there is none.

    Sound that cannot be read does not keep anybody from the pictures.
    """
    try:
        sound = read_sound(path, Fraction(repr(float(start))), clip.duration, should_stop=should_stop)
    except VideoError as error:
        return None, f"The sound was left out. {error}"
    return to_audio(sound), "" if sound else "The file has no sound."
