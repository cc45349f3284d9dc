"""What can be measured on a pose track: how tall its people are, and how much their points tremble."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .track import BODY, POINTS, PoseTrack

GOOD = 0.3  # DWPose's threshold: a point that scores more is drawn

# Limbs and sides of the trunk (two points of the body) and their share of the stature: Drillis and Contini (1966), as
# in Winter, "Biomechanics and Motor Control of Human Movement", figure 4.1.
SHARES = {
    (2, 8): 0.288, (5, 11): 0.288,  # shoulder to hip
    (8, 9): 0.245, (11, 12): 0.245,  # thigh
    (9, 10): 0.246, (12, 13): 0.246,  # shank
    (2, 3): 0.186, (5, 6): 0.186,  # upper arm
    (3, 4): 0.146, (6, 7): 0.146,  # forearm
}  # fmt: skip
_ENDS = np.array(list(SHARES)).T
_SHARES = np.array(list(SHARES.values()))

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Jitter:
    """How much points tremble: the mean length of their second difference over time, in pixels a frame squared.

    ``share`` is the same in body heights. Both are 0 when no point was found in three frames on end.
    """

    pixels: float
    share: float

    def __str__(self) -> str:
        return f"{self.pixels:.2f} px ({self.share:.2%} of the body height)"


def heights(points: Array, scores: Array) -> Array:
    """How tall each person would stand, judged by one picture: float64 [...], pixels; NaN where no limb is seen.

    ``points`` [..., 134, 2], ``scores`` [..., 134]. Each limb whose ends score more than 0.3 is divided by its share of
    the stature; limbs that point at the camera look short, so the upper quartile is taken.
    """
    return _percentile(_lengths(points, scores) / _SHARES, 75)


def body_height(track: PoseTrack) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How tall each person stands: float64 [P], pixels; NaN for one of whom no limb was ever seen.

    It does not shrink when they crouch, and needs no feet: of each limb the 90th percentile of its lengths over time
    (in some frame it lies across the view), divided by its share of the stature; then the median over the limbs.
    """
    lengths = _lengths(track.points, track.scores)
    return _percentile(_percentile(np.moveaxis(lengths, 0, -1), 90) / _SHARES, 50)


def heights_over_time(track: PoseTrack, around_ms: float = 500.0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How tall each person stands around each frame: float64 [T, P], pixels; it follows who comes nearer.

    The upper quartile of ``heights`` within ``around_ms`` before and after; ``body_height`` where no limb is seen
    there, and NaN for one of whom none was ever seen.
    """
    if len(track) == 0:
        return np.empty(track.points.shape[:2])
    reach = math.floor(around_ms / 1000 * track.fps)
    padded = np.pad(heights(track.points, track.scores), ((reach, reach), (0, 0)), constant_values=np.nan)
    around = _percentile(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0), 75)
    return np.asarray(np.where(np.isnan(around), body_height(track), around))


def jitter(track: PoseTrack, points: slice = BODY, threshold: float = GOOD) -> Jitter:
    """The trembling of these points (body points by default), over all people and all runs of three frames.

    A point counts where it scores more than ``threshold`` in all three. It holds true movement too: what remains after
    smoothing is not all noise.
    """
    seen = np.zeros(track.scores.shape, bool)
    seen[..., points] = track.scores[..., points] > threshold
    seen = seen[2:] & seen[1:-1] & seen[:-2]
    place = np.where(track.scores[..., None] > 0, track.points, 0).astype(np.float64)
    moved = np.linalg.norm(np.diff(place, n=2, axis=0), axis=-1)
    tall = np.broadcast_to(body_height(track)[:, None], (track.points.shape[1], POINTS))
    share = (moved / tall)[seen]
    share = share[np.isfinite(share)]
    return Jitter(float(moved[seen].mean()) if seen.any() else 0.0, float(share.mean()) if share.size else 0.0)


def runs(seen: Array) -> list[tuple[int, int]]:
    """Where a bool [T] is true on end: (first frame, frame after the last) of each run."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _lengths(points: Array, scores: Array) -> Array:
    """Of each limb, [..., 10]; NaN where an end is not seen."""
    seen = scores > GOOD
    place = np.where(seen[..., None], points, 0).astype(np.float64)
    lengths = np.linalg.norm(place[..., _ENDS[0], :] - place[..., _ENDS[1], :], axis=-1)
    return np.where(seen[..., _ENDS[0]] & seen[..., _ENDS[1]], lengths, np.nan)


def _percentile(values: Array, q: float) -> Array:
    """Over the last axis, leaving NaN out; NaN where there is nothing else."""
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    empty = np.asarray(np.isnan(values).all(axis=-1, keepdims=True))
    filled = np.where(empty, 0.0, values)
    return np.asarray(np.where(empty[..., 0], np.nan, np.nanpercentile(filled, q, axis=-1)))
