"""What the page knows of a sweep, as JSON: its axes, metrics and cells."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ..sweeps.axes import Cell, Sweep, say_value
from ..sweeps.gridoptions import arrange
from ..sweeps.run import SweepResult
from ..sweeps.scores import Scores, score_of
from ..wan.settings import SampleSettings, options
from . import copies

_NUMBER = re.compile(r"-?\d+(\.\d+)?$")
# JavaScript's numbers are exact up to here.
_EXACT = 2**53
# What the page says of a cell's origin.
_MADE = ("created", "seconds", "step cache", "versions", "fingerprint")


@dataclass(frozen=True)
class CellFacts:
    """A cell of the page. ``state``: "there", "missing" or "failed", the latter two with a ``reason`` where known.

    ``frames``, ``fps``, ``size``: of the stored clip, None without one. ``meta``: its ``cell.json``.
    """

    cell: Cell
    state: str
    reason: str
    frames: int | None
    fps: Fraction | None
    size: tuple[int, int] | None
    meta: Mapping[str, Any]


def cell_facts(result: SweepResult) -> tuple[CellFacts, ...]:
    """What is known of each cell of a sweep without decoding it. Damaged cells count as failed."""
    known: dict[str, tuple[str, str, Mapping[str, Any]]] = {}
    store = result.store
    for cell in result.cells:
        if cell.id in known:
            continue
        if cell.id in result.failed:
            known[cell.id] = ("failed", result.failed[cell.id], {})
        elif not store.path(cell.id).exists():
            known[cell.id] = ("missing", "", {})
        elif reason := store.problem(cell.id):
            known[cell.id] = ("failed", f"damaged: {reason}", {})
        else:
            known[cell.id] = ("there", "", store.meta(cell.id))
    return tuple(_facts(cell, *known[cell.id]) for cell in result.cells)


def _facts(cell: Cell, state: str, reason: str, meta: Mapping[str, Any]) -> CellFacts:
    if not meta:
        return CellFacts(cell, state, reason, None, None, None, {})
    clip = meta["clip"]
    return CellFacts(cell, state, reason, clip["frames"], Fraction(clip["fps"]), (clip["width"], clip["height"]), meta)


def stored_scores(result: SweepResult) -> Scores:
    """What the store knows of the cells; a cell whose scores cannot be read says so in each metric of the others."""
    store = result.store
    found: dict[str, Mapping[str, Any]] = {}
    damaged: dict[str, str] = {}
    for id in dict.fromkeys(cell.id for cell in result.cells):
        if not store.has(id):
            continue
        if reason := store.scores_problem(id):
            damaged[id] = f"the stored scores are damaged: {reason}"
        else:
            found[id] = store.scores(id)
    names = list(dict.fromkeys(name for scores in found.values() for name in scores))
    return found | {id: {name: {"value": None, "reason": reason} for name in names} for id, reason in damaged.items()}


def page_facts(result: SweepResult, cells: Sequence[CellFacts], scores: Scores) -> dict[str, Any]:
    """Axes, layout, metrics and cells of a sweep, JSON-ready. Clips are added by whoever packs them."""
    sweep = result.sweep
    order = arrange(sweep)
    names = metric_names(scores, result.cells)
    base = base_fps(cells)
    return {
        "name": sweep.name,
        "fps": float(base),
        "frames": page_frames(cells, base),
        "axes": [_axis(axis) for axis in sweep.axes],
        "rows": list(order.rows),
        # What a video puts on pages groups the columns here: the page can filter.
        "columns": [*order.pages, *order.columns],
        "metrics": [_metric(name, scores, result.cells) for name in names],
        "cells": [_cell(number, facts, sweep, scores, names) for number, facts in enumerate(cells)],
        "defaults": {entry.name: _exact(entry.default) for entry in options(SampleSettings)},
        "help": {entry.name: entry.help for entry in options(SampleSettings)},
        "varied": sorted({part.name for axis in sweep.axes for part in axis.parts}),
    }


def base_fps(cells: Sequence[CellFacts]) -> Fraction:
    """The rate in which the page counts frames: the first clip's."""
    return next((facts.fps for facts in cells if facts.fps), Fraction(16))


def page_frames(cells: Sequence[CellFacts], base: Fraction) -> int:
    """How many frames at ``base`` a second the longest clip lasts."""
    lasting = [-(-facts.frames * base // facts.fps) for facts in cells if facts.frames and facts.fps]
    return int(max(lasting, default=1))


def metric_names(scores: Scores, cells: Sequence[Cell]) -> tuple[str, ...]:
    """The metrics that any of these cells has a value or a reason for: known ones in their order, then the others."""
    from ..metrics.registry import METRICS

    there = dict.fromkeys(name for cell in cells for name in scores.get(cell.id) or {})
    return (*(name for name in METRICS if name in there), *(name for name in there if name not in METRICS))


def _axis(axis: Any) -> dict[str, Any]:
    labels = [label.removeprefix(axis.title).lstrip(": ") or label for label in axis.labels]
    return {"name": axis.name, "title": axis.title or axis.name, "labels": labels, "values": _numbers(axis, labels)}


def _numbers(axis: Any, labels: Sequence[str]) -> list[float] | None:
    """The places of an axis as numbers, for curves; None for names, and where numbers would not rise or fall."""
    values = getattr(axis, "values", labels)
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return [float(value) for value in values]
    if values is labels and all(_NUMBER.fullmatch(label) for label in labels):
        return [float(label) for label in labels]
    return None


def _metric(name: str, scores: Scores, cells: Sequence[Cell]) -> dict[str, Any]:
    from ..metrics.registry import METRICS

    known = METRICS.get(name)
    values = [value for cell in cells if (value := score_of(scores, cell.id, name)) is not None]
    said: dict[str, Any] = {
        "name": name,
        "title": known.title if known else name.replace("_", " "),
        # Of somebody's own metric nothing is known but its name.
        "direction": known.direction if known else "neutral",
        "unit": known.unit if known else "",
        "range": list(known.range) if known else [None, None],
        "ideal": known.ideal if known else None,
        "says": known.says if known else "",
        "source": known.source if known else "",
    }
    return said | {"count": len(values)}


def _cell(number: int, facts: CellFacts, sweep: Sweep, scores: Scores, names: Sequence[str]) -> dict[str, Any]:
    cell = facts.cell
    graph = copies.comfy_graph(cell)
    meta = facts.meta
    return {
        "number": number,
        "id": cell.id,
        "at": list(cell.index),
        "labels": list(cell.labels),
        "state": facts.state,
        "reason": facts.reason,
        "prompt": cell.prompt.text,
        "negative": cell.prompt.negative,
        "settings": {name: _exact(value) for name, value in cell.settings.to_dict().items()},
        "scores": {name: _score(scores.get(cell.id) or {}, name, facts.state) for name in names},
        "frames": facts.frames,
        "fps": float(facts.fps) if facts.fps else None,
        "size": list(facts.size) if facts.size else None,
        "made": {name: meta[name] for name in _MADE if name in meta},
        "copy": {
            "json": copies.settings_json(cell),
            "cli": copies.command_line(cell, sweep.scene),
            "comfy": _text(graph),
            "items": _text(copies.comfy_items(graph)),
        },
    }


def _score(scores: Mapping[str, Any], name: str, state: str) -> dict[str, Any]:
    """One score: ``value`` with ``low``, ``high`` and ``how``, or None with the ``reason``."""
    said = scores.get(name)
    if said is None:
        return {"value": None, "reason": _UNSCORED[state]}
    if not isinstance(said, Mapping):
        said = {"value": said}
    value = score_of({"": {name: said}}, "", name)
    if value is None:
        return {"value": None, "reason": str(said.get("reason") or "no number was given")}
    more = {key: score_of({"": {name: said.get(key)}}, "", name) for key in ("low", "high")}
    return {
        "value": value,
        **{key: one for key, one in more.items() if one is not None},
        "how": str(said.get("how") or ""),
    }


_UNSCORED = {
    "there": "it was not measured",
    "missing": "the cell is not computed",
    "failed": "the cell failed",
}


def _exact(value: Any) -> Any:
    """A value as the page shows it: numbers that JavaScript would round are texts."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT:
        return say_value(value)
    return value


def _text(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
