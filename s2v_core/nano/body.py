"""The toy dancer's skeleton: a pose in angles becomes points in space, and these become pixels.

Coordinates: x to the picture's right, y down, z towards the viewer; a unit is the dancer's height. The dancer faces the
viewer, so that the left hand is on the picture's right. The picture is seen straight on, without perspective.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..pose.track import POINTS
from .motion import BEND, HOP, LEAN, LEFT_ARM, LEFT_LEG, RIGHT_ARM, RIGHT_LEG, SHIFT, YAW

Array = np.ndarray[Any, Any]

# Shares of the height. The head is a little larger than life: in small pictures it would be lost.
TORSO, SHOULDER, HIP = 0.285, 0.098, 0.058
UPPER_ARM, FOREARM, THIGH, SHIN = 0.160, 0.145, 0.232, 0.222
FOOT, SOLE, PALM = 0.088, 0.034, 0.029
HEAD_UP, HEAD_WIDE, HEAD_HIGH = 0.132, 0.062, 0.078  # neck to the head's middle; half axes of the head
_FORWARD = np.array([0.0, 0.0, 1.0])

FIGURE = 0.77  # the height of an average dancer, as a share of the picture's shorter side
FLOOR = 0.93  # where the soles stand, as a share of the picture's height
HORIZON = 0.80  # where wall and floor meet
# The points of a track that the toy world knows: body and feet.
KNOWN = slice(0, 24)
HEAD_MIDDLE = POINTS  # one point more than a track has


def joints(poses: Array) -> Array:
    """The points in space, float64 [T, 135, 3], of poses [T, 21]: a track's 134 and the head's middle.

    x is 0 at the middle of the hips before ``SHIFT``; y is 0 on the floor, on which the lowest foot or hand stands,
    and negative above it. Points of face and hands lie on the nose and the wrists.
    """
    degrees = np.deg2rad(poses)
    count = len(poses)
    points = np.zeros((count, POINTS + 1, 3))
    lean, bend = degrees[:, LEAN], degrees[:, BEND]
    up = np.stack([np.sin(lean) * np.cos(bend), -np.cos(lean) * np.cos(bend), np.sin(bend)], axis=1)
    across = np.stack([np.cos(lean), np.sin(lean), np.zeros(count)], axis=1)
    hips = np.stack([np.cos(0.3 * lean), np.sin(0.3 * lean), np.zeros(count)], axis=1)
    points[:, 1] = up * TORSO
    # left: +1, to the picture's right
    sides = ((1, 5, 6, 7, 11, 12, 13, 18, LEFT_ARM, LEFT_LEG), (-1, 2, 3, 4, 8, 9, 10, 21, RIGHT_ARM, RIGHT_LEG))
    for side, shoulder, elbow, wrist, hip, knee, ankle, toe, arm, leg in sides:
        points[:, shoulder] = points[:, 1] + side * SHOULDER * across
        upper, lower = _directions(degrees[:, arm], side)
        points[:, elbow] = points[:, shoulder] + UPPER_ARM * upper
        points[:, wrist] = points[:, elbow] + FOREARM * lower
        points[:, hip] = side * HIP * hips
        upper, lower = _directions(degrees[:, leg], side)
        points[:, knee] = points[:, hip] + THIGH * upper
        points[:, ankle] = points[:, knee] + SHIN * lower
        _foot(points, ankle, toe, lower, side, degrees[:, leg][:, 2])
    _head(points, 0.5 * lean, 0.4 * bend)
    turned = _turn(points, degrees[:, YAW])
    lowest = np.maximum(turned[:, [10, 13], 1].max(axis=1) + SOLE, turned[:, [4, 7], 1].max(axis=1) + PALM)
    lowest = np.maximum(lowest, turned[:, [18, 21], 1].max(axis=1) + 0.5 * SOLE)
    turned[:, :, 1] -= (lowest + poses[:, HOP])[:, None]
    turned[:, :, 0] += poses[:, SHIFT][:, None]
    return turned


@dataclass(frozen=True)
class Placing:
    """Where a dancer stands in a picture of ``size`` (width, height) pixels.

    ``x``: the middle, as a share of the width. ``height``: of the dancer, 1 is average.
    """

    size: tuple[int, int]
    x: float = 0.5
    height: float = 1.0

    @property
    def unit(self) -> float:
        """Pixels of the dancer's height."""
        return FIGURE * self.height * min(self.size)

    def pixels(self, points: Array) -> Array:
        """Points in space [..., 3] as pixels (x, y) and depth: float64 [..., 3]; depth in pixels too."""
        width, height = self.size
        return np.asarray(points * self.unit + np.array([self.x * width, FLOOR * height, 0.0]))


def _directions(limb: Array, side: int) -> tuple[Array, Array]:
    """Unit vectors [T, 3] of a limb's upper and lower part."""
    found = []
    for lift, azimuth in ((limb[:, 0], limb[:, 1]), (limb[:, 2], limb[:, 3])):
        out = np.sin(lift)
        found.append(np.stack([side * out * np.cos(azimuth), np.cos(lift), out * np.sin(azimuth)], axis=1))
    return found[0], found[1]


def _foot(points: Array, ankle: int, toe: int, shin: Array, side: int, lift: Array) -> None:
    """Big toe, small toe and heel: flat while the shin is upright, stretched when the leg is thrown out."""
    stretch = np.clip((np.abs(lift) - np.deg2rad(35)) / np.deg2rad(45), 0, 1)[:, None]
    flat = np.array([side * 0.80, 0.16, 0.58])
    along = (1 - stretch) * flat + stretch * shin
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    down = (1 - stretch) * np.array([0.0, 0.4 * SOLE, 0.0])
    points[:, toe] = points[:, ankle] + along * FOOT * 0.8 + down
    points[:, toe + 1] = points[:, ankle] + along * FOOT * 0.65 + down
    points[:, toe + 2] = points[:, ankle] - along * FOOT * 0.05 + down


def _head(points: Array, lean: Array, bend: Array) -> None:
    up = np.stack([np.sin(lean) * np.cos(bend), -np.cos(lean) * np.cos(bend), np.sin(bend)], axis=1)
    across = np.stack([np.cos(lean), np.sin(lean), np.zeros(len(lean))], axis=1)
    middle = points[:, 1] + up * HEAD_UP
    points[:, HEAD_MIDDLE] = middle
    points[:, 0] = middle - up * 0.018 + _FORWARD * 0.06
    for side, eye, ear in ((1, 15, 17), (-1, 14, 16)):
        points[:, eye] = middle + up * 0.006 + across * side * 0.027 + _FORWARD * 0.05
        points[:, ear] = middle - up * 0.006 + across * side * 0.055
    points[:, 24:92] = points[:, None, 0]
    points[:, 92:113], points[:, 113:134] = points[:, None, 7], points[:, None, 4]


def _turn(points: Array, yaw: Array) -> Array:
    cos, sin = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    x, z = points[..., 0], points[..., 2]
    return np.stack([x * cos + z * sin, points[..., 1], z * cos - x * sin], axis=-1)
