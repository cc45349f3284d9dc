"""The command line, ``s2v``. Every command that prints a result takes ``--json``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from . import sweep_report, sweep_score, sweep_show, sweep_store  # noqa: F401 - their commands join those of ``sweep_app``
from .aist import aist_app
from .console import Json, Out, command, progress
from .lora import lora_app
from .models import models_app
from .nano import nano_app
from .pose import pose
from .prompt import prompt, prompt_diff, prompts
from .score import score
from .sweep import sweep_app
from .train import train_app
from .wan import sample

app = typer.Typer(
    name="s2v",
    help="Skeleton2Video: a dance clip in, a measured sweep of generated videos out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(models_app, name="models")
app.add_typer(lora_app, name="lora")
app.add_typer(nano_app, name="nano")
app.add_typer(train_app, name="train")
app.add_typer(aist_app, name="aist")
app.add_typer(sweep_app, name="sweep")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def demo(out: Out = Path("demo"), as_json: Json = False) -> None:
    """The whole way once: a real dancer's pose, danced by a drawn person in a labelled sweep of the nano Wan-VACE."""
    with command(as_json) as done:
        import time

        from ..demo import run_demo

        start = time.monotonic()
        with progress() as show:
            result = run_demo(out, on_pose=show.pose, on_event=show.event, say=show.say)
        done(
            {**result, "seconds": round(time.monotonic() - start, 1)},
            note="The LoRA learned a white stage and black trousers along with its dances: from left to right its "
            "strength rises, and both leak into the picture.",
        )


app.command()(pose)


app.command()(prompt)
app.command()(prompts)
app.command("prompt-diff")(prompt_diff)


app.command()(sample)
app.command()(score)


@app.command()
def doctor(
    folder: Annotated[
        list[Path] | None, typer.Option(help="Also look for model files here (ComfyUI's models).")
    ] = None,
    as_json: Json = False,
) -> None:
    """What is installed, which model files are found, what will compute, and what is missing."""
    with command(as_json) as done:
        from ..doctor import examine

        done(examine(folder))


def main() -> None:
    """The entry point of ``s2v``."""
    app()
