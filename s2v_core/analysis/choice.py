"""Which settings to take: those that no other beats in everything, and one that is best by given weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import SettingsError
from ..metrics.scorecard import Metric
from .statistics import Mean, mean_interval
from .table import Row, ScoreTable, Value, groups, seed_means


@dataclass(frozen=True)
class Point:
    """One combination of the axes' values, over its seeds.

    ``at``, ``labels``: its place on every axis. ``cells``: one a seed. ``scores``: metric -> mean over the seeds, None
    where it is missing; ``reasons``: why.
    """

    at: Mapping[str, Value]
    labels: tuple[str, ...]
    cells: tuple[str, ...]
    scores: Mapping[str, float | None]
    reasons: Mapping[str, str]


@dataclass(frozen=True)
class Front:
    """The Pareto front. ``points``: those that no other beats; ``beaten``: the others.

    ``left_out``: points without one of the scores, whose place cannot be known.
    """

    metrics: tuple[Metric, ...]
    points: tuple[Point, ...]
    beaten: tuple[Point, ...]
    left_out: tuple[Point, ...]


@dataclass(frozen=True)
class Recommendation:
    """The best point by weights, and how sure that is.

    ``weights``: metric -> its share; they add up to 1. ``total``: of the best, from 0 (worst in every metric of all
    points) to 1 (best in every one). ``ranked``: every point with its total, the best first. ``ahead``: by how much the
    best is ahead of the next, with the interval over the seeds that both have; None when there is no next. ``close``:
    that interval holds 0, or cannot be told from one seed: the next may be as good. ``left_out``: points without one of
    the scores.
    """

    best: Point
    total: float
    weights: Mapping[str, float]
    ranked: tuple[tuple[Point, float], ...]
    ahead: Mean | None
    close: bool
    left_out: tuple[Point, ...]


def points(table: ScoreTable, metrics: Sequence[str]) -> tuple[Point, ...]:
    """Every combination of the axes' values that has a cell, with the means of these metrics over its seeds."""
    names = [axis.name for axis in table.axes]
    found = []
    for place, rows in groups(table.rows, names).items():
        scores: dict[str, float | None] = {}
        reasons = {}
        for metric in metrics:
            means, reason = seed_means(rows, metric)
            scores[metric] = mean_interval(list(means.values())).value if means else None
            if reason:
                reasons[metric] = reason
        labels = tuple(axis.label(value) for axis, value in zip(table.axes, place, strict=True) if value is not None)
        at = {name: value for name, value in zip(names, place, strict=True) if value is not None}
        found.append(Point(at, labels, tuple(dict.fromkeys(row.cell for row in rows)), scores, reasons))
    return tuple(found)


def pareto(table: ScoreTable, metrics: Sequence[str]) -> Front:
    """The points that no other point beats: as good in all of these metrics and better in one.

    Metrics with no better direction but an ideal count by their distance to it. Raises ``SettingsError`` for unknown
    metrics, fewer than two, and one of which nothing is better.
    """
    chosen = _directed(table, metrics)
    if len(chosen) < 2:
        raise SettingsError("A Pareto front needs two metrics or more.", got=", ".join(metrics) or "none")
    whole, left_out = _whole(points(table, [metric.name for metric in chosen]))
    goods = {id(point): [good(metric, point.scores[metric.name]) for metric in chosen] for point in whole}

    def beats(one: Point, other: Point) -> bool:
        pairs = list(zip(goods[id(one)], goods[id(other)], strict=True))
        return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

    front = [point for point in whole if not any(beats(other, point) for other in whole)]
    beaten = [point for point in whole if point not in front]
    return Front(chosen, tuple(front), tuple(beaten), left_out)


def recommend(table: ScoreTable, weights: Mapping[str, float]) -> Recommendation:
    """The point with the best weighted mean of its metrics, each brought to 0 (worst of all points) to 1 (best).

    A metric that is the same everywhere decides nothing and counts 1 for all. Raises ``SettingsError`` for weights that
    are not positive, unknown metrics, and when no point has all scores.
    """
    if not weights or any(not weight > 0 for weight in weights.values()):
        raise SettingsError(
            "The weights of a recommendation must be positive.",
            expected="a metric or more, each with a weight above 0",
            got=", ".join(f"{metric}={weight:g}" for metric, weight in weights.items()) or "none",
        )
    chosen = _directed(table, tuple(weights))
    shares = {metric.name: weights[metric.name] / sum(weights.values()) for metric in chosen}
    whole, left_out = _whole(points(table, tuple(shares)))
    if not whole:
        why = next((f"{metric}: {reason}" for point in left_out for metric, reason in point.reasons.items()), "no cell")
        raise SettingsError(
            "No point has all the scores that it is to be chosen by.",
            expected=", ".join(shares),
            got=why,
            remedy="Score the cells, or choose by other metrics.",
        )
    scales = {}
    for metric in chosen:
        goods = [good(metric, point.scores[metric.name]) for point in whole]
        scales[metric.name] = (min(goods), max(goods))

    def total(scores: Mapping[str, float | None]) -> float:
        found = 0.0
        for metric in chosen:
            least, most = scales[metric.name]
            found += shares[metric.name] * ((good(metric, scores[metric.name]) - least) / (most - least or 1.0))
            found += shares[metric.name] * (most == least)
        return found

    ranked = sorted(((point, total(point.scores)) for point in whole), key=lambda entry: -entry[1])
    ahead = _ahead(table, ranked[0][0], ranked[1][0], chosen, total) if len(ranked) > 1 else None
    close = ahead is not None and (ahead.low is None or ahead.low <= 0)
    return Recommendation(ranked[0][0], ranked[0][1], shares, tuple(ranked), ahead, close, left_out)


def good(metric: Metric, value: float | None) -> float:
    """A value so that more is better. Only for values that are there."""
    assert value is not None
    if metric.direction == "neutral":
        return -abs(value - (metric.ideal or 0.0))
    return -value if metric.lower_is_better else value


def _ahead(
    table: ScoreTable,
    best: Point,
    other: Point,
    metrics: Sequence[Metric],
    total: Callable[[Mapping[str, float | None]], float],
) -> Mean:
    """The difference of two points' totals, seed by seed where both have all scores."""
    names = [metric.name for metric in metrics]
    one, two = (_by_seed(table, point, names) for point in (best, other))
    both = [seed for seed in one if seed in two]
    if not both:
        return Mean(total(best.scores) - total(other.scores), None, None, 0)
    return mean_interval([total(one[seed]) - total(two[seed]) for seed in both])


def _by_seed(table: ScoreTable, point: Point, metrics: Sequence[str]) -> dict[int, dict[str, float | None]]:
    rows: list[Row] = [row for row in table.rows if all(row.at.get(name) == value for name, value in point.at.items())]
    each = {metric: seed_means(rows, metric)[0] for metric in metrics}
    seeds = set.intersection(*(set(means) for means in each.values()))
    return {seed: {metric: each[metric][seed] for metric in metrics} for seed in sorted(seeds)}


def _directed(table: ScoreTable, names: Sequence[str]) -> tuple[Metric, ...]:
    chosen = tuple(table.metric(name) for name in dict.fromkeys(names))
    if aimless := [metric for metric in chosen if metric.direction == "neutral" and metric.ideal is None]:
        raise SettingsError(
            f"Of the metric {aimless[0].name!r} neither more nor less is better.",
            expected="metrics with a better direction or an ideal",
            remedy="Leave it out.",
        )
    return chosen


def _whole(found: Sequence[Point]) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
    whole = tuple(point for point in found if all(value is not None for value in point.scores.values()))
    return whole, tuple(point for point in found if point not in whole)
