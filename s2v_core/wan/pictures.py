"""The pictures that steer a rendering, brought to its size and length; what was done to them is said in sentences."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..errors import SettingsError
from ..video.clip import Clip
from ..video.fit import fit_clip, fit_image
from .settings import SampleSettings

Image = np.ndarray[Any, np.dtype[np.uint8]]
References = Image | Sequence[Image] | None
Notes = tuple[str, ...]

TIME_STRIDE = 4
FPS = Fraction(16)  # Wan2.1's training rate
_BLACK = (0, 0, 0)  # the ground that a pose is drawn on
_WHITE = (255, 255, 255)  # VACE's own preparation puts references on white (ali-vilab/VACE)


def fit_control(control: Clip | None, settings: SampleSettings) -> tuple[Clip | None, Notes]:
    """The control video at the size and length of the settings, and what was done to it."""
    return _fit_video("control video", control, settings)


def fit_start(start: Clip | None, settings: SampleSettings) -> tuple[Clip | None, Notes]:
    """The clip that a rendering with ``denoise`` below 1 begins from, at its size and length, and what was done to it.

    At ``denoise`` 1 no clip is needed and a clip that is there plays no part, which is said. Raises ``SettingsError``
    when it is needed and missing.
    """
    if settings.denoise == 1.0:
        return None, () if start is None else ("At denoise 1 the start clip plays no part.",)
    if start is None:
        raise SettingsError(
            f"A rendering with denoise {settings.denoise} begins from a clip.",
            expected="a start clip",
            got="none",
            remedy="Give a start clip, or set denoise to 1.",
        )
    return _fit_video("start clip", start, settings)


def fit_references(references: References, settings: SampleSettings) -> tuple[tuple[Image, ...], Notes]:
    """The reference images at the size of the settings, in their order, and what was done to them.

    ``references``: a picture, a list of pictures, or uint8 [N, H, W, 3]. Grey pictures become RGB. Raises
    ``SettingsError`` for what is no RGB picture.
    """
    given = as_references(references)
    made: list[Image] = []
    notes: list[str] = []
    for number, picture in enumerate(given, start=1):
        name = "The reference image" if len(given) == 1 else f"Reference image {number}"
        made.append(_fit_reference(picture, name, settings, notes))
    return tuple(made), tuple(notes)


def as_references(references: References) -> tuple[Image, ...]:
    """One picture, several or none as a tuple; the arrays are not looked into."""
    if references is None:
        return ()
    if isinstance(references, np.ndarray) and references.ndim != 4:
        return (references,)
    return tuple(references)


def array_sha256(pixels: np.ndarray[Any, Any]) -> str:
    """Hex sha256 of an array's values, type and shape."""
    digest = hashlib.sha256(f"{pixels.dtype} {list(pixels.shape)}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def cut(what: str, frames: int, settings: SampleSettings) -> Notes:
    """What is said of a video of this length: nothing, or that its end is not used. A short one is an error."""
    if frames < settings.frames:
        fewer = (frames - 1) // TIME_STRIDE * TIME_STRIDE + 1
        raise SettingsError(
            f"The {what} is too short.",
            expected=f"at least {settings.frames} frames",
            got=f"{frames} frames",
            remedy=f"Set the number of frames to {fewer}, or use a longer clip.",
        )
    return () if frames == settings.frames else (f"The {what}'s first {settings.frames} of {frames} frames are used.",)


def fitted(what: str, width: int, height: int, settings: SampleSettings) -> str:
    """What is said of a picture that had another size."""
    how = "letterboxed" if settings.fit == "letterbox" else "cropped"
    return f"{what} was {how} from {width} x {height} to {settings.width} x {settings.height}."


def _fit_video(what: str, clip: Clip | None, settings: SampleSettings) -> tuple[Clip | None, Notes]:
    if clip is None:
        return None, ()
    notes = list(cut(what, len(clip), settings))
    if notes:
        clip = clip.with_frames(clip.frames[: settings.frames])
    size = (settings.width, settings.height)
    if (clip.width, clip.height) != size:
        notes.append(fitted(f"The {what}", clip.width, clip.height, settings))
        clip = fit_clip(clip, size, settings.fit, _BLACK)
    return clip, tuple(notes)


def _fit_reference(picture: Any, name: str, settings: SampleSettings, notes: list[str]) -> Image:
    grey = isinstance(picture, np.ndarray) and (picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 1))
    if grey and picture.dtype == np.uint8:
        picture = np.repeat(picture.reshape(*picture.shape[:2], 1), 3, axis=2)
    if (
        not isinstance(picture, np.ndarray)
        or picture.dtype != np.uint8
        or picture.ndim != 3
        or picture.shape[2] != 3
        or 0 in picture.shape
    ):
        raise SettingsError(
            f"{name} cannot be used.",
            expected="an RGB picture, uint8 [height, width, 3]",
            got=f"{picture.dtype} {list(picture.shape)}" if isinstance(picture, np.ndarray) else type(picture).__name__,
            remedy="Convert it to RGB; put a picture with transparency on a plain ground first.",
        )
    height, width = picture.shape[:2]
    if (width, height) == (settings.width, settings.height):
        return picture
    notes.append(fitted(name, width, height, settings))
    return fit_image(picture, (settings.width, settings.height), settings.fit, _WHITE)
