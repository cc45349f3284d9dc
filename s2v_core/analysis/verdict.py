"""What becomes of a claim: supported, not supported or undecided, with the numbers behind it.

Seeds are the repetition. Cells that differ in nothing but what a claim is about are compared within each seed; a
seed's effect is the mean over all such comparisons, and the interval is that of the mean over seeds
(``statistics.mean_interval``). It speaks of these people, dances and settings with other noise, not of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..metrics.scorecard import Metric
from .claimsfile import AnyClaim
from .statistics import INTERVAL, Mean

Word = Literal["supported", "not supported", "undecided", "not tested"]
# An effect that is this small is rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Part:
    """One effect that a claim rests on.

    ``says``: what was compared, in words. ``effect``: in the metric's unit. ``sign``: +1 where the claim says that it
    is above 0, -1 below. ``margin``: the smallest effect that matters; one below 0 is how much of the opposite does not
    matter. ``numbers``: more of it.
    """

    says: str
    metric: Metric
    effect: Mean
    sign: int
    margin: float
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> Word:
        """What this effect says of the claim."""
        return decide(self.effect, self.sign, self.margin)


@dataclass(frozen=True)
class Verdict:
    """``reason``: why it is undecided or was not tested. ``seeds``, ``series``: how many seeds, and comparisons within
    each. ``cells``: how many were compared. ``method``: in words.
    """

    claim: AnyClaim
    word: Word
    parts: tuple[Part, ...] = ()
    reason: str = ""
    seeds: int = 0
    series: int = 0
    cells: int = 0
    method: str = ""

    @property
    def toy(self) -> bool:
        """Whether it rests on the toy world's truth, which no other clip has."""
        return any("truth" in part.metric.needs for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; the same scores give the same text."""
        return {
            "claim": self.claim.name,
            "says": self.claim.says,
            "kind": self.claim.kind,
            "verdict": self.word,
            "reason": self.reason,
            "n": self.seeds,
            "series": self.series,
            "cells": self.cells,
            "method": self.method,
            "toy truth": self.toy,
            "parts": [
                {
                    "says": part.says,
                    "metric": part.metric.name,
                    "unit": part.metric.unit,
                    "effect": _rounded(part.effect.value),
                    "low": _rounded(part.effect.low),
                    "high": _rounded(part.effect.high),
                    "expected": "above 0" if part.sign > 0 else "below 0",
                    "margin": part.margin,
                    "verdict": part.verdict,
                    "numbers": {name: _rounded(value) for name, value in part.numbers.items()},
                }
                for part in self.parts
            ],
        }


def decide(effect: Mean, sign: int, margin: float) -> Word:
    """What an effect's interval says of a claim that expects it above 0 (``sign`` +1) or below (-1).

    "not supported": the whole interval is short of the smallest effect that matters, or nothing of it lies in the
    claim's direction. "supported": all of it lies there. "undecided": it holds 0 and effects that matter too, or there
    is no interval, as with one seed. A ``margin`` below 0 asks instead that the effect is not beyond it on the other
    side.
    """
    if effect.low is None or effect.high is None:
        return "undecided"
    low, high = sorted((sign * effect.low, sign * effect.high))
    if margin < 0:
        return "supported" if low >= margin else "not supported" if high < margin else "undecided"
    if high <= _ROUNDING or high < margin:
        return "not supported"
    return "supported" if low > _ROUNDING else "undecided"


def conclude(claim: AnyClaim, parts: Sequence[Part], *, seeds: int, series: int, cells: int, method: str) -> Verdict:
    """A claim is supported when all its parts are, not supported when one of them is not, and else undecided."""
    words = [part.verdict for part in parts]
    word: Word = "supported"
    if "not supported" in words:
        word = "not supported"
    elif "undecided" in words:
        word = "undecided"
    reason = ""
    if word == "undecided":
        open = next(part for part in parts if part.verdict == "undecided")
        alone = "with one seed there is no interval: run two more at least"
        reason = alone if open.effect.low is None else f"the interval holds 0 ({open.says})"
        if open.margin < 0 and open.effect.low is not None:
            reason = f"the interval reaches beyond what does not matter ({open.says})"
    return Verdict(claim, word, tuple(parts), reason, seeds, series, cells, f"{method}; {INTERVAL}")


def untested(claim: AnyClaim, reason: str) -> Verdict:
    """A claim of which the cells say nothing."""
    return Verdict(claim, "not tested", reason=reason)


def say_effect(part: Part) -> str:
    """The effect with its interval as text, such as "+0.213 [0.201, 0.225]"."""
    effect, unit = part.effect, f" {part.metric.unit}" if part.metric.unit else ""
    if effect.low is None or effect.high is None:
        return f"{effect.value:+.3g}{unit} (no interval)"
    return f"{effect.value:+.3g} [{effect.low:.3g}, {effect.high:.3g}]{unit}"


def markdown(verdicts: Iterable[Verdict]) -> str:
    """The verdicts as a table in Markdown."""
    lines = ["| claim | verdict | what was compared | effect [95%] | smallest that matters | seeds, series, cells |"]
    lines.append("|---|---|---|---|---|---|")
    for verdict in verdicts:
        counts = f"{verdict.seeds}, {verdict.series}, {verdict.cells}"
        head = f"{verdict.claim.name}: {verdict.claim.says}", f"**{verdict.word}**"
        rows = [
            (f"{part.says}: {part.verdict}", say_effect(part), f"{part.margin:g}", counts) for part in verdict.parts
        ]
        for number, row in enumerate(rows or [(verdict.reason, "", "", "")]):
            cells = (*(head if number == 0 else ("", "")), *row)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _rounded(value: float | None) -> float | None:
    """Six significant digits: what sums in another order change stays out of files."""
    return None if value is None else float(f"{value:.6g}")
