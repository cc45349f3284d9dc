"""Where in a picture a body's parts are, told by its points: limbs to take colours from, and the whole person.

Widths are shares of the person's height, so that they fit at any size of picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..pose.measure import GOOD

Array = np.ndarray[Any, Any]

CLOTHES = ("torso", "upper arms", "thighs", "shins")
BACKGROUND = "background"
_LEFT, _RIGHT = (5, 6, 7, 11, 12, 13), (2, 3, 4, 8, 9, 10)  # shoulder, elbow, wrist, hip, knee, ankle
_NECK, _NOSE = 1, 0
_FEET = (18, 19, 20, 21, 22, 23)
# From where to where on the way between two joints a garment is looked for, and half its width in heights.
_THIGH, _SHIN, _UPPER_ARM = (0.2, 0.9, 0.022), (0.1, 0.75, 0.017), (0.1, 0.75, 0.015)
_TORSO_INSIDE = 0.25  # of the way from the outline to the middle that is left free
_IN_FRONT = 0.03  # half the width of a forearm that covers what is behind it
# Half widths of the person with all clothes: limbs, trunk, head, feet.
_LIMB, _TRUNK, _HEAD, _FOOT = 0.055, 0.06, 0.13, 0.05


@dataclass(frozen=True, eq=False)
class Body:
    """One person in one picture. ``points`` [134, 2] in pixels, ``seen`` bool [134], ``height``: pixels, standing."""

    points: Array
    seen: Array
    height: float

    def scaled(self, scale: float, dx: float = 0.0, dy: float = 0.0) -> Body:
        """The person in a picture that was resized by ``scale`` and then moved."""
        return Body(self.points * scale + np.array([dx, dy]), self.seen, self.height * scale)

    def has(self, *points: int) -> bool:
        """Whether all of these are seen."""
        return bool(self.seen[list(points)].all())


def body(points: Array, scores: Array, height: float) -> Body:
    """The person of these points [134, 2] and scores [134]; what scores 0.3 or less is not seen."""
    return Body(points.astype(np.float64), np.asarray(scores > GOOD), height)


def clothes_masks(person: Body, shape: tuple[int, int]) -> dict[str, Array]:
    """Bool [H, W] of each of ``CLOTHES``: inside the limbs, where the garment is and nothing lies over it."""
    masks = {name: np.zeros(shape, np.uint8) for name in CLOTHES}
    for shoulder, elbow, _, hip, knee, ankle in (_LEFT, _RIGHT):
        _part(masks["upper arms"], person, shoulder, elbow, *_UPPER_ARM)
        _part(masks["thighs"], person, hip, knee, *_THIGH)
        _part(masks["shins"], person, knee, ankle, *_SHIN)
    _torso(masks["torso"], person)
    over = np.zeros(shape, np.uint8)
    for _, elbow, wrist, *_ in (_LEFT, _RIGHT):
        _part(over, person, elbow, wrist, 0.0, 1.3, _IN_FRONT)
    arms = over.copy()
    for shoulder, elbow, *_ in (_LEFT, _RIGHT):
        _part(arms, person, shoulder, elbow, 0.5, 1.0, _IN_FRONT)
    return {
        "torso": (masks["torso"] > 0) & (arms == 0),
        **{name: (masks[name] > 0) & (over == 0) for name in CLOTHES[1:]},
    }


def person_mask(person: Body, shape: tuple[int, int], margin: float = 0.0) -> Array:
    """Bool [H, W]: the person with hair, clothes and what they swing, and ``margin`` heights around."""
    mask = np.zeros(shape, np.uint8)
    for shoulder, elbow, wrist, hip, knee, ankle in (_LEFT, _RIGHT):
        for one, other, end in ((shoulder, elbow, 1.0), (elbow, wrist, 1.45), (hip, knee, 1.0), (knee, ankle, 1.15)):
            _part(mask, person, one, other, 0.0, end, _LIMB + margin)
    _trunk(mask, person, _TRUNK + margin)
    if person.has(_NECK, _NOSE):
        neck, nose = person.points[_NECK], person.points[_NOSE]
        _line(mask, neck, nose + 0.35 * (nose - neck), (_HEAD + margin) * person.height)
    elif person.has(_NOSE):
        _line(mask, person.points[_NOSE], person.points[_NOSE], (_HEAD + margin) * person.height)
    for point in _FEET:
        if person.has(point):
            _line(mask, person.points[point], person.points[point], (_FOOT + margin) * person.height)
    return mask > 0


def _torso(mask: Array, person: Body) -> None:
    corners = (5, 2, 8, 11)
    if person.has(*corners):
        import cv2

        outline = person.points[list(corners)]
        middle = outline.mean(axis=0)
        inner = middle + (outline - middle) * (1 - _TORSO_INSIDE)
        cv2.fillConvexPoly(mask, cv2.convexHull(np.round(inner * 16).astype(np.int32)), 1, cv2.LINE_8, 4)


def _trunk(mask: Array, person: Body, half: float) -> None:
    corners = [point for point in (5, 2, 8, 11, _NECK) if person.has(point)]
    if len(corners) < 2:
        return
    import cv2

    outline = np.round(person.points[corners] * 16).astype(np.int32)
    hull = cv2.convexHull(outline)
    cv2.fillConvexPoly(mask, hull, 1, cv2.LINE_8, 4)
    cv2.polylines(mask, [hull], True, 1, max(1, round(2 * half * person.height)), cv2.LINE_8, 4)


def _part(mask: Array, person: Body, one: int, other: int, start: float, end: float, half: float) -> None:
    if person.has(one, other):
        a, b = person.points[one], person.points[other]
        _line(mask, a + (b - a) * start, a + (b - a) * end, half * person.height)


def _line(mask: Array, a: Array, b: Array, half: float) -> None:
    """A line of this half width with round ends, at least one pixel wide; what is far outside is not drawn."""
    import cv2

    ends = np.stack([a, b])
    limit = 4 * max(mask.shape)
    if np.isfinite(ends).all() and np.abs(ends).max() < limit:
        (x1, y1), (x2, y2) = np.round((ends - 0.5) * 16).astype(int).tolist()
        cv2.line(mask, (x1, y1), (x2, y2), 1, max(1, round(2 * half)), cv2.LINE_8, 4)
