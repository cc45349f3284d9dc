"""What the experiments write: verdicts as JSON and Markdown, a page of each experiment, and one that leads to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .files import write_text_atomic

if TYPE_CHECKING:
    from .analysis.gain import Gains
    from .analysis.verdict import Part, Verdict
    from .studio import Studio
    from .sweeps.run import SweepResult
    from .sweeps.scene import PoseSource
    from .video.clip import Clip
    from .wan.settings import SampleSettings

# What steps are to improve: the first of these that the cells have.
_QUALITY = ("toy_error", "sharpness")
TEMPLATE = Path(__file__).parent / "nano" / "experiments" / "index.html"


def write_verdicts(folder: Path, verdicts: Sequence[Verdict]) -> dict[str, Path]:
    """verdicts.json and verdicts.md; the same scores give the same bytes."""
    from .analysis.verdict import markdown

    said = json.dumps([verdict.to_json() for verdict in verdicts], ensure_ascii=False, indent=1)
    write_text_atomic(folder / "verdicts.json", f"{said}\n")
    write_text_atomic(folder / "verdicts.md", markdown(verdicts))
    return {"verdicts": folder / "verdicts.json", "verdicts (Markdown)": folder / "verdicts.md"}


def write_pages(
    results: Mapping[str, SweepResult],
    verdicts: Sequence[Verdict],
    studio: Studio,
    folder: Path,
    should_stop: Callable[[], bool] | None = None,
) -> dict[str, Path]:
    """A report of each experiment, with the verdicts that its cells say something of; by the experiment's name.

    ``results``: by the stem of the page's file. ``studio``: has read the pose videos. The verdicts' numbers are those
    of all experiments together.
    """
    from .assess import verdicts_of
    from .sweep_report.analyse import analyse, claim_of
    from .sweep_report.inputs import inputs_of
    from .sweep_report.write import write_report

    def control(pose: PoseSource, settings: SampleSettings) -> Clip | None:
        made = studio.control(pose, settings)
        return made.clip if made else None

    pages = {}
    for stem, result in results.items():
        own = verdicts_of([verdict.claim for verdict in verdicts], [result])
        here = [verdict for verdict, mine in zip(verdicts, own, strict=True) if mine.word != "not tested"]
        findings = replace(analyse(result, claims=()), claims=tuple(map(claim_of, here)))
        inputs, _ = inputs_of(result, control)
        pages[result.sweep.name] = write_report(
            result, folder / f"{stem}.html", findings=findings, inputs=inputs, should_stop=should_stop
        )
    return pages


def write_index(
    folder: Path, verdicts: Sequence[Verdict], results: Sequence[SweepResult], pages: Mapping[str, Path]
) -> Path:
    """index.html: every verdict, and the way to the pages."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    cells = {cell.id: cell for result in results for cell in result.cells if result.store.has(cell.id)}
    listed = [
        {
            "file": pages[result.sweep.name].name,
            "name": result.sweep.name,
            "cells": len(result.cells),
            "axes": ", ".join(axis.title for axis in result.sweep.axes),
        }
        for result in results
        if result.sweep.name in pages
    ]
    target = folder / "index.html"
    text = template.render(
        gains=next(filter(None, map(_gains, results)), None),
        number=_number,
        verdicts=verdicts,
        pages=listed,
        effect=_effect,
        expected=_expected,
        cells=len(cells),
        seeds=len({cell.settings.seed for cell in cells.values()}),
        people=len({cell.scene.reference for cell in cells.values()}),
    )
    write_text_atomic(target, text)
    return target


def _gains(result: SweepResult) -> Gains | None:
    """What further steps gain and cost, for a sweep over them that is scored."""
    from .analysis.collect import table_of
    from .analysis.gain import marginal_gain

    if "steps" not in [axis.name for axis in result.sweep.axes]:
        return None
    table = table_of(result)
    metric = next((name for name in _QUALITY if name in [one.name for one in table.metrics]), None)
    return marginal_gain(table, metric, "steps") if metric else None


def _number(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.3g}".replace("-", "−")


def _effect(part: Part) -> tuple[str, str]:
    """An effect and its interval, with real minus signs."""
    effect = part.effect
    unit = f" {part.metric.unit}" if part.metric.unit else ""
    value = f"{_number(effect.value, '+')}{unit}"
    if effect.low is None or effect.high is None:
        return value, ""
    return value, f"{_number(effect.low)} to {_number(effect.high)}"


def _expected(part: Part) -> str:
    """What the claim expects of an effect, and from which size on it matters."""
    size = f"{abs(part.margin):g}{f' {part.metric.unit}' if part.metric.unit else ''}"
    if part.margin < 0:
        return f"expected: no loss beyond {size}"
    side = "above 0" if part.sign > 0 else "below 0"
    return f"expected: {side}" + (f"; from {size} on it matters" if part.margin else "")
