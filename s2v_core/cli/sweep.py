"""``s2v sweep``: plan and run sweep files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import Device, Dtype, Json, Memory, command, progress

if TYPE_CHECKING:
    from ..sweeps.estimate import Estimate

sweep_app = typer.Typer(help="Sweeps: plan, run, look after and show them.", no_args_is_help=True)

Files = Annotated[list[Path], typer.Argument(help="Sweep files (YAML); what they have in common is computed once.")]
Place = Annotated[
    Path | None, typer.Option("--out", "-o", help="Instead of the files' `out`: the folder of store and results.")
]


@sweep_app.command()
def plan(
    files: Files,
    out: Place = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    memory: Memory = "auto",
    list_cells: Annotated[
        bool, typer.Option("--cells", help="Also list every cell in the order of computation.")
    ] = False,
    as_json: Json = False,
) -> None:
    """What sweeps would compute and what it would cost, before anything is rendered."""
    with command(as_json) as done:
        from ..recipe import open_sweep_files
        from ..sweeps.estimate import estimate
        from ..sweeps.load import load_sweep
        from ..sweeps.prefixes import FOLDER, Prefixes
        from ..sweeps.store import CellStore
        from ..sweeps.work import plan_work

        with progress() as show:
            ready = open_sweep_files(
                [load_sweep(file) for file in files],
                out=out,
                device=device,
                dtype=dtype,
                memory=memory,
                on_pose=show.pose,
            )
            # A plan makes no folder: where there is no store yet, nothing is stored.
            store = CellStore(ready.store, look=True) if ready.store.exists() else None
            work = plan_work(
                ready.sweeps, ready.renderers, store.has if store else lambda id: False, Prefixes(ready.store / FOLDER)
            )
            found = estimate(work, ready.store)
            plans = ready.renderers.memory_plans(work.todo)
        result = _numbers(found) if as_json else _words(found)
        result["memory"] = [plan.to_dict() if as_json else str(plan) for plan in plans]
        if list_cells:
            result["order"] = [
                {
                    "cell": cell.id[:12],
                    "labels": ", ".join(cell.labels),
                    "first step": work.sharing.starts[cell.id] + 1,
                    "forwards": work.sharing.forwards[cell.id],
                }
                for cell in work.todo
            ]
        done(result)


@sweep_app.command()
def run(
    files: Files,
    out: Place = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    memory: Memory = "auto",
    keep_latents: Annotated[
        bool, typer.Option("--keep-latents", help="Keep the latents of each computed cell beside its clip.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Render the cells of sweeps that are not stored yet, and write the grids and the contact sheets."""
    with command(as_json) as done:
        from ..recipe import run_sweep_files
        from ..sweeps.load import load_sweep

        with progress() as show:
            results, written = run_sweep_files(
                [load_sweep(file) for file in files],
                out=out,
                device=device,
                dtype=dtype,
                memory=memory,
                on_plan=lambda plan: show.say(f"Memory plan {plan}"),
                on_pose=show.pose,
                on_event=show.event,
                keep_latents=keep_latents,
            )
        failed = {id: reason for result in results for id, reason in result.failed.items()}
        places = written[0]
        if len(results) > 1:
            places = {"cells": written[0]["cells"]} | {
                result.sweep.name: [str(path) for kind, path in one.items() if kind != "cells"]
                for result, one in zip(results, written, strict=True)
            }
        done(
            {
                **places,
                "cells named": sum(len(result.cells) for result in results),
                "computed": len({id for result in results for id in result.computed}),
                "reused": len({id for result in results for id in result.reused}),
                "failed": failed,
                "seconds": round(results[0].seconds, 1),
            },
            failed=bool(failed),
        )


@sweep_app.command()
def draft(
    file: Annotated[Path, typer.Argument(help="A sweep file (YAML).")],
    steps: Annotated[
        list[float] | None,
        typer.Option(help="Share of the steps that drafts have, 0.2 if left out; several times for several rounds."),
    ] = None,
    size: Annotated[float, typer.Option(help="Share of width and height that drafts have.")] = 1.0,
    keep: Annotated[
        float, typer.Option(help="How many cells go on from each round: a share below 1, or a number of cells.")
    ] = 0.25,
    score: Annotated[
        str,
        typer.Option(help="What chooses: sharpness, motion, calm, package.module:function of your own, or hand."),
    ] = "hand",
    pick: Annotated[
        str, typer.Option(help="With hand: the numbers of the cells along the rows of the drafts' grid, such as 1,4.")
    ] = "",
    out: Place = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    memory: Memory = "auto",
    as_json: Json = False,
) -> None:
    """Render all cells as cheap drafts, choose by a score or by hand, and render the chosen ones in full."""
    with command(as_json) as done:
        from ..errors import SettingsError
        from ..recipe import run_draft_file
        from ..sweeps.draft_scores import find_score
        from ..sweeps.halving import Round
        from ..sweeps.load import load_sweep
        from ..sweeps.parse import read_values

        if pick and score != "hand":
            raise SettingsError("Cells are picked by hand or by a score.", expected="--pick or --score", got="both")
        by_hand = [int(number) - 1 for number in read_values("seed", pick)] if pick else None
        choose = by_hand if score == "hand" else find_score(score)
        rounds = [Round(share, size, keep) for share in steps or [0.2]]
        with progress() as show:
            result, written = run_draft_file(
                load_sweep(file),
                rounds,
                choose,
                out=out,
                device=device,
                dtype=dtype,
                memory=memory,
                on_plan=lambda plan: show.say(f"Memory plan {plan}"),
                on_pose=show.pose,
                on_event=show.event,
            )
        if result is None:
            done(written, note="These are drafts. Look at the grid, then call again with --pick and the best ones.")
            return
        last = result.rounds[-1]
        done(
            {
                **written,
                "rounds": [
                    {
                        "steps": one.round.steps,
                        "size": one.round.size,
                        "drafts": len({cell.id for cell in one.result.cells}),
                        "kept": len(one.kept),
                    }
                    for one in result.rounds
                ],
                "chosen": [
                    {
                        "cell": cell.id,
                        "labels": ", ".join(cell.labels),
                        "score": last.scores.get(cell.id, ""),
                    }
                    for cell in result.final.cells
                    if cell.id in last.kept
                ],
                "failed": result.final.failed,
                "forwards": {"all in full": result.forwards_full, "drafts and finals": result.forwards_spent},
                "saved": f"{result.saved:.1%}",
                "approximate": True,
            },
            note=result.note(),
            failed=bool(result.final.failed),
        )


def _numbers(found: Estimate) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(found) | {"saved": round(found.saved, 4)}


def _words(found: Estimate) -> dict[str, Any]:
    def pair(counts: tuple[int, int]) -> str:
        return f"{counts[0]} alone, {counts[1]} shared"

    if found.seconds is None:
        time = "unknown: no cell of this model is stored yet"
    elif not found.left:
        time = "none"
    else:
        about = "at most" if found.step_cached else "about"
        time = f"{about} {_duration(found.seconds)}, from {found.measured} measured cells"
    disk = "none"
    if found.left:
        about = "about" if found.disk_measured else "at most"
        disk = (
            f"{about} {_size(found.disk)} for the clips, meanwhile at most {_size(found.prefix_disk)} of shared latents"
        )
    # Known only when the steps are there.
    at_most = f", at most: {found.step_cached} cells leave some out (step_cache)" if found.step_cached else ""
    return {
        "cells": f"{found.cells} named, {found.distinct} distinct, {found.stored} stored, {found.left} to compute",
        "forwards": f"{found.forwards_alone} alone, {found.forwards_shared} shared ({found.saved:.1%} fewer), "
        f"{found.forwards_left} left{at_most}",
        "text encodes": pair(found.text_encodes),
        "picture encodes": pair(found.picture_encodes),
        "LoRA loads": pair(found.lora_loads),
        "disk": disk,
        "time": time,
    }


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
