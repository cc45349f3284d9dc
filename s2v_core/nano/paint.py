"""Painting a toy dancer: which part covers which sub-pixel, and from that the picture and the masks.

Every pixel is divided into 4 x 4. The parts are drawn on that finer grid, back to front, as numbers; the picture is the
average of their colours and the masks their majority, so that both tell the same shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from .body import HEAD_HIGH, HEAD_MIDDLE, HEAD_WIDE, HORIZON, PALM, Placing
from .palette import Rgb

Array = np.ndarray[Any, Any]

LABELS = ("wall", "floor", "trousers", "shirt", "shoes", "skin", "hair")
HAIR_STYLES, SLEEVES = ("short", "long", "tied"), ("short", "long")
SUPER = 4
_SHIFT = 4  # bits of a sub-pixel's fraction that OpenCV takes
_BARE = 255  # neither dancer nor shadow
_PLAIN, _SEAM, _FAR, _DARK = range(4)  # shades of a part: itself, its outline, turned from the light, eyes and shadow
_SEAM_WIDTH = 0.0085
_FOREGROUND_Z = 0.09  # a knee that is so much nearer than the hips is painted over the shirt


@dataclass(frozen=True)
class Look:
    """What decides a dancer's pixels besides the pose.

    ``colours``: sRGB of every label. ``hair``: one of ``HAIR_STYLES``; ``sleeves``: one of ``SLEEVES``;
    ``girth``: thickness of body and clothes, 1 is average.
    """

    colours: Mapping[str, Rgb]
    hair: str = "short"
    sleeves: str = "short"
    girth: float = 1.0


def backdrop(size: tuple[int, int], look: Look) -> Array:
    """Wall and floor without a dancer, float32 [H, W, 3], 0 to 255. They meet at the row ``horizon(size)``."""
    width, height = size
    middle = horizon(size)
    rows = np.empty((height, 1, 3), np.float32)
    rows[:middle, 0] = np.linspace(1.03, 0.95, middle)[:, None] * np.array(look.colours["wall"])
    rows[middle:, 0] = np.linspace(0.92, 1.05, height - middle)[:, None] * np.array(look.colours["floor"])
    return np.asarray(np.repeat(np.clip(rows, 0, 255), width, axis=1))


def horizon(size: tuple[int, int]) -> int:
    """The first row of the floor in a picture of ``size`` (width, height)."""
    return round(HORIZON * size[1])


def paint(points: Array, placing: Placing, look: Look, behind: Array | None = None) -> tuple[Array, Array]:
    """A picture, uint8 [H, W, 3] RGB, and its labels, uint8 [H, W] (indices into ``LABELS``).

    ``points``: [135, 3], one pose as ``body.joints`` gives it. ``behind``: what ``backdrop`` gives for this look, to
    save its making for every frame.
    """
    width, height = placing.size
    parts = np.full((height * SUPER, width * SUPER), _BARE, np.uint8)
    _Brush(parts, placing.pixels(points) * SUPER, placing.unit * SUPER, look).dancer()
    picture = (backdrop(placing.size, look) if behind is None else behind).copy()
    labels = np.zeros((height, width), np.uint8)
    labels[horizon(placing.size) :] = 1
    used = parts != _BARE
    rows, columns = _span(used.any(axis=1)), _span(used.any(axis=0))
    fine = parts[rows.start * SUPER : rows.stop * SUPER, columns.start * SUPER : columns.stop * SUPER]
    to = (fine.shape[1] // SUPER, fine.shape[0] // SUPER)
    colours = cv2.resize(cv2.LUT(cv2.merge([fine] * 3), _table(look)), to, interpolation=cv2.INTER_AREA)
    kinds = fine >> 2
    # Shares of 255: the mean of bytes is exact to half a level, and 16 sub-pixels are 16 levels apart.
    votes = np.stack(
        [
            cv2.resize(cv2.compare(kinds, label, cv2.CMP_EQ), to, interpolation=cv2.INTER_AREA)
            for label in (*range(1, len(LABELS)), _BARE >> 2)
        ]
    )
    bare = votes[-1].astype(np.float32)[..., None] / 255
    picture[rows, columns] = colours + picture[rows, columns] * bare
    winner = votes.argmax(axis=0).astype(np.uint8) + 1
    labels[rows, columns] = np.where(winner == len(LABELS), labels[rows, columns], winner)
    return (picture + 0.5).astype(np.uint8), labels


def _span(used: Array) -> slice:
    """The pixels that hold all used sub-pixels."""
    places = np.flatnonzero(used)
    return slice(int(places[0]) // SUPER, int(places[-1]) // SUPER + 1) if len(places) else slice(0, 1)


def _table(look: Look) -> Array:
    """The colour of every part and shade, uint8 [1, 256, 3]; bare sub-pixels are black."""
    table = np.zeros((256, 3), np.float32)
    for label, name in enumerate(LABELS):
        colour = np.array(look.colours[name], np.float32)
        seam = colour * 0.66 if colour.mean() > 60 else colour + 30  # an outline on black clothes is lighter
        table[label * 4 : label * 4 + 4] = colour, seam, colour * 0.91, colour * (0.8 if name == "floor" else 0.25)
    return np.asarray((table[None] + 0.5).astype(np.uint8))


class _Brush:
    """Draws one dancer's parts, back to front. Lengths are shares of the dancer's height."""

    def __init__(self, parts: Array, points: Array, unit: float, look: Look) -> None:
        self.parts, self.at, self.depth, self.unit, self.look = parts, points[:, :2], points[:, 2], unit, look

    def dancer(self) -> None:
        self.shadow()
        torso = 0.5 * (self.depth[8] + self.depth[11]) / self.unit
        arms = sorted(((5, 6, 7), (2, 3, 4)), key=lambda arm: self.depth[list(arm)].mean())
        legs = sorted(((11, 12, 13, 18), (8, 9, 10, 21)), key=lambda leg: self.depth[leg[1]] + self.depth[leg[2]])
        behind = [arm for arm in arms if self.depth[list(arm)].mean() / self.unit < torso - 0.03]
        raised = [leg for leg in legs if self.depth[leg[1]] / self.unit > torso + _FOREGROUND_Z]
        self.hair_behind()
        for arm in behind:
            self.arm(*arm, shade=_FAR)
        for order, leg in enumerate(legs):
            if leg not in raised:
                self.leg(*leg, shade=_FAR if order == 0 else _PLAIN)
        self.limb("trousers", self.at[8], self.at[11], 0.060, 0.060)
        self.neck()
        self.shirt()
        for leg in raised:
            self.leg(*leg, shade=_PLAIN)
        self.head()
        for arm in arms:
            if arm not in behind:
                self.arm(*arm, shade=_PLAIN)

    def shadow(self) -> None:
        """It lies under the feet, on the floor that the dancer stands on."""
        feet = self.at[[10, 13, 18, 21]]
        low, high = feet[:, 0].min(), feet[:, 0].max()
        floor = self.at[:24, 1].max() + 0.012 * self.unit
        axes = ((high - low) / 2 + 0.085 * self.unit, 0.026 * self.unit)
        self._ellipse("floor", np.array([(low + high) / 2, floor]), axes, 0.0, _DARK)

    def leg(self, hip: int, knee: int, ankle: int, toe: int, shade: int) -> None:
        at = self.at
        thigh = ("trousers", at[hip], at[knee], 0.056, 0.044, shade)
        shin = ("trousers", at[knee], at[knee] * 0.08 + at[ankle] * 0.92, 0.044, 0.036, shade)
        self.limb("shoes", at[toe + 2], at[toe], 0.030, 0.023, shade)
        self.limb("shoes", at[ankle], at[toe + 2], 0.026, 0.030, shade)
        # A shin that is bent backwards is behind its thigh.
        self.chain(*((shin, thigh) if self.depth[ankle] < self.depth[knee] - 0.02 * self.unit else (thigh, shin)))

    def arm(self, shoulder: int, elbow: int, wrist: int, shade: int) -> None:
        at, long = self.at, self.look.sleeves == "long"
        cuff = at[elbow] * 0.26 + at[wrist] * 0.74 if long else at[shoulder] * 0.3 + at[elbow] * 0.7
        hand = at[wrist] + (at[wrist] - at[elbow]) * 0.12
        upper = ("skin", at[shoulder], at[elbow], 0.028, 0.025, shade)
        self.chain(
            upper,
            ("skin", at[elbow], at[wrist], 0.025, 0.021, shade),
            ("skin", at[wrist], hand, PALM, PALM, shade),
        )
        sleeve = ("shirt", at[shoulder], at[elbow] if long else cuff, 0.038, 0.033 if long else 0.037, shade)
        self.chain(*([("shirt", at[elbow], cuff, 0.033, 0.029, shade)] if long else []), sleeve)

    def neck(self) -> None:
        self.limb("skin", self.at[1], self.at[HEAD_MIDDLE], 0.030, 0.030, _FAR)

    def shirt(self) -> None:
        at = self.at
        right, left, hip_right, hip_left = at[2], at[5], at[8], at[11]
        middle = (hip_right + hip_left) / 2
        hem_right, hem_left = (middle + (hip - middle) * 1.25 for hip in (hip_right, hip_left))
        waist = at[1] * 0.35 + middle * 0.65
        waist_right, waist_left = (waist + (hip - middle) * 0.95 for hip in (hip_right, hip_left))
        outline = np.stack([right, at[1], left, waist_left, hem_left, hem_right, waist_right])
        for grown, shade in ((2 * _SEAM_WIDTH, _SEAM), (0.0, _PLAIN)):
            number = self._number("shirt", shade)
            corners = self._fixed(outline)
            cv2.fillPoly(self.parts, [corners], number, cv2.LINE_8, _SHIFT)
            # A thick outline rounds the corners and gives the cloth its width.
            thick = max(1, round((0.050 * self.look.girth + grown) * self.unit))
            cv2.polylines(self.parts, [corners], True, number, thick, cv2.LINE_8, _SHIFT)

    def hair_behind(self) -> None:
        middle, up = self._head_axes()
        if self.look.hair == "long":
            end = middle - up * 0.155 * self.unit
            self.limb("hair", middle, end, HEAD_WIDE * 1.16, HEAD_WIDE * 1.02)
        if self.look.hair == "tied":
            self.limb("hair", middle + up * 0.09 * self.unit, middle + up * 0.095 * self.unit, 0.036, 0.036)

    def head(self) -> None:
        middle, up = self._head_axes()
        angle = math.degrees(math.atan2(up[0], -up[1]))
        wide, high = HEAD_WIDE * self.unit, HEAD_HIGH * self.unit
        turn = (self.at[0] - middle) @ np.array([-up[1], up[0]])
        crown = middle + up * 0.014 * self.unit
        self._ellipse("hair", crown, (wide * 1.20, high * 1.14), angle, _SEAM)
        self._ellipse("hair", crown, (wide * 1.10, high * 1.06), angle, _PLAIN)
        across = np.array([-up[1], up[0]])
        face = middle - up * 0.016 * self.unit + across * turn * 0.35
        self._ellipse("skin", face, (wide * 0.90, high * 0.84), angle, _PLAIN)
        # A parting: hair falls over one side of the forehead.
        fringe = middle + up * 0.050 * self.unit + across * (turn * 0.35 - 0.016 * self.unit)
        self._ellipse("hair", fringe, (wide * 0.74, high * 0.34), angle - 14, _PLAIN)
        for eye in (14, 15):
            self._ellipse(
                "skin", self.at[eye] - up * 0.012 * self.unit, (0.0085 * self.unit, 0.0125 * self.unit), angle, _DARK
            )
        mouth = self.at[0] - up * 0.030 * self.unit
        self._ellipse("skin", mouth, (0.018 * self.unit, 0.006 * self.unit), angle, _SEAM)

    def limb(self, label: str, one: Array, other: Array, thick: float, thin: float, shade: int = _PLAIN) -> None:
        """A part between two joints, round at its ends, with an outline that sets it off from what is behind it."""
        self.chain((label, one, other, thick, thin, shade))

    def chain(self, *parts: tuple[str, Array, Array, float, float, int]) -> None:
        """Several parts (see ``limb``) with one outline around them all."""
        for grown in (_SEAM_WIDTH, 0.0):
            for label, one, other, thick, thin, shade in parts:
                number = self._number(label, _SEAM if grown else shade)
                a, b = ((width * self.look.girth + grown) * self.unit for width in (thick, thin))
                along = other - one
                length = float(np.hypot(*along))
                if length > 1e-6:
                    normal = np.array([-along[1], along[0]]) / length
                    corners = np.stack([one + normal * a, other + normal * b, other - normal * b, one - normal * a])
                    cv2.fillConvexPoly(self.parts, self._fixed(corners), number, cv2.LINE_8, _SHIFT)
                    self._disc(other, b, number)
                self._disc(one, a, number)

    def _head_axes(self) -> tuple[Array, Array]:
        middle = self.at[HEAD_MIDDLE]
        up = middle - self.at[1]
        return middle, up / max(float(np.hypot(*up)), 1e-6)

    def _number(self, label: str, shade: int) -> int:
        return LABELS.index(label) * 4 + shade

    def _fixed(self, places: Array) -> Array:
        return np.round(places * (1 << _SHIFT)).astype(np.int32)

    def _disc(self, centre: Array, radius: float, number: int) -> None:
        x, y = self._fixed(centre).tolist()
        size = max(1, round(radius * (1 << _SHIFT)))
        cv2.circle(self.parts, (x, y), size, number, -1, cv2.LINE_8, _SHIFT)

    def _ellipse(self, label: str, centre: Array, axes: tuple[float, float], angle: float, shade: int) -> None:
        x, y = self._fixed(centre).tolist()
        half = (max(1, round(axes[0] * (1 << _SHIFT))), max(1, round(axes[1] * (1 << _SHIFT))))
        cv2.ellipse(self.parts, (x, y), half, angle, 0, 360, self._number(label, shade), -1, cv2.LINE_8, _SHIFT)
