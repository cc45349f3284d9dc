"""The tree of limbs in a track's 134 points, and the track without its holes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .track import FACE, FEET, LEFT_HAND, POINTS, RIGHT_HAND

Array = np.ndarray[Any, Any]

NOSE, NECK = 0, 1
SHOULDERS, HIPS, ANKLES = (5, 2), (11, 8), (13, 10)  # left, right, as everywhere here
HEAD = (0, 14, 15, 16, 17)  # nose, right and left eye, right and left ear
FEET_OF = ((18, 19, 20), (21, 22, 23))  # big toe, small toe, heel
SOLES = ((18, 20), (21, 23))  # big toe and heel: the small toe is not found by every net
PALMS = tuple(tuple(hand.start + joint for joint in (0, 1, 5, 9, 13, 17)) for hand in (LEFT_HAND, RIGHT_HAND))


@dataclass(frozen=True)
class Limb:
    """A line of the OpenPose skeleton: the points that it joins, the nearer one to the neck first.

    ``side``: "left", "right" or "" for the one limb in the middle.
    """

    name: str
    side: str
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.side} {self.name}".strip()


# The 17 limbs that DWPose draws. The eyes and ears hang on the nose.
LIMBS = (
    Limb("neck", "", 1, 0),
    Limb("shoulder", "left", 1, 5),
    Limb("shoulder", "right", 1, 2),
    Limb("upper arm", "left", 5, 6),
    Limb("upper arm", "right", 2, 3),
    Limb("forearm", "left", 6, 7),
    Limb("forearm", "right", 3, 4),
    Limb("torso", "left", 1, 11),
    Limb("torso", "right", 1, 8),
    Limb("thigh", "left", 11, 12),
    Limb("thigh", "right", 8, 9),
    Limb("shin", "left", 12, 13),
    Limb("shin", "right", 9, 10),
    Limb("nose to eye", "left", 0, 15),
    Limb("nose to eye", "right", 0, 14),
    Limb("eye to ear", "left", 15, 17),
    Limb("eye to ear", "right", 14, 16),
)
NAMES = tuple(dict.fromkeys(limb.name for limb in LIMBS))
HEAD_NAMES = ("nose to eye", "eye to ear")


def limb_index(name: str, side: str) -> int:
    """The place in ``LIMBS`` of this limb."""
    return next(index for index, limb in enumerate(LIMBS) if (limb.name, limb.side) == (name, side))


def _parents() -> tuple[int, ...]:
    parents = [-1] * POINTS
    for limb in LIMBS:
        parents[limb.end] = limb.start
    for ankle, foot in zip(ANKLES, FEET_OF, strict=True):
        for point in foot:
            parents[point] = ankle
    for part, parent in ((FACE, NOSE), (LEFT_HAND, 7), (RIGHT_HAND, 4)):
        parents[part] = [parent] * (part.stop - part.start)
    return tuple(parents)


# Each point's parent; -1 for the neck, the root. A hand hangs on the body's wrist, the face on the body's nose.
PARENTS = _parents()
# The points in an order in which every parent comes before its children.
ORDER = (NECK, *(limb.end for limb in LIMBS), *range(FEET.start, POINTS))


def complete(points: Array, known: Array) -> tuple[Array, Array]:
    """One person's points without holes: float64 [T, 134, 2], and bool [134], the points that were ever known.

    ``points`` [T, 134, 2]; ``known`` bool [T, 134]. A hole is filled on a straight line in time, and held at the ends.
    A neck that is never known is the middle of the known shoulders. Any other point that is never known lies on its
    parent, so that what hangs on it hangs on the next point up.
    """
    points, known = points.astype(np.float64), known.copy()
    if not known[:, NECK].any():
        seen = known[:, SHOULDERS, None]
        count = seen.sum(axis=1)
        points[:, NECK] = np.where(seen, points[:, SHOULDERS], 0).sum(axis=1) / np.maximum(count, 1)
        known[:, NECK] = count[:, 0] > 0
    filled, frames = np.zeros_like(points), np.arange(len(points))
    ever = np.asarray(known.any(axis=0))
    for point in ORDER:
        if not ever[point]:
            filled[:, point] = filled[:, PARENTS[point]] if point != NECK else 0.0
            continue
        there = np.flatnonzero(known[:, point])
        for axis in range(2):
            filled[:, point, axis] = np.interp(frames, there, points[there, point, axis])
    return filled, ever


def grow(filled: Array, ratios: Array) -> Array:
    """The skeleton with every limb vector multiplied by its ratio: [T, 134, 2] relative to the neck.

    ``filled`` is ``complete``'s; ``ratios`` [134] holds for each point the ratio of the limb that ends there.
    Directions do not change, so that all angles in the picture's plane stay as they are.
    """
    grown = np.zeros_like(filled)
    for point in ORDER[1:]:
        parent = PARENTS[point]
        grown[:, point] = grown[:, parent] + ratios[point] * (filled[:, point] - filled[:, parent])
    return grown
