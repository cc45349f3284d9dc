"""MediaPipe's face mesh: 468 points of a face, looked for where the body's net sees one; 68 of them are DWPose's.

As in MediaPipe 0.10.14's holistic graph (face_landmarks_from_pose, face_tracking): a face detector corrects the square
that the body's points suggest; a second net finds the mesh in it and says whether a face is there at all. While the
face moves little, the square comes from the mesh of the frame before. Beyond that graph: when the mesh's net sees no
face in one square it looks into the other; and a face is taken only where the body has its nose.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..litert import LiteRTNet
from .blaze_roi import (
    MIN_SCORE,
    Array,
    Detector,
    KeepLimits,
    Roi,
    angle_of,
    best_detection,
    bounding_roi,
    by_shape,
    crop,
    may_keep,
    sigmoid,
    transform,
)

MESH_POINTS = 468
BODY_POINTS = 11  # so many of BlazePose's points are of the face: nose, eyes, ears, mouth

# The mesh's vertex for each of the 68 points of the iBUG 300-W scheme, which is DWPose's and OpenPose's. Left and right
# are the person's. How it was made: for 66 near-frontal pictures of six people, the vertex nearest to each point of
# dlib's shape_predictor_68 on average, mirrored pairs taken together; of vertices that are about equally near, the one
# on the face's outline, the corner of the eye, the edge of the lip.
MESH_OF_FACE = (
    *(127, 234, 132, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 361, 454, 356),  # jaw, from the right ear
    *(70, 63, 105, 66, 107),  # right brow, from outside
    *(336, 296, 334, 293, 300),  # left brow, from inside
    *(168, 197, 5, 4),  # bridge of the nose, downwards
    *(75, 97, 2, 326, 305),  # underside of the nose, from the right
    *(33, 160, 158, 133, 153, 144),  # right eye, from its outer corner over the upper lid
    *(362, 385, 387, 263, 373, 380),  # left eye, from its inner corner over the upper lid
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips, from the right corner over the upper lip
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips, likewise
)

_DETECTOR = Detector(128, (8, 16, 16, 16))
_MESH_SIDE = 192
_BODY_SCALE, _TRACK_SCALE = 3.0, 1.5
_DETECTION_SCALE, _DETECTION_UP = 2.0, 0.1
_LIMITS = KeepLimits(degrees=15, shift=0.1, scale=0.3, margin=0.2)
_SMALLEST = 2.0  # pixels of a square that is worth looking into
_NOSE, _RIGHT_CORNER, _LEFT_CORNER = 1, 33, 263  # of the mesh: tip of the nose, outer corners of the eyes

# Ours. A face is no further from the body's nose than this part of its size (of real clips: 0.57 at most), and one that
# is found in the second square only must convince more.
_NOSE_REACH = 0.7
_SECOND_LOOK = 0.7


@dataclass(frozen=True)
class FaceNets:
    """The nets for a face: its detection, and the 468 points."""

    detector: LiteRTNet
    mesh: LiteRTNet


@dataclass(frozen=True, eq=False)
class Face:
    """``points`` [468, 2] in the frame's pixels; ``presence`` from 0 to 1."""

    points: Array
    presence: float

    @property
    def size(self) -> float:
        """The longer side of the points' box, in pixels, at least 1."""
        return max(1.0, float((self.points.max(axis=0) - self.points.min(axis=0)).max()))


class FaceTracker:
    """Follows one face from frame to frame: what is known is the mesh of the frame before."""

    def __init__(self, nets: FaceNets) -> None:
        self._nets = nets
        self._before: Array | None = None

    def next(self, frame: Array, body: Array) -> Face | None:
        """The face at these points of the body: BlazePose's first eleven [11, 2], in the frame's pixels."""
        face = None
        for roi, least in zip(self._places(frame, body), (MIN_SCORE, _SECOND_LOOK), strict=False):
            face = self._look(frame, roi, body[0])
            if face is not None and face.presence >= least:
                break
            face = None
        self._before = face.points if face else None
        return face

    def forget(self) -> None:
        """Look afresh in the next frame."""
        self._before = None

    def _places(self, frame: Array, body: Array) -> Iterator[Roi]:
        """Squares to look in, the likeliest first."""
        search = roi_from_body(body)
        fresh = self._detect(frame, search) if search.side >= _SMALLEST else None
        before = roi_from_mesh(self._before) if self._before is not None else None
        if fresh is not None and before is not None and self._before is not None:
            close = may_keep(before, fresh, self._before, _LIMITS)
            yield from (before, fresh) if close else (fresh, before)
        elif only := fresh or before:
            yield only

    def _detect(self, frame: Array, roi: Roi) -> Roi | None:
        picture, back = crop(frame, roi, _DETECTOR.side, repeat_border=False)
        outputs = self._nets.detector(picture[None].astype(np.float32) / 127.5 - 1)
        boxes, logits = by_shape(outputs, (896, 16), (896, 1))
        found = best_detection(boxes, logits[:, 0], _DETECTOR)
        return roi_from_detection(transform(found[2:] * _DETECTOR.side, back)) if found is not None else None

    def _look(self, frame: Array, roi: Roi, nose: Array) -> Face | None:
        if roi.side < _SMALLEST:
            return None
        picture, back = crop(frame, roi, _MESH_SIDE, repeat_border=True)
        outputs = self._nets.mesh(picture[None].astype(np.float32) / 255)
        values, presence = by_shape(outputs, (1, 1, 3 * MESH_POINTS), (1, 1, 1))
        points = transform(values.reshape(MESH_POINTS, 3)[:, :2].astype(np.float64), back)
        face = Face(points, float(sigmoid(presence)[0, 0, 0]))
        away = math.hypot(*(points[_NOSE] - nose)) / face.size
        return face if away <= _NOSE_REACH else None


def roi_from_body(face: Array) -> Roi:
    """Where to look for a face, by BlazePose's first eleven points [11, 2]."""
    right_eye, left_eye = face[5], face[2]
    return bounding_roi(face, angle_of(right_eye, left_eye, 0), _BODY_SCALE)


def roi_from_detection(points: Array) -> Roi:
    """Where the mesh is looked for, by the detector's six points [6, 2] (right eye, left eye, ...)."""
    return bounding_roi(points, angle_of(points[0], points[1], 0), _DETECTION_SCALE, up=_DETECTION_UP)


def roi_from_mesh(points: Array) -> Roi:
    """Where to look for the face of this mesh [468, 2] in the next frame."""
    return bounding_roi(points, angle_of(points[_RIGHT_CORNER], points[_LEFT_CORNER], 0), _TRACK_SCALE)
