"""What the page says about the scores: verdicts on claims, curves, the trade-off, and the recommended cell.

These are plain values, so that the page depends on nothing that computes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import SettingsError

Verdict = Literal["supported", "not supported", "undecided", "not tested"]
VERDICTS: tuple[Verdict, ...] = ("supported", "not supported", "undecided", "not tested")


@dataclass(frozen=True)
class Number:
    """One number of a verdict. ``low``, ``high``: its interval where there is one. ``against``: where no effect is;
    ``matters``: the smallest effect that matters. ``more``: what else is known of it, in words.

    Raises ``SettingsError`` for a number that is not finite.
    """

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    against: float | None = None
    matters: float | None = None
    more: str = ""

    def __post_init__(self) -> None:
        numbers = (self.value, self.low, self.high, self.against, self.matters)
        if any(number is not None and not math.isfinite(number) for number in numbers):
            raise SettingsError(f"The number {self.label!r} of a claim is not finite.", got=str(numbers))


@dataclass(frozen=True)
class Claim:
    """A statement about the sweep and what became of it.

    ``reason``: why it is undecided or was not tested. ``basis``: what the verdict rests on, such as how many seeds.
    ``method``: how it was reached.
    """

    title: str
    verdict: Verdict
    says: str = ""
    numbers: tuple[Number, ...] = ()
    reason: str = ""
    basis: str = ""
    method: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise SettingsError(
                f"The claim {self.title!r} has no known verdict.",
                expected=f"one of {', '.join(VERDICTS)}",
                got=repr(self.verdict),
            )


@dataclass(frozen=True)
class Point:
    """Of a curve, at a place of its axis (``at``, from 0). ``count``: of the cells behind the value."""

    at: int
    value: float
    low: float | None = None
    high: float | None = None
    count: int = 1


@dataclass(frozen=True)
class Line:
    """A curve's line: the points at one value (``series``, from 0) of the curve's second axis, None without one."""

    series: int | None
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Curve:
    """A metric along an axis, a line for each value of another one. Axes are numbers in the sweep, from 0.

    ``band``: what the interval is, in a few words, such as "95% interval over 5 seeds (bootstrap)".
    """

    metric: str
    axis: int
    lines: tuple[Line, ...]
    by: int | None = None
    band: str = ""


@dataclass(frozen=True)
class Findings:
    """What an analysis found. Cells are named by id.

    ``recommended``: the cells to take, which differ in their seed alone; the page shows the first. ``why``: in one or
    two sentences. ``front``: the cells whose settings no others beat in all of ``front_metrics``. ``notes``: what the
    reader must know, such as metrics that were left out.
    """

    claims: tuple[Claim, ...] = ()
    recommended: tuple[str, ...] = ()
    why: str = ""
    front: tuple[str, ...] = ()
    front_metrics: tuple[str, ...] = ()
    curves: tuple[Curve, ...] = ()
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Whisker:
    """Where a number and its interval stand on a claim's small plot, in percent of its width."""

    number: Number
    at: float | None
    low: float | None
    high: float | None
    against: float | None
    matters: float | None


def whiskers(numbers: Sequence[Number]) -> tuple[Whisker, ...]:
    """The plots of a claim's numbers, on one scale where they have one unit. Room is left at both ends."""
    found = []
    for number in numbers:
        alike = [other for other in numbers if other.unit == number.unit]
        known = [value for one in alike for value in _values(one) if value is not None] or [0.0]
        least, most = min(known), max(known)
        room = (most - least) * 0.08 or abs(most) or 1.0
        found.append(Whisker(number, *(_place(value, least - room, most + room) for value in _values(number))))
    return tuple(found)


def _values(number: Number) -> tuple[float | None, ...]:
    return number.value, number.low, number.high, number.against, number.matters


def _place(value: float | None, least: float, most: float) -> float | None:
    return None if value is None else round(100 * (value - least) / (most - least), 2)


def findings_json(findings: Findings, numbers: Mapping[str, int]) -> dict[str, Any]:
    """The part that the page's script reads. ``numbers``: cell id -> its number on the page.

    Cells that the page does not show are left out.
    """
    return {
        "recommended": [numbers[id] for id in findings.recommended if id in numbers],
        "front": sorted(numbers[id] for id in findings.front if id in numbers),
        "frontMetrics": list(findings.front_metrics),
        "curves": [
            {
                "metric": curve.metric,
                "axis": curve.axis,
                "by": curve.by,
                "band": curve.band,
                "lines": [
                    {
                        "series": line.series,
                        "points": [
                            {
                                "at": point.at,
                                "value": point.value,
                                "low": point.low,
                                "high": point.high,
                                "count": point.count,
                            }
                            for point in line.points
                        ],
                    }
                    for line in curve.lines
                ],
            }
            for curve in findings.curves
        ],
    }
