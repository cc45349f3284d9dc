"""From sweeps and stores to tables of scores. Nothing is rendered, measured or loaded here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from ..metrics.registry import METRICS
from ..metrics.scorecard import Metric
from ..prompts.prompt import Prompt
from ..sweeps.axes import Cell
from ..sweeps.plan import effective
from ..sweeps.run import SweepResult
from ..sweeps.scores import score_of
from ..sweeps.store import CellStore
from ..sweeps.stored import prompt_of
from ..sweeps.trail import trail
from ..wan.settings import SampleSettings
from .table import Factor, Row, ScoreTable, Value

NO_LORA = "none"
# The fields of LoRAs that decide pixels, as they are called in ``Row.at``.
_LORA_FIELDS = ("strength", "scope", "from_step", "to_step", "ramp_in", "ramp_out")
_NOT_COMPUTED = "the cell is not computed"
_HASH = 12


def table_of(result: SweepResult) -> ScoreTable:
    """The table of a sweep as it is stored now: every cell of the grid, those that are not computed too.

    Of pose videos and references, ``Row.at`` holds the begin of their hash, and axes over them too; labels name them.
    """
    found: dict[str, Row] = {}
    for cell in result.cells:
        if cell.id not in found:
            found[cell.id] = _row_of(result, cell)
    axes = [(number, axis) for number, axis in enumerate(result.sweep.axes) if axis.name != "seed"]
    places = {number: _places(number, axis, result.cells, found) for number, axis in axes}
    rows = [
        _with(found[cell.id], {axis.name: places[number][cell.index[number]] for number, axis in axes})
        for cell in result.cells
    ]
    factors = tuple(Factor(axis.name, axis.title or axis.name, places[number], _short(axis)) for number, axis in axes)
    return ScoreTable(factors, tuple(rows), _metrics(rows), result.sweep.name)


def stored_rows(store: CellStore, ids: Iterable[str] | None = None) -> tuple[Row, ...]:
    """One row for each sound cell of a store, whatever sweep it belongs to."""
    rows = []
    for id in store.ids() if ids is None else ids:
        if store.problem(id, quick=True) is None:
            meta = store.meta(id, quick=True)
            rows.append(_row(store, id, prompt_of(meta), SampleSettings.from_dict(meta["settings"]), meta))
    return tuple(rows)


def factors_of(prompt: Prompt, settings: SampleSettings, fingerprint: Mapping[str, str]) -> dict[str, Value]:
    """Every setting that decides a cell besides its seed, by name.

    ``lora`` is the names of the LoRA files that act, and ``lora_strength`` and so on are those of the first; without
    any they are "none" and 0. ``prompt`` is the variant's name where it has one. ``pose``, ``reference`` and ``model``
    are the first digits of their hashes, "none" without.
    """
    given = {name: value for name, value in settings.to_dict().items() if name not in ("seed", "loras")}
    loras = effective(settings).loras
    found: dict[str, Value] = dict(given)
    found["lora"] = ", ".join(PurePath(use.file).stem for use in loras) or NO_LORA
    for name in _LORA_FIELDS:
        if loras:
            found[f"lora_{name}"] = getattr(loras[0], name)
    if not loras:
        found["lora_strength"] = 0.0
    found["prompt"] = prompt.text if prompt.variant == "custom" else prompt.variant
    found["negative"] = prompt.negative
    for name, key in (("pose", "control"), ("reference", "reference"), ("model", "transformer sha256")):
        found[name] = short_hash(fingerprint.get(key, ""))
    return found


def short_hash(text: str) -> str:
    """Hashes parted by spaces, shortened; "none" for none."""
    return " ".join(part[:_HASH] for part in text.split()) or NO_LORA


def _row_of(result: SweepResult, cell: Cell) -> Row:
    store = result.store
    if cell.id in result.failed:
        return _empty_row(cell, f"the cell failed: {result.failed[cell.id]}")
    if not store.path(cell.id).exists():
        return _empty_row(cell, _NOT_COMPUTED)
    if reason := store.problem(cell.id, quick=True):
        return _empty_row(cell, f"the cell is damaged: {reason}")
    return _row(store, cell.id, cell.prompt, cell.settings, store.meta(cell.id, quick=True))


def _row(store: CellStore, id: str, prompt: Prompt, settings: SampleSettings, meta: Mapping[str, Any]) -> Row:
    at = factors_of(prompt, settings, meta.get("fingerprint", {}))
    seconds = _seconds_alone(prompt, settings, meta)
    if reason := store.scores_problem(id):
        return Row(id, at, settings.seed, {}, {"": f"its scores are damaged: {reason}"}, seconds=seconds)
    scores, reasons, against = {}, {}, {}
    for metric, said in store.scores(id).items():
        scores[metric] = score_of({id: {metric: said}}, id, metric)
        if scores[metric] is None:
            reasons[metric] = str(said.get("reason") or "no number was given")
        if isinstance(said.get("against"), Mapping):
            against[metric] = {str(key): _number(value) for key, value in said["against"].items()}
    return Row(id, at, settings.seed, scores, reasons, against, seconds)


def _empty_row(cell: Cell, reason: str) -> Row:
    at = factors_of(cell.prompt, cell.settings, {})
    return Row(cell.id, at, cell.settings.seed, {}, {"": reason})


def _with(row: Row, more: Mapping[str, Value]) -> Row:
    return Row(row.cell, {**row.at, **more}, row.seed, row.scores, row.reasons, row.against, row.seconds)


def _seconds_alone(prompt: Prompt, settings: SampleSettings, meta: Mapping[str, Any]) -> float | None:
    """The seconds that were noted, as if no step had come from another cell."""
    seconds, forwards = meta.get("seconds"), meta.get("forwards")
    if not isinstance(seconds, (int, float)) or not forwards:
        return None
    whole = trail(prompt, settings, meta.get("fingerprint", {}), str).forwards
    if "step cache" in meta:
        return float(seconds)  # what it left out it would leave out alone, and it shared nothing
    return float(seconds) * max(1.0, whole / forwards)


def _places(number: int, axis: Any, cells: Iterable[Cell], rows: Mapping[str, Row]) -> tuple[Value, ...]:
    """The places of an axis as ``Row.at`` holds them: numbers, or what the cells are told apart by, or else labels."""
    given = getattr(axis, "values", None)
    if given is not None and all(isinstance(value, (bool, int, float)) for value in given):
        return tuple(value if isinstance(value, bool) else float(value) for value in given)
    found: dict[int, Value] = {}
    for cell in cells:
        row = rows[cell.id]
        # What a cell that is not computed is made of is not known.
        if axis.name in row.at and found.get(cell.index[number], NO_LORA) == NO_LORA:
            found[cell.index[number]] = row.at[axis.name]
    places = tuple(found.get(at, label) for at, label in enumerate(axis.labels))
    return places if len(set(places)) == len(places) else _short(axis)


def _short(axis: Any) -> tuple[str, ...]:
    return tuple(label.removeprefix(axis.title).lstrip(": ") or label for label in axis.labels)


def _metrics(rows: Iterable[Row]) -> tuple[Metric, ...]:
    """The metrics of which any row says something: known ones in their order, then the others."""
    there = dict.fromkeys(name for row in rows for name in row.scores)
    known = [METRICS[name] for name in METRICS if name in there]
    return (*known, *(unknown_metric(name) for name in there if name not in METRICS))


def unknown_metric(name: str) -> Metric:
    """A metric of somebody's own, of which nothing is known but its name."""
    return Metric(name, name.replace("_", " "), "neutral", "", (None, None), ("clip",), "", "", default=False)


def _number(value: Any) -> float | None:
    return score_of({"": {"": value}}, "", "")
