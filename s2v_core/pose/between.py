"""People between two frames that are known: who is who, where they should be by now, and whether that came true."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from .track import BODY

LOWEST_QUALITY = 0.2  # of a person: the mean score of the 18 body points
_SHOWN = 0.3
_SAME_QUALITY = 0.6  # of the lower of the two known frames
_SAME_PLACE = 0.5  # intersection over union of where a person should be and is
_DOUBLE = 0.06  # mean distance of two people's points, in sizes, below which they are one
_SPEED = 2.0  # sizes of the body a second; a sprinter does 5 m/s, which is 3 heights
_STAND = 0.5  # sizes that a box may move between any two frames (a crouch moves its middle too)
_GROWTH = 2.5
_CLEAR = 0.3  # sizes by which the best assignment of two people must beat the swapped one

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Seen:
    """One person in one frame: points [134, 2] in pixels, scores [134], and the box [4] that was looked at."""

    points: Array
    scores: Array
    box: Array

    @cached_property
    def quality(self) -> float:
        """The mean score of the body's points, 0 to about 1."""
        return float(self.scores[BODY].mean())

    @cached_property
    def extent(self) -> Array | None:
        """float64 [4]: left, top, right, bottom of the points that are shown, or None when they span nothing."""
        points = self.points[self.scores > _SHOWN].astype(np.float64)
        if len(points) < 3:
            return None
        low, high = points.min(axis=0), points.max(axis=0)
        return np.concatenate([low, high]) if (high - low).min() > 1 else None

    @cached_property
    def margins(self) -> Array:
        """How far the box reaches beyond the points on each side, in the extent's widths and heights: float64 [4].

        The detector's boxes hold hair and shoes, which have no points; what follows keeps that room.
        """
        extent = self.extent
        if extent is None:
            return np.zeros(4)
        sides = np.tile(extent[2:] - extent[:2], 2)
        room = np.concatenate([extent[:2] - self.box[:2], self.box[2:4] - extent[2:]]) / sides
        return np.clip(room, 0.0, 0.5)

    @classmethod
    def of_points(cls, points: Array, scores: Array) -> Seen:
        """A person whose box is not known any more: a tenth of room around the points."""
        person = cls(points, scores, np.zeros(4))
        extent = person.extent
        return person if extent is None else replace(person, box=_grown(extent, np.full(4, 0.1)))

    def without_points(self) -> Seen:
        """The same place with nobody in it."""
        return replace(self, scores=np.zeros_like(self.scores))


@dataclass(frozen=True, eq=False)
class Guess:
    """Where a person should be: the extent of the points [4], the room around them, and the quality to expect."""

    extent: Array
    margins: Array
    quality: float

    @property
    def box(self) -> Array:
        """The box to look at."""
        return _grown(self.extent, self.margins)

    def around(self, person: Seen) -> Array:
        """The box around the points that were found, with the same room; the guess's own without points."""
        return self.box if person.extent is None else _grown(person.extent, self.margins)

    def moved(self, person: Seen, of: Seen | None = None) -> bool:
        """Whether the points lie elsewhere than the guess (or than ``of``, an earlier look) said."""
        before = self.extent if of is None or of.extent is None else of.extent
        return person.extent is not None and overlap(before, person.extent) < _SAME_PLACE

    def trusts(self, person: Seen) -> bool:
        """Whether this can be the person: points as sure as in the known frames, or nearly."""
        return person.extent is not None and person.quality >= max(LOWEST_QUALITY, _SAME_QUALITY * self.quality)


def guess(one: Seen, two: Seen, share: float) -> Guess:
    """The person between two frames, ``share`` (0 to 1) of the way from the first to the second."""
    first, second = _extent(one), _extent(two)
    return Guess(
        (1 - share) * first + share * second,
        (1 - share) * one.margins + share * two.margins,
        min(one.quality, two.quality),
    )


def match(first: list[Seen], second: list[Seen], seconds: float) -> list[tuple[Seen, Seen]] | None:
    """Who of the first frame is who in the second, ``seconds`` later; None when that is not clear.

    It is clear when as many people are there, each within reach of one other, and no two could be swapped.
    """
    if len(first) != len(second):
        return None
    if not first:
        return []
    from scipy.optimize import linear_sum_assignment

    cost = np.array([[_shift(one, two) for two in second] for one in first])
    rows, columns = linear_sum_assignment(np.minimum(cost, 1e6))
    if (cost[rows, columns] > _STAND + _SPEED * seconds).any():
        return None
    best = cost[:, columns]  # the best assignment is its diagonal
    straight = np.diag(best)[:, None] + np.diag(best)[None]
    swapped = best + best.T
    others = ~np.eye(len(best), dtype=bool)
    if (swapped[others] - straight[others] < _CLEAR).any():
        return None
    return [(first[row], second[column]) for row, column in zip(rows, columns, strict=True)]


def doubles(people: list[Seen]) -> bool:
    """Whether two of them are the same person."""
    return len(without_doubles(people)) < len(people)


def without_doubles(people: list[Seen]) -> list[Seen]:
    """The people, surest first, without those whose points lie on another's."""
    kept: list[Seen] = []
    for person in sorted(people, key=lambda one: -one.quality):
        if all(_distance(person, other) > _DOUBLE for other in kept):
            kept.append(person)
    return kept


def overlap(one: Array, two: Array) -> float:
    """Intersection over union of two boxes [4]."""
    low, high = np.maximum(one[:2], two[:2]), np.minimum(one[2:4], two[2:4])
    shared = float(np.clip(high - low, 0, None).prod())
    union = float((one[2:4] - one[:2]).prod() + (two[2:4] - two[:2]).prod()) - shared
    return shared / union if union > 0 else 0.0


def _grown(extent: Array, margins: Array) -> Array:
    sides = np.tile(extent[2:] - extent[:2], 2)
    return extent + margins * sides * (-1, -1, 1, 1)


def _extent(person: Seen) -> Array:
    return person.box[:4].astype(np.float64) if person.extent is None else person.extent


def _size(person: Seen) -> float:
    extent = _extent(person)
    return max(1.0, float(np.hypot(*(extent[2:] - extent[:2]))))


def _shift(one: Seen, two: Seen) -> float:
    """How far the middle moved, in sizes of the body; infinite when the size changed too much."""
    sizes = _size(one), _size(two)
    if max(sizes) > _GROWTH * min(sizes):
        return float("inf")
    first, second = _extent(one), _extent(two)
    middle = (first[:2] + first[2:] - second[:2] - second[2:]) / 2
    return float(np.hypot(*middle)) / (sum(sizes) / 2)


def _distance(one: Seen, two: Seen) -> float:
    """Mean distance of the body points that both show, in sizes; infinite when they share fewer than four."""
    both = (one.scores[BODY] > _SHOWN) & (two.scores[BODY] > _SHOWN)
    if both.sum() < 4:
        return float("inf")
    apart = np.linalg.norm(one.points[BODY][both] - two.points[BODY][both], axis=-1)
    return float(apart.mean()) / max(_size(one), _size(two))
