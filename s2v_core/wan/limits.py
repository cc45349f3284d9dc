"""Which values of ``SampleSettings`` cannot go together. Each check raises ``SettingsError`` with a value that can."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..errors import SettingsError
from .scales import MOST_STEPS, parse_scales

if TYPE_CHECKING:
    from .settings import SampleSettings


def check_size(settings: SampleSettings) -> None:
    """Sides are multiples of 16, frames are 4n + 1."""
    width, height, frames = settings.width, settings.height, settings.frames
    if width % 16 or height % 16:
        near = [max(16, round(side / 16) * 16) for side in (width, height)]
        raise SettingsError(
            f"The size {width} x {height} cannot be rendered.",
            expected="a width and a height that are multiples of 16",
            got=f"{width} x {height}",
            remedy=f"Use {near[0]} x {near[1]}.",
        )
    if frames % 4 != 1:
        lower = max(1, (frames - 1) // 4 * 4 + 1)
        raise SettingsError(
            f"A video of {frames} frames cannot be rendered.",
            expected="4n + 1 frames (..., 77, 81, 85, ...)",
            got=str(frames),
            remedy=f"Use {lower} or {lower + 4}.",
        )


def check_steps(settings: SampleSettings) -> None:
    """Whatever is said of single steps, and what the solver allows."""
    for name in ("control", "reference", "guidance"):
        first, behind = getattr(settings, f"{name}_from"), getattr(settings, f"{name}_to")
        if first > behind:
            raise SettingsError(
                f"The steps of {name}_from and {name}_to are the wrong way round.",
                expected=f"{name}_from at most {name}_to",
                got=f"from step {first} to step {behind}",
                remedy=f"Exchange them, or set {name}_to to {MOST_STEPS} for the end.",
            )
    if settings.zero_init_steps >= settings.steps:
        raise SettingsError(
            f"With {settings.zero_init_steps} zero_init_steps nothing is left of {settings.steps} steps.",
            expected=f"at most {settings.steps - 1}",
            got=str(settings.zero_init_steps),
            remedy="Use fewer of them, or more steps.",
        )
    # The last number holds to the end, so a list may be shorter than the steps.
    listed = len(parse_scales(settings.guidance_schedule, -math.inf, math.inf))
    if listed > settings.steps:
        raise SettingsError(
            f"The guidance_schedule {settings.guidance_schedule!r} is longer than the rendering.",
            expected=f"at most {settings.steps} numbers, one for each step",
            got=str(listed),
            remedy="Shorten the list or use more steps.",
        )
    if settings.precision == "diffsynth" and settings.solver != "euler":
        raise SettingsError(
            f"The solver {settings.solver} cannot run with precision diffsynth.",
            expected="euler, the solver that DiffSynth has",
            got=settings.solver,
            remedy="Use precision float32.",
        )
    if settings.precision == "diffsynth" and settings.step_cache:
        raise SettingsError(
            f"With step_cache {settings.step_cache:g} nothing is bit for bit as with DiffSynth.",
            expected="step_cache 0 with precision diffsynth",
            got=f"{settings.step_cache:g}",
            remedy="Use precision float32, or step_cache 0.",
        )


def check_windows(settings: SampleSettings) -> None:
    """A window is 4n + 1 frames, an overlap 4n and shorter than it."""
    length, overlap = settings.window_frames, settings.window_overlap
    if length % 4 != 1:
        raise SettingsError(
            f"A window of {length} frames cannot be rendered.",
            expected="4n + 1 frames (..., 77, 81, 85, ...)",
            got=str(length),
            remedy=f"Use {(length - 1) // 4 * 4 + 1}.",
        )
    if overlap % 4 or overlap >= length:
        raise SettingsError(
            f"Windows of {length} frames cannot overlap by {overlap}.",
            expected=f"a multiple of 4, at most {length - 1}",
            got=str(overlap),
            remedy=f"Use {min(overlap // 4 * 4, length - 1)}.",
        )
