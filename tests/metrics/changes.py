"""What is done to a clip whose right scores are known: each change has a strength, 0 being none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

Array = np.ndarray[Any, Any]


def shifted(frames: Array, pixels: float) -> Array:
    """To the right; the left edge is repeated."""
    matrix = np.array([[1, 0, pixels], [0, 1, 0]], np.float32)
    size = (frames.shape[2], frames.shape[1])
    return np.stack([cv2.warpAffine(frame, matrix, size, borderMode=cv2.BORDER_REPLICATE) for frame in frames])


def frozen(frames: Array, index: int) -> Array:
    return np.repeat(frames[index : index + 1], len(frames), axis=0)


def noised(frames: Array, deviation: float) -> Array:
    chance = np.random.default_rng(5)
    return np.clip(frames + chance.normal(0, deviation, frames.shape), 0, 255).astype(np.uint8)


def blurred(frames: Array, deviation: float) -> Array:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), deviation) for frame in frames]) if deviation else frames


def compressed(frames: Array, loss: float) -> Array:
    """As JPEG of the quality 100 - ``loss``."""
    packed = [cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, int(100 - loss)])[1] for frame in frames]
    return np.stack([cv2.imdecode(one, cv2.IMREAD_COLOR) for one in packed])


def flickering(frames: Array, levels: float) -> Array:
    """Every other frame is brighter."""
    brighter = frames.astype(np.float32) + levels * (np.arange(len(frames)) % 2)[:, None, None, None]
    return np.clip(brighter, 0, 255).astype(np.uint8)


def mixed(frames: Array, other: Array, share: float) -> Array:
    return (frames * (1 - share) + other * share + 0.5).astype(np.uint8)


def slower(frames: Array, times: float) -> Array:
    """Each frame stands for so many, in a clip of the same length."""
    return frames[(np.arange(len(frames)) / times).astype(int)]


def mirrored(frames: Array) -> Array:
    return np.ascontiguousarray(frames[:, :, ::-1])


def reversed_(frames: Array) -> Array:
    return np.ascontiguousarray(frames[::-1])


def turned_hue(frames: Array, degrees: float) -> Array:
    turned = []
    for frame in frames:
        hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(int) + round(degrees / 2)) % 180
        turned.append(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))
    return np.stack(turned)


Change = Callable[[Array, float], Array]
