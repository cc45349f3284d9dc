"""Claims held against scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from ..metrics.registry import METRICS
from ..metrics.scorecard import Metric
from .choice import good
from .claimsfile import AnyClaim, Margins, Plateau, Rescue, Swap, Trend
from .collect import NO_LORA
from .pairs import Key, keyed, ordered
from .statistics import mean_interval
from .table import Row, Value, say_place
from .trends import judge_plateau, judge_rescue, judge_trend
from .verdict import Part, Verdict, conclude, untested

# The rows at each place of two axes.
_Grid = dict[tuple[Value, Value], list[Row]]
_NAMES = {"pose": "the pose video", "reference": "the reference"}


def judge(claims: Iterable[AnyClaim], rows: Iterable[Row]) -> tuple[Verdict, ...]:
    """A verdict on each claim from these cells, of one sweep or of many; a cell that is there twice counts once.

    The rows' ``at`` must hold all that decides the cells, as that of ``collect.stored_rows`` does.
    """
    known = tuple({row.cell: row for row in rows}.values())
    return tuple(_judge(claim, known) for claim in claims)


def _judge(claim: AnyClaim, rows: Sequence[Row]) -> Verdict:
    chosen = [row for row in rows if all(row.at.get(name) == place for name, place in claim.where.items())]
    if not chosen:
        place = ", ".join(f"{name} {say_place(value)}" for name, value in claim.where.items())
        return untested(claim, f"there is no cell with {place}" if place else "there are no cells")
    if isinstance(claim, Trend):
        return judge_trend(claim, chosen)
    if isinstance(claim, Plateau):
        return judge_plateau(claim, chosen)
    if isinstance(claim, Rescue):
        return judge_rescue(claim, chosen)
    return judge_swap(claim, chosen)


def judge_swap(claim: Swap, rows: Sequence[Row]) -> Verdict:
    """Two pose videos by two references: each metric follows its own, and not the other one."""
    parts, squares = [], []
    for follows, other, margins in (("pose", "reference", claim.pose), ("reference", "pose", claim.identity)):
        found = next((one for name in margins if (one := _Squares(rows, METRICS[name], follows, other)).seeds), None)
        if found is None:
            return untested(
                claim,
                "there are no two pose videos by two references whose cells were held against both of each "
                f"({', '.join(margins)})",
            )
        squares.append(found)
        parts.append(found.part(margins))
    return conclude(
        claim,
        parts,
        seeds=min(len(one.seeds) for one in squares),
        series=min(len(effects) for one in squares for effects in one.seeds.values()),
        cells=len(set().union(*(one.cells for one in squares))),
        method="each cell held against both pose videos and both references; main effects in each seed",
    )


class _Squares:
    """Every two by two of pose videos and references, with both main effects on the lead of one place over the other.

    ``seeds``: seed -> (effect of what is ``follows``, effect of the ``other``) of each. A cell's lead is how much
    better it scores when it is held against the first place than against the second; an effect is by how much the lead
    changes when that place is taken, over 2: what a metric gains by being asked of the right one.
    """

    def __init__(self, rows: Sequence[Row], metric: Metric, follows: str, other: str) -> None:
        self.metric, self.follows, self.other = metric, follows, other
        self.seeds: dict[int, list[tuple[float, float]]] = {}
        self.cells: set[str] = set()
        grids: dict[tuple[Key, int], _Grid] = {}
        # Cells of other sweeps may stand in the same place: with another prompt, and held against nothing.
        held = [row for row in rows if row.against.get(metric.name)]
        for key, row in keyed(held, (follows, other), Swap.loose):
            if NO_LORA not in (row.at[follows], row.at[other]):
                grids.setdefault((key, row.seed), {}).setdefault((row.at[follows], row.at[other]), []).append(row)
        for (_, seed), grid in sorted(grids.items(), key=str):
            for ones, twos in _twos(grid):
                self._add(seed, grid, ones, twos)

    def part(self, margins: Margins) -> Part:
        """By how much the metric follows its own more than the other, whichever way."""
        own, stray, lead = (
            mean_interval([sum(map(take, pairs)) / len(pairs) for _, pairs in sorted(self.seeds.items())])
            for take in (lambda one: one[0], lambda one: one[1], lambda one: one[0] - abs(one[1]))
        )
        what, against = _NAMES[self.follows], _NAMES[self.other]
        return Part(
            f"{self.metric.title}: how much it follows {what} more than {against}",
            *(self.metric, lead, 1, margins[self.metric.name]),
            {f"follows {what}": own.value, f"follows {against}": stray.value},
        )

    def _add(
        self,
        seed: int,
        grid: _Grid,
        ones: tuple[Value, Value],
        twos: tuple[Value, Value],
    ) -> None:
        square = [
            {row.cell: lead for row in grid[one, two] if (lead := self._lead(row, *ones)) is not None}
            for one in ones
            for two in twos
        ]
        if all(square):
            # The mean where several prompts were rendered in one place.
            a, b, c, d = (sum(leads.values()) / len(leads) for leads in square)
            self.seeds.setdefault(seed, []).append(((a + b - c - d) / 4, (a + c - b - d) / 4))
            self.cells |= {cell for leads in square for cell in leads}

    def _lead(self, row: Row, one: Value, other: Value) -> float | None:
        held = row.against.get(self.metric.name, {})
        first, second = held.get(str(one)), held.get(str(other))
        return None if first is None or second is None else good(self.metric, first) - good(self.metric, second)


def _twos(
    grid: _Grid,
) -> Iterator[tuple[tuple[Value, Value], tuple[Value, Value]]]:
    """Every two by two that is whole."""
    first, second = (ordered({place[side] for place in grid}) for side in (0, 1))
    for ones in combinations(first, 2):
        for twos in combinations(second, 2):
            if all((one, two) in grid for one in ones for two in twos):
                yield ones, twos
