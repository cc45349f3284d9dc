"""``s2v sweep report``: a sweep as one page for the browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SettingsError
from ..sweep_report.options import ReportOptions
from .console import Json, command, live_console, with_settings
from .sweep import sweep_app
from .sweep_show import _inputs, _scores
from .sweep_store import _open, _place, _place_of

if TYPE_CHECKING:
    from ..sweep_report.inputs import Input
    from ..sweeps.run import SweepResult


@sweep_app.command("report")
@with_settings(ReportOptions, "chosen")
def report(
    target: Annotated[Path, typer.Argument(metavar="FILE|STORE", help="A sweep file (YAML), or a folder of cells.")],
    chosen: dict[str, Any],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page, an .html file.")] = Path("report.html"),
    cells: Annotated[Path | None, typer.Option(help="The store, instead of that of the sweep file's `out`.")] = None,
    sweep: Annotated[str, typer.Option(help="The sweep's name, for a store that holds several.")] = "",
    title: Annotated[str, typer.Option(help="The page's title; the sweep's name if left out.")] = "",
    control: Annotated[
        Path | None, typer.Option(help="A control video to show above the cells; sweep files name their own.")
    ] = None,
    reference: Annotated[
        list[Path] | None, typer.Option(help="A reference to show above; repeatable; sweep files name their own.")
    ] = None,
    inputs: Annotated[bool, typer.Option(help="Show control videos and references.")] = True,
    claims: Annotated[
        Path | None, typer.Option(help="A file of claims (YAML) instead of the article's; see docs/claims.md.")
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC=NUMBER", help="What the recommended cell is chosen by; repeatable."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="A JSON file, cell id: {metric: value}, instead of the store's scores; it is not analysed."),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    as_json: Json = False,
) -> None:
    """Write a page with all cells in step, their scores and what they say; nothing is rendered and no model is read.

    The page needs no network and no server. Scores come from s2v sweep score.
    """
    with command(as_json) as done:
        from rich.progress import Progress

        from ..analysis.claimsfile import load_claims
        from ..sweep_report.analyse import analyse
        from ..sweep_report.write import write_report

        options = ReportOptions(**chosen)
        result, found, notes = _result(target, cells, sweep, inputs and not control and not reference)
        given = _inputs(control, reference or []) if control or reference else found
        own = _scores(scores)
        findings = None
        if own is None:
            findings = analyse(result, claims=load_claims(claims) if claims else None, weights=_weights(weight or []))
        with Progress(console=live_console(), transient=True) as bar:
            task = bar.add_task("Clips", total=None)
            page = write_report(
                result,
                out,
                options=options,
                findings=findings,
                inputs=given,
                scores=own,
                title=title,
                on_progress=lambda at, total: bar.update(task, completed=at, total=total),
            )
        scored = {id for id in result.reused if result.store.scores_problem(id) is None and result.store.scores(id)}
        if own is None and not scored:
            notes = (*notes, f"No cell has scores yet: s2v sweep score {target}")
        if show:
            typer.launch(page.resolve().as_uri())
        done(
            {
                "page": page,
                "bytes": page.stat().st_size,
                "cells": len({cell.id for cell in result.cells}),
                "stored": len(result.reused),
                "scored": len(own if own is not None else scored),
                "store": result.store.folder,
            },
            note="\n".join(notes),
        )


def _result(
    target: Path, cells: Path | None, name: str, with_inputs: bool
) -> tuple[SweepResult, tuple[Input, ...], tuple[str, ...]]:
    from ..assess import stored_file
    from ..sweep_report.inputs import inputs_of
    from ..sweeps.load import load_sweep
    from ..sweeps.stored import result_of_store

    if not target.is_file():
        return result_of_store(_open(_place(target)), name), (), ()
    file = load_sweep(target)
    result, studio = stored_file(file, _open(_place(cells) if cells else _place_of(file, None)))

    def read_control(source: Any, settings: Any) -> Any:
        made = studio.control(source, settings)
        return made.clip if made else None

    found, notes = inputs_of(result, read_control) if with_inputs else ((), ())
    return result, found, notes


def _weights(given: list[str]) -> dict[str, float] | None:
    """``metric=number`` each, None for none."""
    weights: dict[str, float] = {}
    for text in given:
        name, equals, value = text.partition("=")
        try:
            weights[name.strip()] = float(value) if equals else 1.0
        except ValueError:
            raise SettingsError(
                f"{text!r} is not a weight.", expected="a metric and a number such as pose_pck=2", got=text
            ) from None
    return weights or None
