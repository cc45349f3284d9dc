"""Points read back from a drawn control video: each joint is a disc in a colour of its own, each limb a line in one.

What ``pose.draw`` draws (and controlnet-aux's DWPose, and VACE's annotator) is read in both palettes and at both line
widths. Of everything that could be a joint, the skeleton is chosen whose limbs are drawn too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..pose.draw import PALETTES
from ..pose.skeleton import NECK
from ..pose.strokes import COLORS, DIM, JOINT, LIMBS
from ..pose.track import POINTS, PoseTrack
from ..video.clip import Clip
from .missing import Missing

Array = np.ndarray[Any, Any]

BACKEND = "read back from a drawing"
_JOINTS = len(COLORS)
_SHORT_SIDE = 1024  # of the canvas that thin lines are drawn on
_THINNEST = 1.1  # pixels of a joint's radius: smaller ones are no discs any more
_LIT, _MOST_LIT, _MOST_FRAMES = 60, 0.15, 0.5  # levels, and shares: thin drawings are nearly black
_BRIGHT, _DARK = 178, 70  # levels of the brightest channel: joints are above the first, limbs between both
_COLOURFUL = 0.55  # of a disc's or a limb's saturation, at least
_LEAST = 0.2  # of a disc that must be seen
_CANDIDATES = 4  # for each joint
_PEOPLE = 4
_FEWEST = 5  # joints of a person
_SAMPLES = np.linspace(0.2, 0.8, 9)[:, None]  # along a limb
_CLEARLY = 1.3  # by so much must thin lines be read better than thick ones
_LOOKED_AT = 5  # frames that palette and width are told from


@dataclass(frozen=True)
class _Style:
    palette: str
    radius: float


@dataclass(frozen=True, eq=False)
class _Labels:
    """Part of a frame: ``hue`` [h, w], the nearest of the 18, -1 for grey; ``light`` [h, w]: the brightest channel."""

    hue: Array
    light: Array
    left: int
    top: int


def read_drawn(control: Clip) -> PoseTrack:
    """The points of the body [T, P, 134] in a drawn pose video; those that are not found score 0.

    Thin lines in small pictures, as VACE's annotator would draw them below 282 pixels, are read by a small net: one
    person. Raises Missing when the frames show no skeleton in these colours.
    """
    style = _style(control)
    if style is None:
        return _read_thin(control)
    found = [_people(frame, style) for frame in control.frames]
    people = max(1, max(len(one) for one in found))
    points = np.zeros((len(control), people, POINTS, 2), np.float32)
    scores = np.zeros((len(control), people, POINTS), np.float32)
    for t, persons in enumerate(found):
        for p, person in enumerate(persons):
            seen = np.isfinite(person[:, 0])
            points[t, p, :_JOINTS][seen] = person[seen]
            scores[t, p, :_JOINTS][seen] = 1
    notes = tuple("" if persons else "no person found" for persons in found)
    return PoseTrack(points, scores, (control.height, control.width), control.fps, BACKEND, notes)


def _read_thin(control: Clip) -> PoseTrack:
    """By a net. Raises Missing when the lines are not thin, the ground not black, or nobody is found."""
    side = min(control.height, control.width)
    if JOINT * side / _SHORT_SIDE < _THINNEST and (control.frames.max(axis=3) > _LIT).mean() < _MOST_LIT:
        from ..nano.detect import read_thin_drawing

        track = read_thin_drawing(control)
        if track.found.mean() >= _MOST_FRAMES:
            return track
    raise Missing("The control shows no skeleton in the colours of DWPose.")


def _style(control: Clip) -> _Style | None:
    """The palette and the joints' radius in which the most of a skeleton is read; None where none is."""
    thin = JOINT * min(control.height, control.width) / _SHORT_SIDE
    radii = [float(JOINT)] + ([thin] if _THINNEST <= thin < JOINT - 0.5 else [])
    chosen = np.unique(np.linspace(0, len(control) - 1, min(_LOOKED_AT, len(control))).round().astype(int))
    best, style = 0.0, None
    for radius in radii:
        for palette in PALETTES:
            one = _Style(palette, radius)
            worth = sum(_worth(control.frames[t], one) for t in chosen) / len(chosen)
            # A small disc fits into a large one, not the other way round: the large ones come first.
            if worth > best and (style is None or style.radius == radius or worth > _CLEARLY * best):
                best, style = worth, one
    return style if best >= _FEWEST else None


def _worth(frame: Array, style: _Style) -> float:
    """How much of a skeleton is read: its joints and limbs, each up to 1."""
    labels = _labels(frame, style)
    if labels is None:
        return 0.0
    return _skeleton(_candidates(labels, style), labels)[1]


def _people(frame: Array, style: _Style) -> list[Array]:
    """Everybody's joints [18, 2] in pixels, NaN where one is not seen."""
    labels = _labels(frame, style)
    if labels is None:
        return []
    left = _candidates(labels, style)
    people: list[Array] = []
    while len(people) < _PEOPLE:
        chosen, _ = _skeleton(left, labels)
        if sum(one >= 0 for one in chosen) < _FEWEST:
            break
        person = np.full((_JOINTS, 2), np.nan)
        for joint, index in enumerate(chosen):
            if index >= 0:
                person[joint] = left[joint][index][:2] + np.array([labels.left, labels.top]) + 0.5
                left[joint] = np.delete(left[joint], index, axis=0)
        people.append(person)
    return people


def _labels(frame: Array, style: _Style) -> _Labels | None:
    import cv2

    red, green, blue = cv2.split(frame)
    light = cv2.max(cv2.max(red, green), blue)
    rows, columns = (np.flatnonzero(cv2.reduce(light, axis, cv2.REDUCE_MAX) > _DARK) for axis in (1, 0))
    if not len(rows):
        return None
    pad = int(np.ceil(style.radius)) + 1
    top, left = max(0, int(rows[0]) - pad), max(0, int(columns[0]) - pad)
    part = frame[top : rows[-1] + pad + 1, left : columns[-1] + pad + 1]
    if style.palette == "vace":
        part = part[..., ::-1]
    light = light[top : rows[-1] + pad + 1, left : columns[-1] + pad + 1]
    lit = np.nonzero(light > _DARK)
    pixels = part[lit].astype(np.float32)
    direction = pixels - pixels.min(axis=1, keepdims=True)
    # The nearest of the 18 by direction: for saturated colours that is the nearest hue, at any light.
    nearest = (direction @ _hues().T).argmax(axis=1)
    hue = np.full(light.shape, -1, np.int8)
    hue[lit] = np.where(direction.max(axis=1) > _COLOURFUL * pixels.max(axis=1), nearest, -1)
    return _Labels(hue, light, left, top)


@lru_cache(maxsize=1)
def _hues() -> Array:
    colours = np.array(COLORS, np.float32)
    return colours / np.linalg.norm(colours, axis=1, keepdims=True)


@lru_cache(maxsize=4)
def _disc(radius: float) -> Array:
    """A joint as it is drawn, float32, at most 1."""
    import cv2

    if radius == JOINT:
        disc = np.zeros((2 * JOINT + 1, 2 * JOINT + 1), np.uint8)
        return cv2.circle(disc, (JOINT, JOINT), JOINT, 1, -1).astype(np.float32)
    half = int(np.ceil(radius))
    away = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1])
    return np.clip(radius + 0.5 - away, 0, 1).astype(np.float32)


def _candidates(labels: _Labels, style: _Style) -> list[Array]:
    """Of each joint up to four places [K, 3]: x, y in the part's pixels, and how much of the disc is seen (0 to 1)."""
    import cv2

    disc = _disc(style.radius)
    area = float(disc.sum())
    reach = disc.shape[0]
    # -2: no joint; -1: white, a point of the face.
    drawn = np.where(labels.light > _BRIGHT, labels.hue, np.int8(-2))
    lit = np.nonzero(drawn >= 0)
    lit_as = drawn[lit]
    found = []
    for joint in range(_JOINTS):
        rows, columns = (axis[lit_as == joint] for axis in lit)
        places = np.zeros((0, 3))
        if len(rows) >= _LEAST * area:
            # What the disc's pixels reach is enough to look at.
            top, left = max(0, int(rows.min()) - reach), max(0, int(columns.min()) - reach)
            part = drawn[top : rows.max() + reach + 1, left : columns.max() + reach + 1]
            own = (part == joint).astype(np.float32)
            # Joints that are drawn later, and faces, may lie over this one; anything else may not.
            over = ((part > joint) | (part == -1)).astype(np.float32)
            match = cv2.filter2D(1.5 * own + 0.5 * over - 0.5, -1, disc, borderType=cv2.BORDER_CONSTANT)
            seen = cv2.filter2D(own, -1, disc, borderType=cv2.BORDER_CONSTANT)
            match[seen < _LEAST * area] = -1
            places = _peaks(match / area, own, style.radius) + np.array([left, top, 0])
        found.append(places)
    return found


def _peaks(match: Array, own: Array, radius: float) -> Array:
    """The best places for a disc [K, 3]: x, y and the match there."""
    reach = int(np.ceil(1.5 * radius))
    peaks = []
    left = match.copy()
    for _ in range(_CANDIDATES):
        row, column = divmod(int(left.argmax()), left.shape[1])
        best = float(left[row, column])
        if best <= 0:
            break
        top, start = max(0, row - reach), max(0, column - reach)
        window = left[top : row + reach + 1, start : column + reach + 1]
        if radius == JOINT:
            # Half hidden discs fit in several places alike: their middle is taken.
            ys, xs = np.nonzero(window >= best - 1e-4)
        else:
            # Small discs lie between pixels.
            ys, xs = np.nonzero(own[top : row + reach + 1, start : column + reach + 1])
            near = np.hypot(ys + top - row, xs + start - column) <= radius + 1
            ys, xs = ys[near], xs[near]
        peaks.append((float(xs.mean()) + start, float(ys.mean()) + top, min(1.0, best)))
        window[:] = -1
    return np.array(peaks).reshape(-1, 3)


def _skeleton(candidates: list[Array], labels: _Labels) -> tuple[list[int], float]:
    """The candidate of each joint, -1 for none, with the best sum of joints and limbs; and that sum.

    The limbs are a tree, so the best choice is found from its leaves to the neck.
    """
    best: list[Array] = [np.append(one[:, 2], 0.0) for one in candidates]  # the last one is "none"
    choice: dict[int, tuple[int, Array]] = {}
    for limb in range(len(LIMBS) - 1, -1, -1):
        parent, child = LIMBS[limb]
        both = np.zeros((len(best[parent]), len(best[child])))
        if len(candidates[parent]) and len(candidates[child]):
            both[:-1, :-1] = 1.5 * _drawn(candidates[parent], candidates[child], limb, labels) - 0.75
        total = both + best[child][None]
        choice[child] = parent, total.argmax(axis=1)
        best[parent] = best[parent] + total.max(axis=1)
    chosen = [-1] * _JOINTS
    index = int(best[NECK].argmax())
    worth = float(best[NECK][index])
    chosen[NECK] = index if index < len(candidates[NECK]) else -1
    for parent, child in LIMBS:
        picked = int(choice[child][1][chosen[parent]])
        chosen[child] = picked if picked < len(candidates[child]) else -1
    return chosen, worth


def _drawn(ones: Array, others: Array, limb: int, labels: _Labels) -> Array:
    """How much of the limb between each two places is drawn, [K, L], 0 to 1; joints may lie over it."""
    along = ones[:, None, None, :2] * (1 - _SAMPLES) + others[None, :, None, :2] * _SAMPLES
    x, y = (
        np.clip(along[..., axis].round().astype(int), 0, size - 1)
        for axis, size in ((0, labels.hue.shape[1]), (1, labels.hue.shape[0]))
    )
    hue, light = labels.hue[y, x], labels.light[y, x]
    own = (hue == limb) & (light < 255 * (1 + DIM) / 2)
    over = (light > _BRIGHT) | ((hue > limb) & (hue < len(LIMBS)))
    return np.asarray((own + 0.7 * (over & ~own)).mean(axis=-1))
