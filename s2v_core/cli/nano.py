"""``s2v nano``: the toy world and the model that is trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import Json, Out, command, say

nano_app = typer.Typer(help="The nano Wan-VACE and the toy world that it is trained on.", no_args_is_help=True)


@nano_app.command()
def train(
    out: Out = Path("nano-training"),
    config: Annotated[
        Path | None, typer.Option(help="The training's numbers (YAML); those of the shipped weights if left out.")
    ] = None,
    until: Annotated[str, typer.Option(help="End after this part: material, vae, latents or text.")] = "",
    as_json: Json = False,
) -> None:
    """Train the nano Wan-VACE from nothing; the same call goes on where an earlier one was stopped or killed."""
    with command(as_json) as done:
        from ..nano.training.config import SHIPPED, load_config
        from ..nano.training.live import Live

        settings = load_config(config or SHIPPED)
        with Live() as live:
            from ..nano.training.run import train_nano

            result = train_nano(settings, out, until=until, on_row=live.row, on_progress=live.progress)
        if not until:
            from ..nano.training.curves import draw_curves

            result["curves"] = str(draw_curves(out))
        done(result)


@nano_app.command()
def world(
    out: Out = Path("toy-world"),
    clips: Annotated[int, typer.Option(min=1, help="How many clips.")] = 16,
    start: Annotated[int, typer.Option(min=0, help="The number of the first scene.")] = 0,
    held: Annotated[
        list[str] | None, typer.Option(help="people, colours or motions that are held out of training; repeatable.")
    ] = None,
    aist_like: Annotated[
        bool, typer.Option(help="The bias of AIST's videos: a white wall, a grey floor, black trousers.")
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(help="A part that the prompts do not mention (shirt, trousers, wall...); repeatable."),
    ] = None,
    fixed_stick: Annotated[
        bool, typer.Option(help="Draw poses with lines of 8 pixels, which the nano model sees best.")
    ] = False,
    mp4: Annotated[bool, typer.Option(help="H.264 in MP4 instead of FFV1, which loses nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Write clips of the toy world as a prepared dataset: videos, control videos, references, masks and prompts."""
    with command(as_json) as done:
        from rich.console import Console
        from rich.progress import Progress

        from ..nano.world import AIST_LIKE
        from ..nano.write import write_world

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("Painting", total=clips)
            index = write_world(
                out,
                clips,
                start=start,
                held=held or (),
                fixed=AIST_LIKE if aist_like else None,
                without=without or (),
                stick="fixed" if fixed_stick else "auto",
                suffix=".mp4" if mp4 else ".mkv",
                on_progress=lambda finished, total: bar.update(task, completed=finished, total=total),
            )
        say(f"Wrote {clips} clips.")
        done({"index": str(index), "clips": clips})
