"""``PoseTrack``: the points of every person in every frame, whatever net found them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from ..errors import SettingsError

# DWPose's 134 points in OpenPose order (facts of the format: yzd-v/DWPose, wholebody + neck).
POINTS = 134
BODY = slice(0, 18)
FEET = slice(18, 24)
FACE = slice(24, 92)
LEFT_HAND = slice(92, 113)
RIGHT_HAND = slice(113, 134)
_MAX_FPS = 1000


@dataclass(frozen=True, eq=False)
class PoseTrack:
    """Points over time.

    ``points``: float32 [T, P, 134, 2], (x, y) in pixels of the canvas. ``scores``: float32 [T, P, 134], 0 to 1;
    a point that was not found has score 0 and may be anywhere. ``canvas``: (height, width). ``fps``: frames a second.
    ``backend``: what found the points, for example "blazepose (cpu)". ``notes``: one text a frame, "" when all is well.
    """

    points: np.ndarray[Any, np.dtype[np.float32]]
    scores: np.ndarray[Any, np.dtype[np.float32]]
    canvas: tuple[int, int]
    fps: Fraction
    backend: str
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        frames, people = self.points.shape[:2]
        wanted = ((frames, people, POINTS, 2), (frames, people, POINTS))
        if (self.points.shape, self.scores.shape) != wanted or len(self.notes) != frames:
            raise SettingsError(
                "These arrays are not a pose track.",
                expected=f"points {list(wanted[0])}, scores {list(wanted[1])} and {frames} notes",
                got=f"points {list(self.points.shape)}, scores {list(self.scores.shape)} and {len(self.notes)} notes",
            )

    def __len__(self) -> int:
        return int(self.points.shape[0])

    @property
    def found(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Bool [T]: the frames in which any point of anybody has a score above 0."""
        return np.asarray((self.scores > 0).any(axis=(1, 2)))


def scale_track(
    track: PoseTrack,
    scale: float | tuple[float, float],
    dx: float = 0.0,
    dy: float = 0.0,
    canvas: tuple[int, int] | None = None,
) -> PoseTrack:
    """The track after its clip was resized by ``scale`` (or by (x, y) scales) and then moved by ``dx``, ``dy`` pixels.

    A cropped clip moves its points to the left and up: dx and dy are negative. ``canvas``: the new (height, width);
    None scales the old one. Points that fall outside keep their scores.
    """
    sx, sy = scale if isinstance(scale, tuple) else (scale, scale)
    if not (sx > 0 and sy > 0):
        raise SettingsError("A pose track cannot be scaled by this.", expected="scales above 0", got=f"{sx}, {sy}")
    height, width = track.canvas
    points = track.points * np.array([sx, sy], np.float32) + np.array([dx, dy], np.float32)
    return replace(track, points=points, canvas=canvas or (max(1, round(height * sy)), max(1, round(width * sx))))


def as_fps(value: int | float | Fraction) -> Fraction:
    """A frame rate, exact; a number with a decimal point is taken as written. Raises SettingsError unless it is > 0."""
    try:
        rate = Fraction(value) if isinstance(value, (int, Fraction)) else Fraction(repr(float(value)))
    except (TypeError, ValueError, OverflowError):
        rate = Fraction(0)
    if not 0 < rate <= _MAX_FPS:
        raise SettingsError(
            f"{value!r} is no frame rate.", expected=f"frames a second, above 0 and at most {_MAX_FPS}", got=repr(value)
        )
    return rate
