"""BlazePose: one person's 33 points in every frame, found by MediaPipe's own nets on LiteRT.

A detector looks for a person in the whole frame; a second net finds the points in a rotated square around them. The
next square comes from two auxiliary points of this frame, so the detector runs only at the start and after a loss.
Thresholds, crops and filters are those of MediaPipe 0.10.14's graphs (pose_detection, pose_landmark_by_roi,
pose_landmark_filtering); the smoothing of the points themselves, which MediaPipe does last, is left to later steps.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import Interrupted
from ..litert import LiteRTNet
from ..models import BLAZEPOSE_DETECTION, BLAZEPOSE_LANDMARKS, require_model
from ..video.clip import Clip
from .track import POINTS, PoseTrack

BACKEND = "blazepose (litert, cpu)"

_DETECTOR_SIDE = 224
_DETECTOR_STRIDES = (8, 16, 32, 32, 32)
_LANDMARK_SIDE = 256
_MIN_SCORE = 0.5  # of a detection, and of the second net's "there is a person here"
_MERGE_IOU = 0.3
_ROI_SCALE = 1.25
_HEATMAP_RADIUS = 3  # a window of 7 x 7 cells
_HEATMAP_MIN = 0.5
_NECK_MIN = 0.3  # DWPose's threshold for both shoulders

# DWPose's index of each point that BlazePose has. Its order of the feet is big toe, small toe, heel, left then right;
# BlazePose's "foot index" is the tip of the foot, taken as the big toe. It has no small toe. The face mesh and the
# hands belong to other nets: their scores stay 0.
FROM_BLAZEPOSE = {
    0: 0,  # nose
    2: 12, 3: 14, 4: 16,  # right shoulder, elbow, wrist
    5: 11, 6: 13, 7: 15,  # left shoulder, elbow, wrist
    8: 24, 9: 26, 10: 28,  # right hip, knee, ankle
    11: 23, 12: 25, 13: 27,  # left hip, knee, ankle
    14: 5, 15: 2, 16: 8, 17: 7,  # right eye, left eye, right ear, left ear
    18: 31, 20: 29,  # left big toe, heel
    21: 32, 23: 30,  # right big toe, heel
}  # fmt: skip
_NECK, _RIGHT_SHOULDER, _LEFT_SHOULDER = 1, 2, 5

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Roi:
    """A rotated square in the frame: centre and side in pixels, angle in radians (0: the body is upright)."""

    x: float
    y: float
    side: float
    angle: float


def extract_blazepose(
    clip: Clip,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    threads: int | None = None,
) -> PoseTrack:
    """Find one person's points in every frame; the track has P = 1 and the clip's canvas and rate.

    The points' layout is DWPose's 134 (FROM_BLAZEPOSE says which are filled); scores are visibility x presence. A frame
    without points has a note: "no person found", or "low score 0.31" when the second net did not believe the first.
    ``on_progress(frames done, frames in all)``; ``should_stop`` is asked before every frame. ``threads``: of LiteRT;
    None means ``default_threads()``.

    Raises ModelFileError (a net is missing or damaged), MissingPackageError (no LiteRT) and Interrupted.
    """
    detector, landmarker = load_nets(threads)
    tracker = Tracker(detector, landmarker, float(clip.fps))
    points = np.zeros((len(clip), 1, POINTS, 2), np.float32)
    scores = np.zeros((len(clip), 1, POINTS), np.float32)
    notes = []
    for index, frame in enumerate(clip.frames):
        if should_stop and should_stop():
            raise Interrupted(f"stopped after {index} of {len(clip)} frames")
        found, note = tracker.next(frame)
        if found is not None:
            points[index, 0], scores[index, 0] = to_dwpose(found[:, :2], found[:, 2])
        notes.append(note)
        if on_progress:
            on_progress(index + 1, len(clip))
    return PoseTrack(points, scores, (clip.height, clip.width), clip.fps, BACKEND, tuple(notes))


def default_threads() -> int:
    """LiteRT's threads when nobody chose: the CPUs, at most four (the nets are small)."""
    return max(1, min(4, os.cpu_count() or 1))


def load_nets(threads: int | None = None) -> tuple[LiteRTNet, LiteRTNet]:
    """The detector and the landmark net, from the model folders."""
    count = threads or default_threads()
    detector = LiteRTNet(require_model(BLAZEPOSE_DETECTION.name), threads=count)
    return detector, LiteRTNet(require_model(BLAZEPOSE_LANDMARKS.name), threads=count)


class Tracker:
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
        picture, back = crop(frame, whole, _DETECTOR_SIDE, repeat_border=False)
        boxes, logits = by_shape(self._detector(picture[None].astype(np.float32) / 127.5 - 1), (2254, 12), (2254, 1))
        points = best_detection(boxes, logits[:, 0])
        if points is None:
            return None
        centre, edge = transform(points[:2] * _DETECTOR_SIDE, back)
        return roi_from_points(centre, edge)

    def _look(self, frame: Array, roi: Roi) -> tuple[Array | None, float]:
        picture, back = crop(frame, roi, _LANDMARK_SIDE, repeat_border=True)
        outputs = self._landmarker(picture[None].astype(np.float32) / 255)
        values, presence, heatmap = by_shape(outputs, (195,), (1,), (64, 64, 39))
        if presence[0] < _MIN_SCORE:
            return None, float(presence[0])
        rows = values.reshape(39, 5)  # x, y, z, visibility, presence; 33 points and 6 auxiliary ones
        points = transform(refine(rows[:, :2], heatmap), back)
        scores = _sigmoid(rows[:33, 3]) * _sigmoid(rows[:33, 4])
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


@lru_cache(maxsize=1)
def anchors() -> Array:
    """float32 [2254, 2]: centres, 0 to 1, of the detector's anchors. Layers of one stride share a grid."""
    grids = []
    for stride in dict.fromkeys(_DETECTOR_STRIDES):
        cells, each = _DETECTOR_SIDE // stride, 2 * _DETECTOR_STRIDES.count(stride)
        centres = (np.arange(cells) + 0.5) / cells
        grid = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)
        grids.append(np.repeat(grid, each, axis=0))
    return np.concatenate(grids).astype(np.float32)


def best_detection(boxes: Array, logits: Array) -> Array | None:
    """float [4, 2], 0 to 1: the key points of the likeliest person, or None when none reaches 0.5.

    ``boxes`` [2254, 12]: centre, size and four points, in pixels of the 224 crop relative to the anchors. Boxes that
    overlap the best one by more than 0.3 are averaged with it, weighted by score (MediaPipe's weighted suppression).
    """
    scores = _sigmoid(np.clip(logits, -100, 100))
    kept = np.flatnonzero(scores >= _MIN_SCORE)
    if kept.size == 0:
        return None
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    raw, centre = boxes[kept].astype(np.float64) / _DETECTOR_SIDE, anchors()[kept]
    middle, size = raw[:, :2] + centre, raw[:, 2:4]
    low, high = middle - size / 2, middle + size / 2
    shared = np.clip(np.minimum(high, high[0]) - np.maximum(low, low[0]), 0, None).prod(axis=1)
    union = size.prod(axis=1) + size[0].prod() - shared
    same = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0) > _MERGE_IOU
    same[0] = True
    points = raw[same, 4:].reshape(-1, 4, 2) + centre[same, None]
    return np.average(points, axis=0, weights=scores[kept][same])


def roi_from_points(centre: Array, edge: Array) -> Roi:
    """The square whose middle is ``centre`` and that is upright when ``edge`` lies straight above it."""
    dx, dy = (float(value) for value in edge - centre)
    angle = math.pi / 2 - math.atan2(-dy, dx)
    return Roi(float(centre[0]), float(centre[1]), 2 * math.hypot(dx, dy) * _ROI_SCALE, angle)


def crop(frame: Array, roi: Roi, side: int, *, repeat_border: bool) -> tuple[Array, Array]:
    """The square turned upright as uint8 [side, side, 3], and the affine map [2, 3] from it back to the frame."""
    import cv2

    step, cos, sin = roi.side / side, math.cos(roi.angle), math.sin(roi.angle)
    linear = step * np.array([[cos, -sin], [sin, cos]])
    start = np.array([roi.x, roi.y]) - linear @ np.array([side / 2, side / 2])
    back = np.column_stack([linear, start])
    border = cv2.BORDER_REPLICATE if repeat_border else cv2.BORDER_CONSTANT
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(frame, back, (side, side), flags=flags, borderMode=border), back


def transform(points: Array, matrix: Array) -> Array:
    """``points`` [N, 2] through an affine map [2, 3]."""
    return points @ matrix[:, :2].T + matrix[:, 2]


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
        window = _sigmoid(heatmap[top : row + _HEATMAP_RADIUS + 1, left : column + _HEATMAP_RADIUS + 1, index])
        if window.max() < _HEATMAP_MIN:
            continue
        rows, columns = np.indices(window.shape)
        mass = window.sum()
        refined[index] = ((columns * window).sum() / mass + left) * step, ((rows * window).sum() / mass + top) * step
    return refined


def to_dwpose(points: Array, scores: Array) -> tuple[Array, Array]:
    """BlazePose's 33 points [33, 2] and scores [33] in DWPose's layout: float32 [134, 2] and [134].

    The neck is the middle of the shoulders, when both score more than 0.3; its score is the lower of theirs.
    """
    to, of = list(FROM_BLAZEPOSE), list(FROM_BLAZEPOSE.values())
    out = np.zeros((POINTS, 2), np.float32)
    out_scores = np.zeros(POINTS, np.float32)
    out[to], out_scores[to] = points[of], np.clip(scores[of], 0, 1)
    shoulders = [_RIGHT_SHOULDER, _LEFT_SHOULDER]
    if out_scores[shoulders].min() > _NECK_MIN:
        out[_NECK], out_scores[_NECK] = out[shoulders].mean(axis=0), out_scores[shoulders].min()
    return out, out_scores


def by_shape(outputs: list[Array], *shapes: tuple[int, ...]) -> list[Array]:
    """The net's outputs of these shapes (without the batch), whatever order the file has them in."""
    found = {output.shape[1:]: output[0] for output in outputs}
    return [found[shape] for shape in shapes]


def _sigmoid(values: Array) -> Array:
    return 1 / (1 + np.exp(-values.astype(np.float64)))
