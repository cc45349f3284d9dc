"""Scores of cells as a grid shows them: as text, with the best of each metric."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from ..errors import SettingsError

# Cell id -> metric -> value; a value may also be a mapping with "value" in it. None is a value that is not known.
Scores = Mapping[str, Mapping[str, Any]]


def score_of(scores: Scores, id: str, metric: str) -> float | None:
    """One value as a number, or None where there is none or it is not finite."""
    value = (scores.get(id) or {}).get(metric)
    if isinstance(value, Mapping):
        value = value.get("value")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def metrics_of(scores: Scores, ids: Collection[str]) -> tuple[str, ...]:
    """The metrics that any of these cells has a number for, in the order in which they first come."""
    found: dict[str, None] = {}
    for id in ids:
        for metric in scores.get(id) or {}:
            if score_of(scores, id, metric) is not None:
                found.setdefault(metric)
    return tuple(found)


def lower_is_better(scores: Scores, ids: Collection[str], metric: str) -> bool:
    """Whether the scores themselves say so: their "direction" is "lower"."""
    values = ((scores.get(id) or {}).get(metric) for id in ids)
    return any(isinstance(value, Mapping) and value.get("direction") == "lower" for value in values)


def say_score(value: float | None, largest: float | None = None) -> str:
    """A score as text: three significant digits of ``largest`` (or of itself), so that a metric's values line up.

    0.913 and 0.028, 12.3 and 0.4, 1480; a dash where there is none.
    """
    if value is None:
        return "–"
    scale = max(abs(value), abs(largest or 0.0))
    if scale == 0 or scale >= 1e6 or scale < 1e-4:
        return f"{value:.3g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(scale)))}f}"


def best_cells(scores: Scores, ids: Collection[str], metric: str, lower: bool = False) -> tuple[str, ...]:
    """The ids with the best value of a metric (all that share it); the highest is best unless ``lower``.

    Raises ``SettingsError`` when no cell has this metric.
    """
    known = {id: value for id in dict.fromkeys(ids) if (value := score_of(scores, id, metric)) is not None}
    if not known:
        there = ", ".join(metrics_of(scores, ids))
        raise SettingsError(
            f"No cell has a score called {metric!r}.",
            expected=f"one of {there}" if there else "cells with scores",
            got=metric,
            remedy="Score the cells first, or check the spelling.",
        )
    best = (min if lower else max)(known.values())
    return tuple(id for id, value in known.items() if value == best)
