"""MediaPipe's hand: 21 points of one hand, looked for where the body's net sees wrist, index and little finger.

As in MediaPipe 0.10.14's holistic graph (hand_landmarks_from_pose, hand_recrop_by_roi, hand_tracking): a small net
corrects the square that the body's points suggest; a second net finds the points in it and says whether a hand is there
at all. While the hand moves little, the square comes from the points of the frame before. Beyond that graph: when no
hand is seen, the palm detector looks around the wrist; and a hand is taken only for the side whose wrist it has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

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
    moved_up,
    transform,
)

HAND_POINTS = 21  # wrist, then thumb, index, middle, ring and little finger from root to tip: OpenPose's order too

_RECROP_SIDE, _LANDMARK_SIDE = 256, 224
_PALM = Detector(192, (8, 16, 16, 16))
_BODY_SCALE, _BODY_UP = 2.7, 0.1
_RECROP_UP = 0.1
_TRACK_SCALE, _TRACK_UP = 2.0, 0.1
_PALM_SCALE, _PALM_UP = 2.6, 0.5
_LIMITS = KeepLimits(degrees=40, shift=0.2, scale=0.4, margin=0.1)
_WRIST_MIN = 0.1  # MediaPipe's: below it the body's net does not see the wrist
_SMALLEST = 2.0  # pixels of a square that is worth looking into
_FIRST_JOINTS = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]  # wrist, thumb, and the first two joints of the fingers

# Ours. The palm detector costs more than the body's net, so it looks only where a wrist is likely; its square is larger
# than the other net's since the body's net is off where that one fails. A hand further from the body's wrist than it is
# long is another hand; two hands whose points are nearer to each other than this part of their size are one hand (of
# real clips: one hand seen twice 0.05 to 0.12, two clasped hands 0.78).
_PALM_WRIST_MIN, _PALM_SEARCH = 0.5, 1.5
_WRIST_REACH = 1.0
_SAME_HAND = 0.3


@dataclass(frozen=True)
class HandNets:
    """The nets for one hand: correction of the square, detection of palms, and the 21 points."""

    recrop: LiteRTNet
    palm: LiteRTNet
    landmarks: LiteRTNet


@dataclass(frozen=True, eq=False)
class Hand:
    """``points`` [21, 2] in the frame's pixels; ``presence`` and ``right`` (that it is a right hand) from 0 to 1."""

    points: Array
    presence: float
    right: float

    @property
    def size(self) -> float:
        """The longer side of the points' box, in pixels, at least 1."""
        return max(1.0, float((self.points.max(axis=0) - self.points.min(axis=0)).max()))


class HandTracker:
    """Follows one hand from frame to frame: what is known is the points of the frame before."""

    def __init__(self, nets: HandNets) -> None:
        self._nets = nets
        self._before: Array | None = None

    def next(self, frame: Array, wrist: Array, pinky: Array, index: Array) -> Hand | None:
        """The hand at these points of the body, each (x, y, score) in the frame's pixels; None when none is seen."""
        hand = None
        if wrist[2] > _WRIST_MIN:
            looks = (self._look(frame, roi, wrist) for roi in self._places(frame, wrist, pinky, index))
            hand = next((found for found in looks if found is not None), None)
        self._before = hand.points if hand else None
        return hand

    def forget(self) -> None:
        """Look afresh in the next frame."""
        self._before = None

    def _places(self, frame: Array, wrist: Array, pinky: Array, index: Array) -> Iterator[Roi]:
        """Squares to look in, the likeliest first; a later one is worked out only when it is asked for."""
        body = roi_from_body(wrist[:2], pinky[:2], index[:2])
        if body.side < _SMALLEST:
            return
        fresh = self._correct(frame, body)
        if self._before is not None:
            before = roi_from_hand(self._before)
            if may_keep(before, fresh, self._before, _LIMITS):
                yield before
        yield fresh
        height, width = frame.shape[:2]
        if wrist[2] > _PALM_WRIST_MIN and 0 <= body.x < width and 0 <= body.y < height:
            palm = self._detect(frame, replace(body, side=_PALM_SEARCH * body.side))
            if palm is not None:
                yield palm

    def _correct(self, frame: Array, roi: Roi) -> Roi:
        picture, back = crop(frame, roi, _RECROP_SIDE, repeat_border=True)
        (values,) = self._nets.recrop(picture[None].astype(np.float32) / 255)
        centre, edge = transform(values.reshape(2, 2).astype(np.float64), back)
        side = 2 * math.hypot(*(edge - centre))
        square = Roi(float(centre[0]), float(centre[1]), side, angle_of(centre, edge, -math.pi / 2))
        return moved_up(square, _RECROP_UP * side)

    def _detect(self, frame: Array, roi: Roi) -> Roi | None:
        picture, back = crop(frame, roi, _PALM.side, repeat_border=False)
        boxes, logits = by_shape(self._nets.palm(picture[None].astype(np.float32) / 255), (2016, 18), (2016, 1))
        found = best_detection(boxes, logits[:, 0], _PALM)
        if found is None:
            return None
        low, high, *points = transform(found * _PALM.side, back)
        side = float((found[1] - found[0]).max()) * roi.side
        middle = (low + high) / 2
        square = Roi(
            float(middle[0]), float(middle[1]), _PALM_SCALE * side, angle_of(points[0], points[2], math.pi / 2)
        )
        return moved_up(square, _PALM_UP * side)

    def _look(self, frame: Array, roi: Roi, wrist: Array) -> Hand | None:
        if roi.side < _SMALLEST:
            return None
        picture, back = crop(frame, roi, _LANDMARK_SIDE, repeat_border=True)
        # The order of the outputs is that of MediaPipe's graph: points, presence, right hand, points in metres.
        values, presence, right, _ = self._nets.landmarks(picture[None].astype(np.float32) / 255)
        points = transform(values.reshape(HAND_POINTS, 3)[:, :2].astype(np.float64), back)
        hand = Hand(points, float(presence[0, 0]), float(right[0, 0]))
        return hand if hand.presence >= MIN_SCORE and _away(hand, wrist) <= _WRIST_REACH else None


def one_of_each(left: Hand | None, right: Hand | None, wrists: Array) -> tuple[Hand | None, Hand | None]:
    """The two hands, or only one of them when both are the same hand of the picture.

    ``wrists`` [2, 2]: the body's left and right. The hand is left with the side whose wrist is nearer and whose name it
    has by its looks.
    """
    if left is None or right is None:
        return left, right
    apart = np.linalg.norm(left.points - right.points, axis=1).mean()
    if apart > _SAME_HAND * max(left.size, right.size):
        return left, right
    doubt = _away(left, wrists[0]) + left.right, _away(right, wrists[1]) + 1 - right.right
    return (left, None) if doubt[0] < doubt[1] else (None, right)


def roi_from_body(wrist: Array, pinky: Array, index: Array) -> Roi:
    """Where to look for a hand, by three points [2] of the body: around the middle finger's root, wrist down."""
    middle = (2 * index + pinky) / 3
    side = 2 * math.hypot(*(middle - wrist))
    square = Roi(float(middle[0]), float(middle[1]), _BODY_SCALE * side, angle_of(wrist, middle, math.pi / 2))
    return moved_up(square, _BODY_UP * side)


def roi_from_hand(points: Array) -> Roi:
    """Where to look for the hand of these 21 points [21, 2] in the next frame."""
    knuckles = ((points[5] + points[13]) / 2 + points[9]) / 2
    angle = angle_of(points[0], knuckles, math.pi / 2)
    return bounding_roi(points[_FIRST_JOINTS], angle, _TRACK_SCALE, up=_TRACK_UP, turned=True)


def _away(hand: Hand, wrist: Array) -> float:
    """How far the hand's wrist is from the body's, in sizes of the hand."""
    return math.hypot(*(hand.points[0] - wrist[:2])) / hand.size
