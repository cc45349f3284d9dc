"""BlazePose's body: 33 points of one person, found by two of MediaPipe's nets.

A detector looks for a person in the whole frame; a second net finds the points in a rotated square around them. The
next square comes from two auxiliary points of this frame, so the detector runs only at the start and after a loss.
Thresholds, crops and filters are those of MediaPipe 0.10.14's graphs (pose_detection, pose_landmark_by_roi,
pose_landmark_filtering); the smoothing of the points themselves, which MediaPipe does last, is left to later steps.
"""

from __future__ import annotations

import math

import numpy as np

from ..litert import LiteRTNet
from .blaze_roi import MIN_SCORE, Array, Detector, Roi, best_detection, by_shape, crop, sigmoid, transform

_DETECTOR = Detector(224, (8, 16, 32, 32, 32))
_LANDMARK_SIDE = 256
_ROI_SCALE = 1.25
_HEATMAP_RADIUS = 3  # a window of 7 x 7 cells
_HEATMAP_MIN = 0.5


class BodyTracker:
    """Follows one person from frame to frame: what is known is the square to look in, and its filter."""

    def __init__(self, detector: LiteRTNet, landmarker: LiteRTNet, fps: float) -> None:
        self._detector = detector
        self._landmarker = landmarker
        self._fps = fps
        self._roi: Roi | None = None
        self._filter = OneEuro(fps)

    def next(self, frame: Array) -> tuple[Array | None, str]:
        """33 rows of (x, y, score) in the frame's pixels, or None, and the frame's note."""
        if self._roi is not None:
            found, presence = self._look(frame, self._roi)
            if found is not None:
                return found, ""
        self._filter = OneEuro(self._fps)
        self._roi = self._detect(frame)
        if self._roi is None:
            return None, "no person found"
        found, presence = self._look(frame, self._roi)
        if found is None:
            self._roi = None
            return None, f"low score {presence:.2f}"
        return found, ""

    def _detect(self, frame: Array) -> Roi | None:
        height, width = frame.shape[:2]
        whole = Roi(width / 2, height / 2, max(width, height), 0.0)
        picture, back = crop(frame, whole, _DETECTOR.side, repeat_border=False)
        boxes, logits = by_shape(self._detector(picture[None].astype(np.float32) / 127.5 - 1), (2254, 12), (2254, 1))
        found = best_detection(boxes, logits[:, 0], _DETECTOR)
        if found is None:
            return None
        centre, edge = transform(found[2:4] * _DETECTOR.side, back)
        return roi_from_points(centre, edge)

    def _look(self, frame: Array, roi: Roi) -> tuple[Array | None, float]:
        picture, back = crop(frame, roi, _LANDMARK_SIDE, repeat_border=True)
        outputs = self._landmarker(picture[None].astype(np.float32) / 255)
        values, presence, heatmap = by_shape(outputs, (195,), (1,), (64, 64, 39))
        if presence[0] < MIN_SCORE:
            return None, float(presence[0])
        rows = values.reshape(39, 5)  # x, y, z, visibility, presence; 33 points and 6 auxiliary ones
        points = transform(refine(rows[:, :2], heatmap), back)
        scores = sigmoid(rows[:33, 3]) * sigmoid(rows[:33, 4])
        auxiliary = points[33:35]
        size = 2 * float(np.hypot(*(auxiliary[1] - auxiliary[0])))
        self._roi = roi_from_points(*self._filter(auxiliary, size)) if size > 1 else None
        return np.concatenate([points[:33], scores[:, None]], axis=1), float(presence[0])


class OneEuro:
    """MediaPipe's One-Euro filter for the auxiliary points: calm when they rest, quick when they move.

    Constants of pose_landmark_filtering (min_cutoff 0.01, beta 10, derivate_cutoff 1); speeds are measured in sizes of
    the body a second. Casiez et al., "1 Euro Filter", CHI 2012.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._raw: Array | None = None
        self._value: Array | None = None
        self._speed: Array | None = None

    def __call__(self, points: Array, size: float) -> Array:
        """``points`` [..., 2] in pixels, filtered. ``size`` of the body in pixels."""
        if self._raw is None or self._value is None or self._speed is None:
            self._raw, self._value, self._speed = points, points, np.zeros_like(points)
            return points
        speed = (points - self._raw) / size * self._fps
        alpha = self._alpha(np.ones_like(points))
        self._speed = alpha * speed + (1 - alpha) * self._speed
        alpha = self._alpha(0.01 + 10.0 * np.abs(self._speed))
        self._raw, self._value = points, alpha * points + (1 - alpha) * self._value
        return self._value

    def _alpha(self, cutoff: Array) -> Array:
        return 1 / (1 + self._fps / (2 * math.pi * cutoff))


def roi_from_points(centre: Array, edge: Array) -> Roi:
    """The square whose middle is ``centre`` and that is upright when ``edge`` lies straight above it."""
    dx, dy = (float(value) for value in edge - centre)
    angle = math.pi / 2 - math.atan2(-dy, dx)
    return Roi(float(centre[0]), float(centre[1]), 2 * math.hypot(dx, dy) * _ROI_SCALE, angle)


def refine(points: Array, heatmap: Array) -> Array:
    """Move each point to the centre of mass of its heat map's 7 x 7 cells around it, where the map is sure (>= 0.5).

    ``points`` [N, 2] in pixels of the 256 crop; ``heatmap`` [64, 64, N] logits.
    """
    cells = heatmap.shape[0]
    step = _LANDMARK_SIDE / cells
    refined = points.astype(np.float64)
    for index, (x, y) in enumerate(points):
        column, row = int(x // step), int(y // step)
        if not (0 <= column < cells and 0 <= row < cells):
            continue
        left, top = max(0, column - _HEATMAP_RADIUS), max(0, row - _HEATMAP_RADIUS)
        window = sigmoid(heatmap[top : row + _HEATMAP_RADIUS + 1, left : column + _HEATMAP_RADIUS + 1, index])
        if window.max() < _HEATMAP_MIN:
            continue
        rows, columns = np.indices(window.shape)
        mass = window.sum()
        refined[index] = ((columns * window).sum() / mass + left) * step, ((rows * window).sum() / mass + top) * step
    return refined
