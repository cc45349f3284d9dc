"""What a generated toy clip shows, against the scene that it should show: shape, and colours of parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import SettingsError
from .paint import LABELS
from .palette import nearest, rgb

Array = np.ndarray[Any, Any]

_EDGE = 5  # columns at each side in which no dancer stands
_APART = 30.0  # levels, root mean square over RGB: what differs more from the backdrop is the dancer
_PLACE = ("wall", "floor")
# Pixels that are taken off around a part, so that what is measured is the part and not its outline.
_INSIDE = {"wall": 4, "floor": 2, "trousers": 1, "shirt": 1, "skin": 1, "hair": 1, "shoes": 0}


def silhouette(frames: Array) -> Array:
    """Bool [T, H, W]: where a clip uint8 [T, H, W, 3] shows something else than its own backdrop.

    The backdrop of each row is the median of the clip's outer columns; the toy world's have one colour in a row.
    """
    sides = np.concatenate([frames[:, :, :_EDGE], frames[:, :, -_EDGE:]], axis=2)
    rows = np.median(sides.transpose(1, 0, 2, 3).reshape(frames.shape[1], -1, 3), axis=1)
    return np.asarray(np.sqrt(((frames - rows[None, :, None]) ** 2).mean(-1)) > _APART)


def dancer(labels: Array) -> Array:
    """Bool [T, H, W]: where the dancer truly is."""
    return ~np.isin(labels, [LABELS.index(name) for name in _PLACE])


def iou(one: Array, other: Array) -> float:
    """Intersection over union of two masks of one shape; two empty masks are equal (1)."""
    if one.shape != other.shape:
        raise SettingsError(
            "Masks of different shapes cannot be compared.", expected=str(one.shape), got=str(other.shape)
        )
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def inside(labels: Array, part: str) -> Array:
    """Bool [T, H, W]: where a part is, less a margin at its edge. Raises SettingsError for unknown parts."""
    import cv2

    if part not in LABELS:
        raise SettingsError("There is no such part.", expected=f"one of {', '.join(LABELS)}", got=repr(part))
    mask = (labels == LABELS.index(part)).astype(np.uint8)
    size = 2 * _INSIDE[part] + 1
    kernel = np.ones((size, size), np.uint8)
    # The picture's border is no edge of the part.
    return np.stack([cv2.erode(one, kernel, borderValue=1) for one in mask]).astype(bool)


def colour(frames: Array, labels: Array, part: str) -> tuple[float, float, float] | None:
    """The median colour (sRGB, 0 to 255) where a part truly is, or None where it is not seen."""
    mask = inside(labels, part)
    if not mask.any():
        return None
    red, green, blue = np.median(frames[mask].astype(float), axis=0)
    return float(red), float(green), float(blue)


def distance(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """Root mean square difference of two colours over RGB: 0 to 255."""
    return float(np.sqrt(np.mean((np.asarray(one) - np.asarray(other)) ** 2)))


def off(frames: Array, truth: Array, labels: Array, part: str) -> float | None:
    """How far a part's colour is from that of the true clip, or None where the part is not seen."""
    found, wanted = colour(frames, labels, part), colour(truth, labels, part)
    return None if found is None or wanted is None else distance(found, wanted)


def shows(frames: Array, labels: Array, part: str, name: str) -> bool | None:
    """Whether a part's colour is nearest to the named one of all that it can have; None where it is not seen."""
    found = colour(frames, labels, part)
    return None if found is None else nearest(part, found) == name


def towards(
    seen: tuple[float, float, float], own: tuple[float, float, float], other: tuple[float, float, float]
) -> float:
    """How far a colour has gone on the straight way from its ``own`` to an ``other``: 0 not at all, 1 all the way.

    Below 0 it went the other way; what goes sideways does not count. Raises SettingsError for one colour given twice.
    """
    way = np.subtract(other, own)
    length = float(way @ way)
    if not length:
        raise SettingsError("There is no way from a colour to itself.", got=str(own))
    return float(np.subtract(seen, own) @ way) / length


def leakage(frames: Array, truth: Array, labels: Array, training: Mapping[str, str]) -> float | None:
    """How far parts of the picture have taken the colours of a training set: the mean of ``towards`` over its parts.

    ``truth``: the clip with the right colours. ``training``: part -> the colour's name in the training set. A part is
    left out where it is not seen or has nearly that colour already; None when none is left.
    """
    shares = []
    for part, name in training.items():
        seen, own, other = colour(frames, labels, part), colour(truth, labels, part), rgb(part, name)
        if seen is not None and own is not None and distance(own, other) > _APART:
            shares.append(towards(seen, own, other))
    return float(np.mean(shares)) if shares else None


def psnr(one: Array, other: Array) -> float:
    """Peak signal to noise ratio of two uint8 clips, in decibels; infinite for equal ones."""
    square = float(np.mean((one.astype(float) - other) ** 2))
    return float("inf") if square == 0 else 10 * float(np.log10(255**2 / square))
