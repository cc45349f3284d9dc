"""Masks: where a video is drawn anew (white) and where it is kept (black)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import SettingsError
from ..video.clip import Clip
from ..video.fit import fit_image
from .pictures import FPS, Image, Notes, cut, fit_control, fitted
from .settings import SampleSettings

# uint8 [T, H, W], or [1, H, W] for all frames: 255 is drawn anew, 0 is kept.
Mask = np.ndarray[Any, np.dtype[np.uint8]]

KEPT, DRAWN = 0, 255
_MIDDLE = 128  # above half of 255
# What stands in frames that nothing is known of: VACE's own 127.5 (vace/annotators/frameref.py), cut to 8 bits.
_UNKNOWN = 127
_COLOUR_NOISE = 8  # levels by which the three channels of a grey video may differ after compression


def as_mask(mask: Any) -> Mask | None:
    """A mask in any usual form as uint8 [T, H, W].

    Takes None; a ``Clip`` or uint8 [T, H, W, 3] in shades of grey; uint8 (0 to 255), bool or float (0 to 1) arrays
    [T, H, W] or [T, H, W, 1]; and one picture [H, W], [H, W, 1] or [H, W, 3] for all frames. Raises ``SettingsError``
    for colours and for anything else.
    """
    if mask is None:
        return None
    array = mask.frames if isinstance(mask, Clip) else np.asarray(mask)
    if array.ndim == 3 and array.shape[2] in (1, 3):  # no mask is so narrow: it is a picture with its channels
        array = array[None]
    expected = "grey frames: a clip, or an array [frames, height, width] of 0 to 255, or of 0 to 1 as floats"
    if array.ndim == 4 and array.shape[3] == 3 and array.dtype == np.uint8:
        spread = int((array.max(axis=3) - array.min(axis=3)).max()) if array.size else 0
        if spread > _COLOUR_NOISE:
            raise SettingsError(
                "The mask has colours.",
                expected=expected,
                got=f"channels that differ by {spread} of 255 levels",
                remedy="Draw it in black (kept), white (drawn anew) and greys between.",
            )
        array = np.round(array.mean(axis=3)).astype(np.uint8)
    elif array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.size == 0 or (array.dtype != np.uint8 and array.dtype.kind not in "bf"):
        raise SettingsError(
            "The mask cannot be used.",
            expected=expected,
            got=f"{array.dtype} {list(array.shape)}",
            remedy="Convert it; a mask of one picture, [height, width], holds for all frames.",
        )
    if array.dtype == np.uint8:
        return array
    values = array.astype(np.float64)
    # Written so that NaN fails too.
    if not (values.min() >= 0 and values.max() <= 1):
        raise SettingsError(
            "The mask's numbers cannot be used.",
            expected="floats from 0 (kept) to 1 (drawn anew)",
            got=f"{values.min():g} to {values.max():g}",
            remedy="Scale them to 0 to 1.",
        )
    return np.round(values * DRAWN).astype(np.uint8)


def fit_mask(mask: Any, control: Clip | None, settings: SampleSettings) -> tuple[Mask | None, Notes]:
    """The mask at the size and length of the settings, and what was done to it.

    ``control``: the control video before it is fitted; the mask lies on it, so it needs one, and its proportions or
    the rendering's own size. A border that fitting adds is drawn anew. With ``mask_edge`` "hard" every level above the
    middle becomes white and all others black. Raises ``SettingsError``.
    """
    given = as_mask(mask)
    if given is None:
        return None, ()
    if control is None:
        raise SettingsError(
            "A mask needs a control video.",
            expected="a video whose black parts of the mask are kept",
            got="none",
            remedy="Give the control video, or leave the mask out.",
        )
    notes: list[str] = []
    if len(given) > 1:
        notes += cut("mask", len(given), settings)
        given = given[: settings.frames]
    height, width = given.shape[1:]
    size = (settings.width, settings.height)
    if (width, height) != size:
        if width * control.height != height * control.width:
            raise SettingsError(
                "The mask has another shape than the control video that it lies on.",
                expected=f"the proportions of {control.width} x {control.height}, or {size[0]} x {size[1]}",
                got=f"{width} x {height}",
                remedy="Make the mask for this video.",
            )
        notes.append(fitted("The mask", width, height, settings))
        colours = (np.repeat(frame[..., None], 3, axis=2) for frame in given)
        given = np.stack([fit_image(frame, size, settings.fit, (DRAWN,) * 3)[..., 0] for frame in colours])
    if settings.mask_edge == "hard":
        given = np.where(given >= _MIDDLE, np.uint8(DRAWN), np.uint8(KEPT))
    if len(given) == 1:
        given = np.broadcast_to(given, (settings.frames, *given.shape[1:]))
    return given, tuple(notes)


def keep_frames(
    pictures: Mapping[int, Image], settings: SampleSettings, control: Clip | None = None
) -> tuple[Clip, Mask]:
    """A control video that holds whole pictures at some frames, and the mask that keeps them: first and last frame.

    ``pictures``: frame number (-1 is the last) -> uint8 [H, W, 3]. The other frames are those of ``control``, or
    unknown without one. Both results have the size and length of the settings. Raises ``SettingsError`` for a frame
    number outside of the video, and what fitting raises.
    """
    size = (settings.width, settings.height)
    base, _ = fit_control(control, settings)
    if base is None:
        frames = np.full((settings.frames, settings.height, settings.width, 3), _UNKNOWN, np.uint8)
        base = Clip(frames, FPS)
    frames = base.frames.copy()
    mask = np.full(frames.shape[:3], DRAWN, np.uint8)
    for number, picture in pictures.items():
        if not -settings.frames <= number < settings.frames:
            raise SettingsError(
                f"There is no frame {number} to keep.",
                expected=f"from 0 to {settings.frames - 1}, or -1 for the last",
                got=str(number),
                remedy="Use -1 for the last frame.",
            )
        frames[number] = fit_image(picture, size, settings.fit)
        mask[number] = KEPT
    return base.with_frames(frames), mask


def region(box: tuple[int, int, int, int], settings: SampleSettings, *, inside: bool = True) -> Mask:
    """A mask [1, H, W] for all frames that draws a rectangle anew and keeps the rest; the other way round with
    ``inside`` False.

    ``box``: left, top, right, bottom in pixels of the rendering; right and bottom are the first outside of it. Raises
    ``SettingsError`` for a box that is empty or lies outside of the picture.
    """
    left, top, right, bottom = box
    if not (0 <= left < right <= settings.width and 0 <= top < bottom <= settings.height):
        raise SettingsError(
            f"The region {box} cannot be used.",
            expected=f"left, top, right, bottom in pixels inside of {settings.width} x {settings.height}",
            got=", ".join(map(str, box)),
            remedy="Left must be smaller than right, and top smaller than bottom.",
        )
    mask = np.full((1, settings.height, settings.width), KEPT if inside else DRAWN, np.uint8)
    mask[:, top:bottom, left:right] = DRAWN if inside else KEPT
    return mask
