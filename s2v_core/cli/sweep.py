"""``s2v sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import Device, Dtype, Json, command, progress

sweep_app = typer.Typer(help="Sweeps: plan, run, look after and show them.", no_args_is_help=True)


@sweep_app.command()
def run(
    file: Annotated[Path, typer.Argument(help="A sweep file (YAML).")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Instead of the file's `out`.")] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
) -> None:
    """Render the cells of a sweep that are not stored yet, and write the grid and the contact sheet."""
    with command(as_json) as done:
        from ..recipe import run_sweep_file
        from ..sweeps.load import load_sweep

        with progress() as show:
            result, written = run_sweep_file(
                load_sweep(file), out=out, device=device, dtype=dtype, on_pose=show.pose, on_event=show.event
            )
        done(
            {
                **written,
                "cells named": len(result.cells),
                "computed": len(result.computed),
                "reused": len(result.reused),
                "failed": result.failed,
                "seconds": round(result.seconds, 1),
            },
            failed=bool(result.failed),
        )
