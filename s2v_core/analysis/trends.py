"""Claims along an axis: that it makes something better or worse, that it stops paying, that it mends what another
one harms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..metrics.registry import METRICS
from ..metrics.scorecard import Metric
from .choice import good
from .claimsfile import Expected, Margins, Plateau, Rescue, Trend
from .pairs import Paired, pair
from .statistics import mean_interval, shuffle_chance, slope, spearman
from .table import Row, Value, say_factor, say_place
from .verdict import Part, Verdict, conclude, untested

_SLOPE = "within each seed the least squares slope times the range of the axis"


def judge_trend(claim: Trend, rows: Sequence[Row]) -> Verdict:
    """Along the axis the metric gets better or worse, rises or falls."""
    metric, margin, found = _first(rows, claim.axis, claim.metrics, claim.between)
    if not found.series:
        return untested(claim, _why(found, claim.axis, claim.metrics))
    part = _along(claim.axis, metric, margin, found, claim.expect, claim.between)
    method = "within each seed the difference of the two" if claim.between else _SLOPE
    return _verdict(claim, [part], [found], method)


def judge_plateau(claim: Plateau, rows: Sequence[Row]) -> Verdict:
    """Beyond a place of the axis the metric gets better by less for each unit than before it."""
    metric, margin, found = _first(rows, claim.axis, claim.metrics)
    if not found.series:
        return untested(claim, _why(found, claim.axis, claim.metrics))
    places = _numbers(found.places)
    middle = places[len(places) // 2] if claim.beyond is None else claim.beyond
    if middle not in places[1:-1]:
        at, there = f"{say_factor(claim.axis)} {say_place(middle)}", ", ".join(map(say_place, places))
        return untested(claim, f"cells at {at}, below it and above it are needed; there are {there}")
    first, last = places[0], places[-1]

    def gain(values: Mapping[Value, float], start: float, end: float) -> float:
        return good(metric, values[end]) - good(metric, values[start])

    def slowing(values: Mapping[Value, float]) -> float:
        return gain(values, first, middle) / (middle - first) - gain(values, middle, last) / (last - middle)

    before = mean_interval(found.per_seed(lambda values: gain(values, first, middle)))
    after = mean_interval(found.per_seed(lambda values: gain(values, middle, last)))
    axis, early, late = say_factor(claim.axis), f"{first:g} to {middle:g}", f"{middle:g} to {last:g}"
    rates = {f"gain per unit, {early}": before.value / (middle - first)}
    rates[f"gain per unit, {late}"] = after.value / (last - middle)
    parts = [
        Part(f"{metric.title}: gain from {axis} {early}", metric, before, 1, margin),
        Part(
            f"{metric.title}: gain per unit of {axis}, {early} less {late}",
            *(metric, mean_interval(found.per_seed(slowing)), 1, 0.0, rates),
        ),
    ]
    return _verdict(claim, parts, [found], "within each seed the gains for each unit of the axis, before and after")


def judge_rescue(claim: Rescue, rows: Sequence[Row]) -> Verdict:
    """What the metric loses by the harm, the axis brings back, and keeps what it must keep."""
    metric, margin, harm = _first(rows, claim.harm, claim.metrics)
    if not harm.series:
        return untested(claim, _why(harm, claim.harm, claim.metrics))
    least, most = harm.places[0], harm.places[-1]
    there = [row for row in rows if row.at.get(claim.harm) == most]
    at = f"at {say_factor(claim.harm)} {say_place(most)}"
    back = pair(there, claim.axis, metric.name)
    if not back.series:
        return untested(claim, f"{at}: {_why(back, claim.axis, claim.metrics)}")
    lost = mean_interval(harm.per_seed(lambda values: values[most] - values[least]))
    harmed = Part(
        f"{metric.title} from {say_factor(claim.harm)} {say_place(least)} to {say_place(most)}",
        *(metric, lost, _sign(metric, "worse"), margin),
    )
    mended = _along(claim.axis, metric, margin, back, "better")
    shares = {"share brought back": -mended.effect.value / lost.value} if lost.value else {}
    parts = [harmed, replace(mended, says=f"{mended.says}, {at}", numbers={**mended.numbers, **shares})]
    pairs = [harm, back]
    if claim.keeps:
        kept, loss, still = _first(there, claim.axis, claim.keeps)
        if still.series:
            same = _along(claim.axis, kept, -loss, still, "better")
            parts.append(replace(same, says=f"{same.says}, {at}: not worse"))
            pairs.append(still)
    return _verdict(claim, parts, pairs, _SLOPE)


def _first(
    rows: Sequence[Row], axis: str, margins: Margins, between: tuple[Value, Value] | None = None
) -> tuple[Metric, float, Paired]:
    """The first metric that there are whole series of; the first of all when there is none."""
    found = {name: pair(rows, axis, name, only=between) for name in margins}
    name = next((name for name, one in found.items() if one.series), next(iter(margins)))
    return METRICS[name], margins[name], found[name]


def _along(
    axis: str,
    metric: Metric,
    margin: float,
    found: Paired,
    expect: Expected,
    between: tuple[Value, Value] | None = None,
) -> Part:
    """The change of a metric along an axis."""
    places = between or found.places
    at = [0.0, 1.0] if between else _numbers(places)
    width = max(at) - min(at)
    effect = mean_interval(found.per_seed(lambda values: slope(at, [values[place] for place in places]) * width))
    sign = _sign(metric, expect)
    numbers: dict[str, float] = {}
    if len(places) > 2:
        lines = [(at, [one.seeds[seed][place] for place in places]) for one in found.series for seed in found.seeds]
        numbers = {
            "Spearman": sum(spearman(*line) for line in lines) / len(lines),
            "chance of such a trend by shuffling": shuffle_chance(lines, sign),
        }
    says = f"{metric.title} from {say_factor(axis)} {say_place(places[0])} to {say_place(places[-1])}"
    return Part(says, metric, effect, sign, margin, numbers)


def _sign(metric: Metric, expect: Expected) -> int:
    if expect in ("rises", "falls"):
        return 1 if expect == "rises" else -1
    better = -1 if metric.lower_is_better else 1
    return better if expect == "better" else -better


def _numbers(places: Sequence[Value]) -> list[float]:
    return [float(place) for place in places]


def _why(found: Paired, axis: str, margins: Margins) -> str:
    """Why there is nothing to compare."""
    if found.reason:
        return f"{', '.join(margins)}: {found.reason}"
    return f"no cells that differ in {say_factor(axis)} alone"


def _verdict(claim: Trend | Plateau | Rescue, parts: Sequence[Part], pairs: Sequence[Paired], method: str) -> Verdict:
    return conclude(
        claim,
        parts,
        seeds=min(len(one.seeds) for one in pairs),
        series=min(len(one.series) for one in pairs),
        cells=len(set().union(*(one.cells for one in pairs))),
        method=method,
    )
