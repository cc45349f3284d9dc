"""From the scores of a sweep to what the page says of them, by way of ``s2v_core.analysis``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import SettingsError
from ..sweeps.scores import say_score
from . import findings as page

if TYPE_CHECKING:
    from ..analysis.choice import Front, Recommendation
    from ..analysis.claimsfile import AnyClaim
    from ..analysis.table import ScoreTable
    from ..analysis.verdict import Part, Verdict
    from ..analysis.views import Spot
    from ..sweeps.run import SweepResult

# What a recommendation weighs when nobody chose: of each line the first metric that the cells have scores of.
CHOSEN_BY = (
    ("toy_identity", "identity_face", "identity_clothes"),
    ("toy_pose", "pose_pck", "pose_oks"),
    ("toy_leakage", "leakage"),
)


def analyse(
    result: SweepResult,
    *,
    claims: Iterable[AnyClaim] | None = None,
    weights: Mapping[str, float] | None = None,
) -> page.Findings:
    """Verdicts, curves, Pareto front and recommendation out of the scores that the store holds of a sweep.

    ``claims``: the project's own for None. ``weights``: metric -> its weight in the recommendation; for None the first
    known metric of each line of ``CHOSEN_BY`` counts alike. Without scores there are no findings, and without a
    recommendation a note says why. Raises ``SettingsError`` for unknown metrics and weights that are not positive.
    """
    from ..analysis.claimsfile import load_claims
    from ..analysis.collect import stored_rows, table_of
    from ..analysis.judge import judge

    table = table_of(result)
    if not any(value is not None for row in table.rows for value in row.scores.values()):
        return page.Findings()
    ids = list(dict.fromkeys(cell.id for cell in result.cells if result.store.has(cell.id)))
    verdicts = judge(load_claims() if claims is None else claims, stored_rows(result.store, ids))
    chosen = dict(weights) if weights is not None else dict.fromkeys(_known(table), 1.0)
    front, best, notes = _choose(table, chosen)
    return page.Findings(
        claims=tuple(map(claim_of, verdicts)),
        recommended=best.best.cells if best else (),
        why=_why(best, table) if best else "",
        front=tuple(id for point in front.points for id in point.cells) if front else (),
        front_metrics=tuple(metric.name for metric in front.metrics) if front else tuple(chosen),
        curves=curves_of(result, table),
        notes=notes,
    )


def claim_of(verdict: Verdict) -> page.Claim:
    """A verdict as the page says it."""
    counts = [(verdict.seeds, "seed"), (verdict.series, "comparison"), (verdict.cells, "cell")]
    basis = ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for count, what in counts if count)
    if verdict.toy:
        basis += "; by the toy world's truth"
    return page.Claim(
        verdict.claim.says,
        verdict.word,
        numbers=tuple(map(_number, verdict.parts)),
        reason=verdict.reason.rstrip("."),
        basis=basis,
        method=verdict.method,
    )


def curves_of(result: SweepResult, table: ScoreTable) -> tuple[page.Curve, ...]:
    """Every metric along every axis, alone and for each value of every other axis, with bands over the seeds.

    Only where there are several seeds: for one seed the page knows as much itself.
    """
    from ..analysis.views import curve, curves

    if len(table.seeds) < 2:
        return ()
    places = {axis.name: number for number, axis in enumerate(result.sweep.axes)}
    band = f"95% interval over {len(table.seeds)} seeds"
    found = []
    for metric in table.metrics:
        for along in table.axes:
            for other in (None, *(axis for axis in table.axes if axis is not along)):
                made = [curve(table, metric.name, along.name)]
                if other is not None:
                    made = list(curves(table, metric.name, along.name, other.name))
                lines = tuple(
                    page.Line(None if other is None else number, points)
                    for number, one in enumerate(made)
                    if (points := _points(one.spots))
                )
                by = None if other is None else places[other.name]
                found.append(page.Curve(metric.name, places[along.name], lines, by, band))
    return tuple(found)


def _points(spots: Sequence[Spot]) -> tuple[page.Point, ...]:
    return tuple(
        page.Point(at, one.mean.value, one.mean.low, one.mean.high, len(one.cells) - one.missing)
        for at, one in enumerate(spots)
        if one.mean
    )


def _number(part: Part) -> page.Number:
    more = "; ".join(f"{name} {say_score(value)}" for name, value in part.numbers.items())
    return page.Number(
        part.says,
        part.effect.value,
        part.effect.low,
        part.effect.high,
        part.metric.unit,
        against=0.0,
        matters=part.sign * part.margin if part.margin else None,
        more=f"{more[:1].upper()}{more[1:]}",
    )


def _known(table: ScoreTable) -> list[str]:
    there = {name for row in table.rows for name, value in row.scores.items() if value is not None}
    return [name for line in CHOSEN_BY if (name := next((one for one in line if one in there), ""))]


def _choose(
    table: ScoreTable, weights: Mapping[str, float]
) -> tuple[Front | None, Recommendation | None, tuple[str, ...]]:
    from ..analysis.choice import pareto, recommend

    if not weights:
        wanted = "; ".join(" or ".join(line) for line in CHOSEN_BY)
        return None, None, (f"No cell is recommended: there is none of the scores to choose by ({wanted}).",)
    try:
        best = recommend(table, weights)
    except SettingsError as error:
        if any(weight <= 0 for weight in weights.values()) or any(
            name not in {metric.name for metric in table.metrics} for name in weights
        ):
            raise
        return None, None, (f"No cell is recommended. {error.problem} {error.got}",)
    front = pareto(table, tuple(weights)) if len(weights) > 1 else None
    return front, best, ()


def _why(found: Recommendation, table: ScoreTable) -> str:
    from ..metrics.registry import METRICS

    names = [METRICS[name].title if name in METRICS else name for name in found.weights]
    said = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    shares = set(found.weights.values())
    how = (
        said
        if len(shares) == 1
        else ", ".join(f"{name} ({share:.0%})" for name, share in zip(names, found.weights.values(), strict=True))
    )
    text = f"Best by {how}, each from 0 (worst here) to 1 (best): {say_score(found.total, 1)}."
    if found.ahead is not None and len(found.ranked) > 1:
        titles = {axis.name: axis.title for axis in table.axes}
        second = found.ranked[1][0]
        where = ", ".join(f"{titles[name]} {label}" for name, label in zip(second.at, second.labels, strict=True))
        ahead = f" It is {say_score(found.ahead.value, 1)} ahead of {where}"
        if found.ahead.low is not None and found.ahead.high is not None:
            ahead += f" (95% interval {say_score(found.ahead.low, 1)} to {say_score(found.ahead.high, 1)})"
        text += f"{ahead}{', which may be as good' if found.close else ''}."
    return text.replace(" -", " −")
