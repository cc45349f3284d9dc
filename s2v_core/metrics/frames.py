"""Values of frames, summed up: their mean, and the interval in which it lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .scorecard import Score

Array = np.ndarray[Any, Any]

_DRAWS = 200
_SEED = 0
_BLOCKS = 6  # the fewest blocks that an interval is drawn from


def mean_score(values: Array, how: str, scale: float = 1.0) -> Score:
    """The mean of ``values`` [T] that are finite, with its 95% interval; at least one must be."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)] * scale
    low, high = interval(len(known), lambda chosen: float(known[chosen].mean()))
    return Score(float(known.mean()), low, high, how)


def interval(count: int, value: Callable[[Array], float]) -> tuple[float | None, float | None]:
    """The 95% interval of ``value(indices)`` of frames, by a moving block bootstrap (Künsch 1989).

    Neighbouring frames resemble each other, so runs of frames are drawn, a sixth of the clip each at most. (None, None)
    for fewer than six frames. The same numbers always give the same interval.
    """
    if count < _BLOCKS:
        return None, None
    length = max(1, min(round(count**0.5), count // _BLOCKS))
    blocks = -(-count // length)
    starts = np.random.default_rng(_SEED).integers(0, count - length + 1, (_DRAWS, blocks))
    chosen = (starts[..., None] + np.arange(length)).reshape(_DRAWS, -1)[:, :count]
    found = np.array([value(one) for one in chosen])
    found = found[np.isfinite(found)]
    if not len(found):
        return None, None
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)
