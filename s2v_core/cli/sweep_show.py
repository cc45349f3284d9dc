"""``s2v sweep grid`` and ``show``: grids made again from a store, and what a file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SettingsError
from ..sweeps.gridoptions import GridOptions
from .console import Json, command, live_console, with_settings
from .sweep import sweep_app
from .sweep_store import _lora_sha256, _open, _place, _place_of, _sweep_of

if TYPE_CHECKING:
    from ..sweeps.run import SweepResult

_VIDEOS = (".mp4", ".webp", ".gif")


@sweep_app.command("show")
def show(
    file: Annotated[Path, typer.Argument(help="A video or picture that this project wrote.")],
    graph: Annotated[bool, typer.Option(help="Print ComfyUI's graph in full as well.")] = False,
    as_json: Json = False,
) -> None:
    """Print the settings that a video or picture carries, and whether ComfyUI's graph is in it."""
    with command(as_json) as done:
        from ..video.metadata import OWN, read_metadata

        found = read_metadata(file)
        own = found.get(OWN)
        result: dict[str, Any] = {"file": str(file)}
        if isinstance(own, dict):
            result |= own
        for key in ("workflow", "prompt"):
            if key in found:
                name = f"ComfyUI {key}"
                nodes = found[key].get("nodes", found[key]) if isinstance(found[key], dict) else ()
                result[name] = found[key] if graph or as_json else f"{len(nodes)} nodes"
        nothing = len(result) == 1
        done(result, note="This file carries no settings of Skeleton2Video and no graph of ComfyUI." * nothing)


@sweep_app.command("grid")
@with_settings(GridOptions, "chosen")
def grid(
    target: Annotated[Path, typer.Argument(metavar="FILE|STORE", help="A sweep file (YAML), or a folder of cells.")],
    chosen: dict[str, Any],
    out: Annotated[
        Path, typer.Option("--out", "-o", help=".mp4, .webp or .gif for a video, .png for a contact sheet.")
    ] = Path("grid.mp4"),
    cells: Annotated[Path | None, typer.Option(help="The store, instead of that of the sweep file's `out`.")] = None,
    sweep: Annotated[str, typer.Option(help="The sweep's name, for a store that holds several.")] = "",
    control: Annotated[Path | None, typer.Option(help="A control video to show above the cells.")] = None,
    reference: Annotated[list[Path] | None, typer.Option(help="A reference to show above; repeatable.")] = None,
    scores: Annotated[
        Path | None, typer.Option(help="A JSON file, cell id: {metric: value}, instead of the store's scores.")
    ] = None,
    page: Annotated[int, typer.Option(min=0, help="Only this page, from 1; 0 is all of them.")] = 0,
    frames: Annotated[str, typer.Option(help="Of a contact sheet: first, middle, last or numbers.")] = "middle",
    as_json: Json = False,
) -> None:
    """Draw the grid of finished cells again; nothing is rendered and no model is read."""
    with command(as_json) as done:
        from rich.progress import Progress

        from ..sweeps.grid import write_contact_sheet, write_grid

        suffix = out.suffix.lower()
        if suffix not in (*_VIDEOS, ".png"):
            raise SettingsError(
                f"A grid cannot be written as {out.name}.", expected=f"one of {', '.join(_VIDEOS)}, .png", got=suffix
            )
        result, note = _result(target, cells, sweep)
        how: dict[str, Any] = {
            "options": GridOptions(**chosen),
            "inputs": _inputs(control, reference or []),
            "scores": _scores(scores),
            "page": page - 1 if page else None,
        }
        if suffix == ".png":
            files = write_contact_sheet(result, out, frames=[_when(part) for part in frames.split(",")], **how)
        else:
            with Progress(console=live_console(), transient=True) as bar:
                task = bar.add_task("Drawing", total=None)
                files = write_grid(
                    result, out, on_progress=lambda at, total: bar.update(task, completed=at, total=total), **how
                )
        found = {cell.id for cell in result.cells}
        done(
            {"files": list(files), "cells": len(found), "stored": len(result.reused), "store": result.store.folder},
            note=note,
        )


def _result(target: Path, cells: Path | None, name: str) -> tuple[SweepResult, str]:
    from ..sweeps.stored import result_of_store, result_of_sweep

    if not target.is_file():
        return result_of_store(_open(_place(target)), name), ""
    file, sweep = _sweep_of(target)
    store = _open(_place(cells) if cells else _place_of(file, None))
    result, several = result_of_sweep(sweep, store, _lora_sha256)
    return result, f"{several} cells were rendered with several models; the newest are shown." if several else ""


def _inputs(control: Path | None, references: list[Path]) -> dict[str, Any]:
    from ..video.read import read_clip
    from ..video.still import read_reference

    found = {"control video": read_clip(control, frames=None).frames} if control else {}
    for number, path in enumerate(references, start=1):
        found["reference" if len(references) == 1 else f"reference {number}"] = read_reference(path)[None]
    return found


def _scores(path: Path | None) -> dict[str, Any] | None:
    import json

    if path is None:
        return None
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"The scores {path} cannot be read.", expected="a JSON file", got=str(error)) from error
    if not isinstance(read, dict) or not all(isinstance(value, dict) for value in read.values()):
        raise SettingsError(f"{path} holds no scores.", expected='{"<cell id>": {"<metric>": value}}')
    return read


def _when(text: str) -> Any:
    text = text.strip()
    return int(text) if text.isdigit() else text
