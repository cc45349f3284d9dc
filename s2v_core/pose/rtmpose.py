"""The pose net of DWPose (dw-ll_ucoco_384.onnx, an RTMPose-l): 133 whole-body points of the person in a box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .track import POINTS
from .yolox import Net

WIDTH, HEIGHT = 288, 384
_PADDING = 1.25
_BINS_A_PIXEL = 2  # SimCC's split ratio
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_STD = np.array([58.395, 57.12, 57.375], np.float32)
_NECK_MIN = 0.3

# DWPose's order of the 18 body points, as indices into COCO's 17 with the neck (17) behind them.
_OPENPOSE_BODY = (0, 17, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_NECK, _LEFT_SHOULDER, _RIGHT_SHOULDER = 17, 5, 6

Array = np.ndarray[Any, Any]


def find_points(net: Net, frames: Sequence[Array] | Array, boxes: Array) -> tuple[Array, Array]:
    """Points of the people in boxes, one box a frame: one run of the net for all.

    ``frames``: N pictures, uint8 [H, W, 3] RGB (a list, or an array [N, H, W, 3]). ``boxes``: [N, 4]. Returns float32
    [N, 134, 2] in pixels of the frames, and scores [N, 134] in DWPose's order.
    """
    squares = [crop_box(box) for box in boxes]
    batch = np.stack([crop(frame, square) for frame, square in zip(frames, squares, strict=True)])
    columns, rows = by_width(net(batch))
    points, scores = decode(columns, rows)
    for index, square in enumerate(squares):
        points[index] = points[index] * (square[2:] / (WIDTH, HEIGHT)) + square[:2]
    return to_openpose(points, scores)


def crop_box(box: Array) -> Array:
    """The part of the frame that the net looks at: float64 (left, top, width, height), a quarter larger than the box.

    It is widened or heightened around the same centre to the net's 3 : 4.
    """
    left, top, right, bottom = (float(side) for side in box[:4])
    width, height = (right - left) * _PADDING, (bottom - top) * _PADDING
    width, height = max(width, height * WIDTH / HEIGHT), max(height, width * HEIGHT / WIDTH)
    return np.array([(left + right - width) / 2, (top + bottom - height) / 2, width, height])


def crop(frame: Array, square: Array) -> Array:
    """float32 [3, 384, 288]: that part of the frame (black outside it), normalised, RGB."""
    import cv2

    left, top, width, height = square
    # By three points in single precision, as MMPose and DWPose make this matrix: the last bit of a crop can decide
    # between two bins that are equally high.
    here = _corner(left + width / 2, top + height / 2, width)
    matrix = cv2.getAffineTransform(here, _corner(WIDTH / 2, HEIGHT / 2, WIDTH))
    picture = cv2.warpAffine(frame, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    return np.ascontiguousarray(((picture - _MEAN) / _STD).transpose(2, 0, 1))


def _corner(x: float, y: float, width: float) -> Array:
    """A middle, the point half a width above it, and the one half a width left of that: float32 [3, 2]."""
    middle, above = np.array([x, y], np.float32), np.array([x, y - width / 2], np.float32)
    return np.stack([middle, above, above - (middle - above)[::-1]])


def by_width(outputs: list[Array]) -> tuple[Array, Array]:
    """The two outputs as (columns [N, 133, 576], rows [N, 133, 768]), whatever order the file has them in."""
    columns, rows = sorted(outputs, key=lambda output: output.shape[-1])
    return columns, rows


def decode(columns: Array, rows: Array) -> tuple[Array, Array]:
    """SimCC's answer as float32 points [N, 133, 2] in pixels of the crop, and scores [N, 133].

    A point lies at the highest bin of each axis; its score is the lower of the two heights (Li et al. 2022, arXiv
    2107.03332; DWPose's own post-processing). A score of 0 or less is no point.
    """
    place = np.stack([columns.argmax(axis=-1), rows.argmax(axis=-1)], axis=-1)
    scores = np.minimum(columns.max(axis=-1), rows.max(axis=-1))
    return place.astype(np.float32) / _BINS_A_PIXEL, np.clip(scores, 0, None).astype(np.float32)


def to_openpose(points: Array, scores: Array) -> tuple[Array, Array]:
    """COCO-WholeBody's 133 points with a neck, in DWPose's order: [N, 134, 2] and [N, 134].

    The neck is the middle of the shoulders; its score is the lower of theirs when both are above 0.3, else 0.
    """
    neck = points[:, [_LEFT_SHOULDER, _RIGHT_SHOULDER]].mean(axis=1)
    neck_score = scores[:, [_LEFT_SHOULDER, _RIGHT_SHOULDER]].min(axis=1)
    neck_score = np.where(neck_score > _NECK_MIN, neck_score, 0)
    out = np.empty((len(points), POINTS, 2), np.float32)
    out_scores = np.empty((len(points), POINTS), np.float32)
    body = list(_OPENPOSE_BODY)
    with_neck = np.concatenate([points[:, :17], neck[:, None]], axis=1)
    with_neck_scores = np.concatenate([scores[:, :17], neck_score[:, None]], axis=1)
    out[:, :18], out_scores[:, :18] = with_neck[:, body], with_neck_scores[:, body]
    out[:, 18:], out_scores[:, 18:] = points[:, 17:], scores[:, 17:]
    return out, out_scores
