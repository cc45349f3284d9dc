"""YOLOX: boxes around people, as DWPose uses it (yzd-v/DWPose, yolox_l.onnx, exported without its decoder)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol

import numpy as np

SIDE = 640
STRIDES = (8, 16, 32)
PERSON = 0  # COCO's first class
_PAD = 114
_NMS_IOU = 0.45
# DWPose drops what scores up to 0.1 before the suppression and up to 0.3 after it.
_SCORE_BEFORE, _SCORE_AFTER = 0.1, 0.3

Array = np.ndarray[Any, Any]


class Net(Protocol):
    """A loaded net: a float32 batch in, the outputs in the file's order."""

    def __call__(self, tensor: Array) -> list[Array]:
        """Run once."""


def detect(net: Net, frame: Array) -> Array:
    """People in one frame (uint8 [H, W, 3] RGB): float32 [N, 5] of (left, top, right, bottom, score), best first.

    Boxes are in the frame's pixels and may reach outside it. The net gets BGR, as it was trained (MMDetection's
    configuration has no channel swap), as levels 0 to 255.
    """
    picture, ratio = letterbox(frame)
    tensor = np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1)[None], dtype=np.float32)
    return decode(net(tensor)[0][0], ratio)


def letterbox(frame: Array) -> tuple[Array, float]:
    """The frame in the top left corner of a grey square of 640, and by how much it was scaled."""
    import cv2

    height, width = frame.shape[:2]
    ratio = min(SIDE / height, SIDE / width)
    # Cut, not rounded, as in the code that the net was exported with.
    inner = cv2.resize(frame, (max(1, int(width * ratio)), max(1, int(height * ratio))), interpolation=cv2.INTER_LINEAR)
    square = np.full((SIDE, SIDE, 3), _PAD, np.uint8)
    square[: inner.shape[0], : inner.shape[1]] = inner
    return square, ratio


def decode(output: Array, ratio: float) -> Array:
    """Boxes of people out of the net's output [8400, 85]: centre, size, objectness and 80 class scores a cell.

    Centre and size are relative to the cell and logarithmic (Ge et al. 2021, arXiv 2107.08430); the scores are
    probabilities. float32 [N, 5], best first.
    """
    scores = output[:, 4] * output[:, 5 + PERSON]
    kept = np.flatnonzero(scores > _SCORE_BEFORE)
    corner, stride = (grid[kept] for grid in cells())
    centre = (output[kept, :2] + corner) * stride
    with np.errstate(over="ignore"):
        size = np.exp(output[kept, 2:4]) * stride
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1) / ratio
    found = np.concatenate([boxes, scores[kept, None]], axis=1).astype(np.float32)
    found = found[np.isfinite(found).all(axis=1)]
    found = found[suppress(found)]
    # What is smaller than a pixel, or has a size of e^90, is nobody.
    return found[(found[:, 4] > _SCORE_AFTER) & (found[:, 2:4] - found[:, :2] >= 1).all(axis=1)]


@lru_cache(maxsize=1)
def cells() -> tuple[Array, Array]:
    """float32 [8400, 2]: column and row of each cell, and [8400, 1]: its stride in pixels."""
    corners, strides = [], []
    for stride in STRIDES:
        side = SIDE // stride
        rows, columns = np.divmod(np.arange(side * side), side)
        corners.append(np.stack([columns, rows], axis=1))
        strides.append(np.full((side * side, 1), stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(strides).astype(np.float32)


def suppress(boxes: Array, limit: float = _NMS_IOU) -> Array:
    """Indices of the boxes [N, 5] that stay, best first: each box removes later ones that overlap it by more.

    Areas count the border pixels (+ 1), as in DWPose's suppression.
    """
    order = np.argsort(-boxes[:, 4], kind="stable")
    size = boxes[:, 2:4] - boxes[:, :2] + 1
    area = size[:, 0] * size[:, 1]
    kept = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(best)
        low, high = np.maximum(boxes[best, :2], boxes[rest, :2]), np.minimum(boxes[best, 2:4], boxes[rest, 2:4])
        shared = np.clip(high - low + 1, 0, None).prod(axis=1)
        order = rest[shared <= limit * (area[best] + area[rest] - shared)]
    return np.array(kept, np.int64)
