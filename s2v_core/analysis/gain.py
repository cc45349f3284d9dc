"""When more stops paying: what each further step along an axis gains, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from ..errors import SettingsError
from ..metrics.scorecard import Metric
from .choice import good
from .statistics import Mean, mean_interval
from .table import Factor, Row, ScoreTable, seed_means

Cost = Literal["seconds", "axis"]
# Of the whole gain: what is nearer to the best than this is taken to be as good.
ENOUGH = 0.05


@dataclass(frozen=True)
class Gain:
    """From one value of the axis to the next.

    ``gain``: how much better the metric becomes, with the interval over seeds (more is better, whatever the metric's
    direction). ``cost``: further seconds, or further units of the axis. ``rate``: gain over cost, None without a cost.
    """

    start: float
    end: float
    gain: Mean
    cost: float | None

    @property
    def rate(self) -> float | None:
        """Gain per second, or per unit of the axis."""
        return self.gain.value / self.cost if self.cost else None


@dataclass(frozen=True)
class Gains:
    """``enough``: the first value of the axis from which on no further gain is left that matters; None if there never
    was a gain. ``cost_of``: what costs are counted in. ``left_out``: values of the axis without a score, and why.
    """

    metric: Metric
    axis: Factor
    cost_of: Cost
    steps: tuple[Gain, ...]
    enough: float | None
    left_out: dict[float, str]


def marginal_gain(table: ScoreTable, metric: str, axis: str, cost: Cost = "seconds") -> Gains:
    """What each step along a numeric axis gains in a metric and what it costs.

    Seeds are paired: a gain is taken within each seed and averaged over them. ``enough`` is the lowest value of the
    axis whose mean is within 5% of the whole gain (from the first value to the best) of the best. Raises
    ``SettingsError`` for unknown names, an axis that is no number, and a metric without a better direction.
    """
    along, what = table.axis(axis), table.metric(metric)
    if not along.numeric:
        raise SettingsError(f"The axis {axis} is no number, so nothing is further along it.", got=str(along.values))
    if what.direction == "neutral" and what.ideal is None:
        raise SettingsError(f"Of the metric {metric!r} neither more nor less is better.")
    places: list[tuple[float, dict[int, float], float | None]] = []
    left_out: dict[float, str] = {}
    for value in sorted(float(one) for one in along.values):
        rows = [row for row in table.rows if row.at.get(axis) == value]
        means, reason = seed_means(rows, metric)
        if means:
            places.append((value, {seed: good(what, one) for seed, one in means.items()}, _seconds(rows)))
        else:
            left_out[value] = reason
    steps = []
    for (start, before, early), (end, after, late) in pairwise(places):
        if both := [seed for seed in before if seed in after]:
            spent = end - start if cost == "axis" else None if early is None or late is None else late - early
            steps.append(Gain(start, end, mean_interval([after[seed] - before[seed] for seed in both]), spent))
    return Gains(what, along, cost, tuple(steps), _enough(places), left_out)


def _enough(places: list[tuple[float, dict[int, float], float | None]]) -> float | None:
    if len(places) < 2:
        return None
    means = [(value, mean_interval(list(seeds.values())).value) for value, seeds, _ in places]
    first, best = means[0][1], max(mean for _, mean in means)
    if best <= first:
        return None
    return next(value for value, mean in means if mean >= best - ENOUGH * (best - first))


def _seconds(rows: list[Row]) -> float | None:
    known = [row.seconds for row in rows if row.seconds is not None]
    return sum(known) / len(known) if known and len(known) == len(rows) else None
