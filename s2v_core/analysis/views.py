"""What a report draws: heat maps of a metric over two axes, and curves along one with a band over the seeds."""

from __future__ import annotations

from dataclasses import dataclass

from ..metrics.scorecard import Metric
from .statistics import Mean, mean_interval
from .table import Factor, Row, ScoreTable, seed_means


@dataclass(frozen=True)
class Spot:
    """The mean of a metric over the seeds at one place, or None with the ``reason``.

    ``cells``: the ids of the cells there, those without a score too. ``missing``: how many of them have no score.
    """

    mean: Mean | None
    reason: str
    cells: tuple[str, ...]
    missing: int

    @property
    def value(self) -> float | None:
        """The mean alone."""
        return self.mean.value if self.mean else None


@dataclass(frozen=True)
class HeatMap:
    """``spots[row][column]``; ``low`` and ``high``: the lowest and highest value, None when there is none."""

    metric: Metric
    rows: Factor
    columns: Factor
    spots: tuple[tuple[Spot, ...], ...]

    @property
    def values(self) -> list[list[float | None]]:
        """The means alone, row by row."""
        return [[spot.value for spot in row] for row in self.spots]

    @property
    def low(self) -> float | None:
        """The lowest value."""
        return min(self._known(), default=None)

    @property
    def high(self) -> float | None:
        """The highest value."""
        return max(self._known(), default=None)

    def _known(self) -> list[float]:
        return [value for row in self.values for value in row if value is not None]


@dataclass(frozen=True)
class Curve:
    """A metric along an axis: one spot a value of the axis. ``at``: where other axes stand, () for the mean of all."""

    metric: Metric
    axis: Factor
    spots: tuple[Spot, ...]
    at: tuple[tuple[str, str], ...] = ()

    @property
    def values(self) -> list[float | None]:
        """The means alone."""
        return [spot.value for spot in self.spots]


def spot(rows: list[Row], metric: str) -> Spot:
    """The mean over the seeds of these rows; over other axes each seed is averaged first."""
    means, reason = seed_means(rows, metric)
    missing = sum(row.score(metric) is None for row in rows)
    mean = mean_interval(list(means.values())) if means else None
    return Spot(mean, reason, tuple(dict.fromkeys(row.cell for row in rows)), missing)


def heat_map(table: ScoreTable, metric: str, rows: str, columns: str) -> HeatMap:
    """A metric over two axes, the mean over seeds and over all other axes.

    Take ``table.where(...)`` to look at one place of the others. Raises ``SettingsError`` for unknown names.
    """
    down, across = table.axis(rows), table.axis(columns)
    return HeatMap(
        table.metric(metric),
        down,
        across,
        tuple(
            tuple(
                spot([row for row in table.rows if (row.at.get(rows), row.at.get(columns)) == (first, second)], metric)
                for second in across.values
            )
            for first in down.values
        ),
    )


def curve(table: ScoreTable, metric: str, axis: str) -> Curve:
    """A metric along an axis, with the band over seeds; the mean over all other axes.

    Raises ``SettingsError`` for unknown names.
    """
    along = table.axis(axis)
    spots = tuple(spot([row for row in table.rows if row.at.get(axis) == value], metric) for value in along.values)
    return Curve(table.metric(metric), along, spots)


def curves(table: ScoreTable, metric: str, axis: str, by: str) -> tuple[Curve, ...]:
    """``curve`` for each value of another axis ``by``."""
    other = table.axis(by)
    found = []
    for value, label in zip(other.values, other.labels, strict=True):
        one = curve(table.where({by: value}), metric, axis)
        found.append(Curve(one.metric, one.axis, one.spots, ((by, label),)))
    return tuple(found)
