"""A table of scores: one row a cell, with its place on every axis, its seed and its scores.

A missing score is None and says why. It is never taken for a number: what needs it is missing too, or is made of the
rows that have it and says of how many.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..errors import SettingsError
from ..metrics.scorecard import Metric

Value = float | str | bool
NOT_SCORED = "not scored"


@dataclass(frozen=True)
class Factor:
    """An axis of a table. ``name``: its key in ``Row.at``. ``values``: in their order; ``labels``: one text a value."""

    name: str
    title: str
    values: tuple[Value, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def numeric(self) -> bool:
        """Whether all values are numbers, so that curves and slopes over them mean something."""
        return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in self.values)

    def label(self, value: Value) -> str:
        """The label of a value."""
        return self.labels[self.values.index(value)]


@dataclass(frozen=True)
class Row:
    """One cell. ``at``: its value on every axis, and every setting that decides it. ``seed``: of its noise.

    ``scores``: metric -> value, None where there is none; ``reasons``: metric -> why there is none, "" for
    all of them. ``against``:
    metric -> the value of another axis' place (a key of ``at["pose"]`` or ``at["reference"]``) -> what the cell scores
    when it is held against that one's pose video or reference. ``seconds``: that the rendering took alone, if known.
    """

    cell: str
    at: Mapping[str, Value]
    seed: int = 0
    scores: Mapping[str, float | None] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    against: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    seconds: float | None = None

    def score(self, metric: str) -> float | None:
        """The value of a metric, or None where there is none."""
        return self.scores.get(metric)

    def reason(self, metric: str) -> str:
        """Why the value is missing."""
        return self.reasons.get(metric) or self.reasons.get("") or NOT_SCORED


@dataclass(frozen=True)
class ScoreTable:
    """Rows and what they vary over. ``axes``: without the seed, which is repetition and no axis.

    ``metrics``: of which any row has a score or a reason.
    """

    axes: tuple[Factor, ...]
    rows: tuple[Row, ...]
    metrics: tuple[Metric, ...]
    name: str = ""

    def axis(self, name: str) -> Factor:
        """An axis by its name. Raises ``SettingsError`` that names the nearest."""
        return _named("axis", name, {axis.name: axis for axis in self.axes})

    def metric(self, name: str) -> Metric:
        """A metric by its name. Raises ``SettingsError`` that names the nearest."""
        return _named("metric", name, {metric.name: metric for metric in self.metrics})

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """All seeds, sorted."""
        return tuple(sorted({row.seed for row in self.rows}))

    def where(self, at: Mapping[str, Value] | Callable[[Row], bool]) -> ScoreTable:
        """The rows at these values (``{"guidance": 3.0}``), or those that a function accepts."""
        keep = at if callable(at) else lambda row: all(row.at.get(name) == value for name, value in at.items())
        return replace(self, rows=tuple(row for row in self.rows if keep(row)))


def groups(rows: Iterable[Row], by: Collection[str]) -> dict[tuple[Value | None, ...], list[Row]]:
    """Rows by their values of these names, in the order of their first coming."""
    found: dict[tuple[Value | None, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row.at.get(name) for name in by), []).append(row)
    return found


def seed_means(rows: Iterable[Row], metric: str) -> tuple[dict[int, float], str]:
    """One number a seed, the mean of its rows; and, when there is none, why.

    A seed of which any row has no score is left out: a mean over fewer rows would not be of the same thing.
    """
    seeds: dict[int, list[float | None]] = {}
    reason = ""
    for row in rows:
        value = row.score(metric)
        seeds.setdefault(row.seed, []).append(value)
        if value is None:
            reason = reason or row.reason(metric)
    whole = {seed: known for seed, values in seeds.items() if len(known := _known(values)) == len(values)}
    means = {seed: sum(values) / len(values) for seed, values in sorted(whole.items())}
    return means, "" if means else reason or "no cell"


def say_place(place: Value) -> str:
    """A place of an axis as text: 1.5, detailed."""
    return f"{place:g}" if isinstance(place, (int, float)) and not isinstance(place, bool) else str(place)


def say_factor(name: str) -> str:
    """What cells differ by as people call it: LoRA strength, guidance."""
    return name.replace("_", " ").replace("lora", "LoRA")


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _named(what: str, name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        near = difflib.get_close_matches(str(name), known, 1)
        raise SettingsError(
            f"The table has no {what} called {name!r}.",
            expected=f"one of {', '.join(known)}" if known else f"a table with a {what}",
            got=repr(name),
            remedy=f"Did you mean {near[0]}?" if near else "",
        )
    return known[name]
