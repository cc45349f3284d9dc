"""``PoseTrack``: the points of every person in every frame, whatever net found them."""

from __future__ import annotations

from dataclasses import dataclass
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
