"""``s2v sweep score``, ``claims`` and ``experiments``: what cells are worth, and what that says of claims."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import Json, command, live_console, progress
from .sweep import sweep_app
from .sweep_store import _open, _place, _place_of

if TYPE_CHECKING:
    from ..analysis.table import Row
    from ..analysis.verdict import Verdict
    from ..studio import Studio
    from ..sweeps.run import SweepResult

Target = Annotated[Path, typer.Argument(metavar="FILE|STORE", help="A sweep file (YAML), or a folder of cells.")]
Targets = Annotated[
    list[Path], typer.Argument(metavar="FILE|STORE...", help="Sweep files (YAML), or folders of cells.")
]
Cells = Annotated[Path | None, typer.Option(help="The store, instead of that of the sweep file's `out`.")]


@sweep_app.command("score")
def score(
    target: Target,
    cells: Cells = None,
    metrics: Annotated[
        str, typer.Option(help="What is measured, parted by commas; what needs no download if left out.")
    ] = "",
    training: Annotated[
        Path | None, typer.Option(help="The training set of the LoRA, for leakage: a prepared set or a folder.")
    ] = None,
    toy: Annotated[
        Path | None, typer.Option(help="A folder of s2v nano world, for the truth of its dancers; sweep files find it.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also measure anew what had no value.")] = False,
    as_json: Json = False,
) -> None:
    """Score every finished cell; the scores are kept with the cells, and grids show them from then on.

    What is scored with the same version of a metric is not measured again.
    """
    with command(as_json) as done:
        from rich.progress import Progress

        from ..analysis.scoring import score_cells
        from ..analysis.sources import store_sources
        from ..assess import score_result
        from ..metrics.toy import ToyWorld

        how: dict[str, Any] = {
            "metrics": [name.strip() for name in metrics.split(",") if name.strip()] or None,
            "training": training,
            "again": again,
        }
        world = ToyWorld(toy) if toy else None
        with Progress(console=live_console(), transient=True) as bar:
            task = bar.add_task("Scoring", total=None)
            how["on_progress"] = lambda at, total: bar.update(task, completed=at, total=total)
            if target.is_file():
                result, studio = _stored(target, cells, look=False)
                store, named = result.store, len({cell.id for cell in result.cells})
                found = score_result(result, studio=studio, world=world, **how)
            else:
                store = _open(_place(target), look=False)
                ids = [id for id in store.ids() if store.problem(id) is None]
                named = len(ids)
                found = score_cells(store, ids, store_sources(store, world), **how)
        done(
            {
                "store": store.folder,
                "scored": len(found.scored),
                "scored before": len(found.settled),
                "not finished": named - len(found.scored) - len(found.settled) - len(found.failed),
                "no value": [
                    {"metric": metric, "cells": count, "reason": reason}
                    for (metric, reason), count in sorted(found.missing.items())
                ],
                "failed": dict(found.failed),
            },
            note="" if found.scored or found.settled else "There are no finished cells to score.",
            failed=bool(found.failed),
        )


@sweep_app.command("claims")
def claims(
    targets: Targets,
    cells: Cells = None,
    file: Annotated[
        Path | None,
        typer.Option("--claims", help="A file of claims (YAML) instead of the article's; see docs/claims.md."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Hold claims against the scores: supported, not supported or undecided, with the numbers behind it."""
    with command(as_json) as done:
        from ..analysis.claimsfile import load_claims
        from ..analysis.judge import judge

        rows: list[Row] = [row for target in targets for row in _rows(target, cells)]
        verdicts = judge(load_claims(file), rows)
        scored = len({row.cell for row in rows if row.scores})
        result: dict[str, Any] = {"cells": len({row.cell for row in rows}), "scored": scored}
        if as_json:
            result["claims"] = [verdict.to_json() for verdict in verdicts]
        else:
            result |= {verdict.claim.name: _words(verdict) for verdict in verdicts if verdict.parts}
            result["not tested"] = [
                f"{verdict.claim.name}: {verdict.reason}" for verdict in verdicts if not verdict.parts
            ]
        notes = []
        if any(verdict.toy for verdict in verdicts):
            notes.append("What is called toy truth was measured against the toy world's own clips.")
        if scored < result["cells"]:
            notes.append("Some cells have no scores: s2v sweep score measures them.")
        done(result, note="\n".join(notes))


@sweep_app.command("experiments")
def experiments(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write.")] = Path("experiments"),
    as_json: Json = False,
) -> None:
    """The article's experiments with the nano model: render, score, and write the report with all verdicts."""
    with command(as_json) as done:
        import time

        from ..experiments import run_experiments

        start = time.monotonic()
        with progress() as show:
            found = run_experiments(out, on_event=show.event, on_scored=show.scores, say=show.say)
        done({**found, "seconds": round(time.monotonic() - start, 1)})


def _words(verdict: Verdict) -> list[str]:
    from ..analysis.verdict import say_effect

    lines = [f"{verdict.word}: {verdict.claim.says}"]
    lines += [f"  {part.says}: {say_effect(part)}, {part.verdict}" for part in verdict.parts]
    series = f"{verdict.series} comparison{'' if verdict.series == 1 else 's'} in each"
    lines.append(f"  {verdict.seeds} seeds, {series}, {verdict.cells} cells")
    return [*lines, f"  {verdict.reason}"] if verdict.reason else lines


def _rows(target: Path, cells: Path | None) -> tuple[Row, ...]:
    from ..analysis.collect import stored_rows
    from ..assess import finished

    if not target.is_file():
        return stored_rows(_open(_place(target)))
    result, _ = _stored(target, cells)
    return stored_rows(result.store, finished(result))


def _stored(target: Path, cells: Path | None, look: bool = True) -> tuple[SweepResult, Studio]:
    """What the store of a sweep file holds of it."""
    from ..assess import stored_file
    from ..sweeps.load import load_sweep

    file = load_sweep(target)
    return stored_file(file, _open(_place(cells) if cells else _place_of(file, None), look=look))
