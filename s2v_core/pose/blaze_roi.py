"""What MediaPipe's nets share: rotated squares of the frame to look in, and detections on a grid of anchors."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

MIN_SCORE = 0.5  # of a detection, and of a second net's "here it is"; the value of all of MediaPipe 0.10.14's graphs

_MERGE_IOU = 0.3

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Roi:
    """A rotated square in the frame: centre and side in pixels, angle in radians (0: what is in it is upright)."""

    x: float
    y: float
    side: float
    angle: float


@dataclass(frozen=True)
class KeepLimits:
    """How far the square of the frame before may be from a fresh one and still be used (MediaPipe's RoiTracking).

    ``degrees`` of rotation; ``shift`` and ``scale`` as parts of the fresh square's side; ``margin``: by how much of
    its side the fresh square is smaller in which all points of the frame before must lie.
    """

    degrees: float
    shift: float
    scale: float
    margin: float


@dataclass(frozen=True)
class Detector:
    """The grid of a single-shot detector: side of its input in pixels and the stride of each layer."""

    side: int
    strides: tuple[int, ...]


@lru_cache(maxsize=4)
def anchors(detector: Detector) -> Array:
    """float32 [N, 2]: the anchors' centres, 0 to 1; two for a layer's cell. Layers of one stride share a grid."""
    grids = []
    for stride in dict.fromkeys(detector.strides):
        cells, each = detector.side // stride, 2 * detector.strides.count(stride)
        centres = (np.arange(cells) + 0.5) / cells
        grid = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)
        grids.append(np.repeat(grid, each, axis=0))
    return np.concatenate(grids).astype(np.float32)


def best_detection(boxes: Array, logits: Array, detector: Detector) -> Array | None:
    """float [2 + K, 2], 0 to 1: two corners and the key points of the likeliest detection; None when none reaches 0.5.

    ``boxes`` [N, 4 + 2 K]: centre, size and K points, in pixels of the detector's input relative to the anchors;
    ``logits`` [N]. Boxes that overlap the best one by more than 0.3 are averaged with it, weighted by score
    (MediaPipe's weighted suppression).
    """
    scores = sigmoid(np.clip(logits, -100, 100))
    kept = np.flatnonzero(scores >= MIN_SCORE)
    if kept.size == 0:
        return None
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    raw, centre = boxes[kept].astype(np.float64) / detector.side, anchors(detector)[kept]
    middle, size = raw[:, :2] + centre, raw[:, 2:4]
    low, high = middle - size / 2, middle + size / 2
    shared = np.clip(np.minimum(high, high[0]) - np.maximum(low, low[0]), 0, None).prod(axis=1)
    union = size.prod(axis=1) + size[0].prod() - shared
    same = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0) > _MERGE_IOU
    same[0] = True
    points = raw[:, 4:].reshape(len(raw), -1, 2) + centre[:, None]
    rows = np.concatenate([low[:, None], high[:, None], points], axis=1)
    return np.average(rows[same], axis=0, weights=scores[kept][same])


def crop(frame: Array, roi: Roi, side: int, *, repeat_border: bool) -> tuple[Array, Array]:
    """The square turned upright as uint8 [side, side, 3], and the affine map [2, 3] from it back to the frame."""
    import cv2

    linear = roi.side / side * _axes(roi.angle)
    start = np.array([roi.x, roi.y]) - linear @ np.array([side / 2, side / 2])
    back = np.column_stack([linear, start])
    border = cv2.BORDER_REPLICATE if repeat_border else cv2.BORDER_CONSTANT
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(frame, back, (side, side), flags=flags, borderMode=border), back


def transform(points: Array, matrix: Array) -> Array:
    """``points`` [N, 2] through an affine map [2, 3]."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def angle_of(start: Array, end: Array, upright: float) -> float:
    """By how much a thing is turned clockwise whose vector from ``start`` to ``end`` points to ``upright`` at rest.

    Radians, -pi to pi; ``upright`` counterclockwise from the right, as in a picture seen: 0 is right, pi / 2 is up.
    """
    dx, dy = (float(value) for value in end - start)
    return math.remainder(upright - math.atan2(-dy, dx), 2 * math.pi)


def moved_up(roi: Roi, pixels: float) -> Roi:
    """The square moved by so many pixels of the frame towards what is up in it."""
    return replace(roi, x=roi.x + pixels * math.sin(roi.angle), y=roi.y - pixels * math.cos(roi.angle))


def bounding_roi(points: Array, angle: float, scale: float, *, up: float = 0.0, turned: bool = False) -> Roi:
    """The square around ``points`` [N, 2], ``scale`` times as large as the longer side of their box.

    The box stands upright in the frame, or, ``turned``, along ``angle``; ``up``: moved by this part of the box's height
    towards what is up in the square.
    """
    turn = _axes(angle) if turned else np.eye(2)
    own = points @ turn
    low, high = own.min(axis=0), own.max(axis=0)
    x, y = turn @ ((low + high) / 2)
    width, height = (float(value) for value in high - low)
    return moved_up(Roi(float(x), float(y), scale * max(width, height), angle), up * height)


def may_keep(before: Roi, fresh: Roi, points: Array, limits: KeepLimits) -> bool:
    """Whether ``before``, made of the last frame's ``points`` [N, 2], is near enough to this frame's ``fresh`` one."""
    turned = math.degrees(abs(math.remainder(before.angle - fresh.angle, 2 * math.pi)))
    turn, centre = _axes(fresh.angle), np.array([fresh.x, fresh.y])
    shift = np.abs((np.array([before.x, before.y]) - centre) @ turn).max()
    outside = np.abs((points - centre) @ turn).max()
    return bool(
        turned <= limits.degrees
        and shift <= limits.shift * fresh.side
        and abs(before.side - fresh.side) <= limits.scale * fresh.side
        and outside < (1 - limits.margin) * fresh.side / 2
    )


def by_shape(outputs: list[Array], *shapes: tuple[int, ...]) -> list[Array]:
    """The net's outputs of these shapes (without the batch), whatever order the file has them in."""
    found = {output.shape[1:]: output[0] for output in outputs}
    return [found[shape] for shape in shapes]


def sigmoid(values: Array) -> Array:
    """1 / (1 + exp(-x)) in double precision."""
    return 1 / (1 + np.exp(-values.astype(np.float64)))


def _axes(angle: float) -> Array:
    """The rotation [2, 2] whose columns are what is right and what is down in a square of this angle."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])
