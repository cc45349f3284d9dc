"""Background: the place behind the dancer, against the reference picture, pixel by pixel at a coarse scale."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ..video.fit import fit_image, fit_transform, inner_size, resize
from .colours import to_lab
from .detect import Found
from .frames import mean_score
from .missing import Missing
from .pose import control_points
from .scorecard import Score
from .subject import Subject, masks_of

Array = np.ndarray[Any, Any]

SIDE = 120  # pixels of the shorter side at which both are compared
_BLUR = 0.012  # deviation, of the shorter side: texture is not compared, places and colours are
_LEAST = 0.05  # of the picture that must be background in both
_WHITE = (255, 255, 255)


def measure(subject: Subject) -> Score:
    """Mean ΔE over the pixels that are background in clip and reference. Raises Missing.

    The reference is fitted to the clip's shape as for the rendering. Pixels within 0.06 heights of anybody, in either
    picture, do not count; nor does the border of a reference of another shape.
    """
    own = _Reference(subject)
    people, how = _people(subject)
    values = []
    for t, mask in zip(people.index, _masks(people, own.scale, own.shape), strict=True):
        if t >= len(subject.clip):  # a control may be longer
            break
        place = own.place & ~mask
        if place.mean() < _LEAST:
            values.append(np.nan)
            continue
        lab = _coarse(subject.clip.frames[t], own.shape)
        values.append(float(np.linalg.norm(lab - own.lab, axis=2)[place].mean()))
    if not np.isfinite(values).any():
        raise Missing("Clip and reference have no background in common: people fill the picture.")
    return mean_score(np.array(values), f"outside {how}{own.how}")


class _Reference:
    """The reference picture at the coarse size, and where it shows the place."""

    def __init__(self, subject: Subject) -> None:
        self._clip, self._inputs = subject.clip, subject.inputs
        self._picture = self._inputs.picture()
        self.how = ""

    @cached_property
    def scale(self) -> float:
        return min(1.0, SIDE / min(self._clip.height, self._clip.width))

    @cached_property
    def shape(self) -> tuple[int, int]:
        return max(1, round(self._clip.height * self.scale)), max(1, round(self._clip.width * self.scale))

    @cached_property
    def lab(self) -> Array:
        fitted = fit_image(self._picture, (self._clip.width, self._clip.height), self._inputs.fit, _WHITE)
        return _coarse(fitted, self.shape)

    @cached_property
    def place(self) -> Array:
        """Bool [h, w]: neither person nor border."""
        size = (self._picture.shape[1], self._picture.shape[0])
        target = (self._clip.width, self._clip.height)
        place = np.zeros(self.shape, bool)
        place[self._inside(size, target)] = True
        try:
            found = self._inputs.points_of_picture()
        except Missing:
            return place
        if not found.people.any():
            self.how = "; nobody was found in the reference"
            return place
        scale, dx, dy = fit_transform(size, target, self._inputs.fit)
        moved = dx * self.scale, dy * self.scale
        everybody = tuple(one.scaled(scale * self.scale, *moved) for one in found.bodies()[0][1])
        return place & ~masks_of(everybody, 1.0, self.shape)

    def _inside(self, size: tuple[int, int], target: tuple[int, int]) -> tuple[slice, slice]:
        """Without the border that fitting gave the picture."""
        inner = inner_size(size, target, self._inputs.fit)
        edges = [max(0.0, (whole - part) / 2) * self.scale for whole, part in zip(target, inner, strict=True)]
        left, top = (int(np.ceil(edge)) for edge in edges)
        return slice(top, self.shape[0] - top), slice(left, self.shape[1] - left)


def _people(subject: Subject) -> tuple[Found, str]:
    """Where people are in the clip: as found, or else where the control has them."""
    try:
        return subject.found, f"the dancer, {subject.found.said()}"
    except Missing as missing:
        try:
            control, how = control_points(subject)
        except Missing:
            raise missing from None
        return control, f"the place that the control gives the dancer, {how}; in the clip nobody was found"


def _masks(people: Found, scale: float, shape: tuple[int, int]) -> list[Array]:
    return [masks_of(everybody, scale, shape) for _, everybody in people.bodies()]


def _coarse(picture: Array, shape: tuple[int, int]) -> Array:
    """CIELAB [h, w, 3] without detail."""
    import cv2

    small = resize(picture, (shape[1], shape[0]))
    return to_lab(cv2.GaussianBlur(small, (0, 0), max(0.5, _BLUR * min(shape))))
